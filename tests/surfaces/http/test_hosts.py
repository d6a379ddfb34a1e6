"""The names of a server without keys: a page whose name is pointed at this machine gets nothing, on any route."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from antiphon import surfaces
from antiphon.accounts.accounts import Accounts
from antiphon.accounts.keyring import Keyring
from antiphon.settings.keys import hashed
from antiphon.surfaces.http.hosts import known
from tests.surfaces.conftest import serving
from tests.surfaces.scripted_service import ScriptedService

OPTIONS = surfaces.Options(seal_key=b"a key for tests", metrics=lambda: b"", hosts=("127.0.0.1", "gpu.example.org"))
TABLE = sorted({(route.method, route.path) for _, route in surfaces.routes(ScriptedService(), OPTIONS)})


class Untouchable:
    """Stands for a service that no request may reach."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the service was asked for {name}")


async def asked(options: surfaces.Options, method: str, path: str, host: bytes | None, **scope: Any) -> tuple[int, Any]:
    """Status and body of a request without a body, sent past any HTTP server."""
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [] if host is None else [(b"host", host)]
    given = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
    given["server"] = ("127.0.0.1", 8000)
    await surfaces.build(Untouchable(), options)({**given, **scope}, receive, send)
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.parametrize(("method", "path"), [*TABLE, ("GET", "/nowhere"), ("PATCH", "/messages")])
async def test_no_route_answers_to_a_foreign_name(method: str, path: str) -> None:
    """Every route there is, from its first day, by every method and in every spelling, before anything is read."""
    path = path.replace("*", "anything")
    for spelled in (path, f"/v1{path}", f"/anthropic/v1{path}"):
        for tried in (method, "GET", "POST", "HEAD", "OPTIONS"):
            status, body = await asked(OPTIONS, tried, spelled, b"evil.example:8000")
            assert status == 403, (tried, spelled)
            assert tried == "HEAD" or json.loads(body)["error"]["type"] == "permission_error"


@pytest.mark.parametrize(
    ("host", "server", "expected"),
    [
        ("localhost", "127.0.0.1", True),
        ("LocalHost.:9000", "127.0.0.1", True),
        ("app.localhost:8000", "127.0.0.1", True),
        ("127.0.0.1:8000", "127.0.0.1", True),
        ("127.1.2.3", "127.0.0.1", True),
        ("[::1]:8000", "::1", True),
        ("[::ffff:127.0.0.1]:8000", "127.0.0.1", True),
        ("gpu.example.org", "127.0.0.1", True),
        ("GPU.Example.ORG.:443", "127.0.0.1", True),
        ("192.0.2.7:8000", "192.0.2.7", True),
        ("192.0.2.7:8000", "0.0.0.0", True),
        ("[2001:db8::7]:8000", "::", True),
        ("192.0.2.7", "::", True),
        ("[fe80::1%25eth0]:8000", "fe80::1", True),
        ("192.0.2.8:8000", "192.0.2.7", False),
        ("192.0.2.7", "127.0.0.1", False),
        ("192.0.2.7", "", False),
        ("0.0.0.0", "127.0.0.1", False),
        ("evil.example", "0.0.0.0", False),
        ("localhost.evil.example", "127.0.0.1", False),
        ("evillocalhost", "127.0.0.1", False),
        ("gpu.example.org.evil.example", "127.0.0.1", False),
        ("a.gpu.example.org", "127.0.0.1", False),
        ("127.0.0.1.evil.example", "127.0.0.1", False),
        ("2130706433", "127.0.0.1", False),
        ("127.1", "127.0.0.1", False),
        ("localhost,evil.example", "127.0.0.1", False),
        ("localhost,localhost", "127.0.0.1", False),
        ("localhost evil.example", "127.0.0.1", False),
        ("evil.example@localhost", "127.0.0.1", False),
        ("http://localhost", "127.0.0.1", False),
        ("localhost:80:80", "127.0.0.1", False),
        ("localhost:http", "127.0.0.1", False),
        ("::1", "::1", False),
        ("[::1", "::1", False),
        ("[localhost]", "127.0.0.1", False),
        ("[]", "127.0.0.1", False),
        (".", "127.0.0.1", False),
        (":8000", "127.0.0.1", False),
        ("", "127.0.0.1", False),
    ],
)
def test_which_names_are_known(host: str, server: str, expected: bool) -> None:
    """A name that only this machine, or its operator, can have pointed here; whatever is no plain host is none."""
    assert known(host, OPTIONS, server) is expected


@pytest.mark.parametrize(
    ("listed", "host", "expected"),
    [
        ("*", "evil.example", True),
        ("*.example.org", "a.b.example.org:80", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "evilexample.org", False),
    ],
)
def test_a_star_lists_many_names(listed: str, host: str, expected: bool) -> None:
    """Below a name, or all."""
    assert known(host, surfaces.Options(seal_key=b"k", hosts=(listed,)), "127.0.0.1") is expected


@pytest.mark.parametrize(
    ("host", "scope", "status"),
    [
        (None, {"http_version": "1.0"}, 404),
        (None, {"http_version": "1.1"}, 403),
        (b"", {"http_version": "1.1"}, 403),
        (b"", {"http_version": "2"}, 403),
        (b"evil.example", {"http_version": "1.0"}, 403),
        (b"evil.example", {"root_path": "/v1"}, 403),
        (b"10.0.0.1", {"server": None}, 403),
        (b"localhost", {"server": None}, 404),
        (b"\xff\xfe", {}, 403),
    ],
)
async def test_a_request_without_a_name(host: bytes | None, scope: dict[str, Any], status: int) -> None:
    """Only HTTP/1.0 has none, which load balancers still look after servers in, and no browser speaks."""
    assert (await asked(OPTIONS, "GET", "/v1/nowhere", host, **scope))[0] == status


async def test_a_key_guards_by_itself() -> None:
    """Where keys are asked for, a page cannot know one, so a server may have any name."""
    guarded = surfaces.Options(seal_key=b"k", accounts=Accounts(keys=Keyring((hashed("a"),))))
    assert (await asked(guarded, "GET", "/v1/nowhere", b"any.example"))[0] == 404
    assert (await asked(guarded, "GET", "/v1/models", b"any.example"))[0] == 401


async def raw(port: int, head: str) -> bytes:
    """What comes back for a request written by hand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_foreign_name_over_a_socket() -> None:
    """What the HTTP server in front makes of several names, of none, and of another one in the request line."""
    async with serving(ScriptedService()) as server:
        port = int(server.url.rpartition(":")[2])
        for names, status in (
            ("host: localhost", b"200"),
            (f"host: 127.0.0.1:{port}", b"200"),
            ("host: evil.example", b"403"),
            ("host: localhost\r\nhost: evil.example", b"403"),
            ("host: evil.example\r\nhost: localhost", b"403"),
            ("", b"403"),
            ("x-forwarded-host: localhost\r\nhost: evil.example", b"403"),
        ):
            answer = await raw(port, "\r\n".join(filter(None, ["GET /health HTTP/1.1", names])))
            assert answer.split(b" ")[1] == status, (names, answer)
        assert (await raw(port, "GET /health HTTP/1.0")).split(b" ")[1] == b"200"
        refused = await raw(port, "GET /v1/models HTTP/1.1\r\nhost: evil.example")
        assert b"'evil.example'" in refused
        assert b"--allowed-host" in refused
