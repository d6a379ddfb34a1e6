"""The gate: spellings, keys, origins, envelopes, limits, probes and the list of models."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from typing import Any

import aiohttp
import anthropic
import pytest

from antiphon import surfaces
from antiphon.accounts.accounts import Accounts
from antiphon.accounts.keyring import Keyring
from antiphon.api.errors import Failure
from antiphon.settings.keys import hashed
from antiphon.surfaces.anthropic.failures import TABLE, kind
from antiphon.surfaces.http.cors import allowed
from antiphon.surfaces.http.gate import canonical
from tests.surfaces.conftest import serving
from tests.surfaces.scripted_service import ScriptedService

KEY = "sk-secret"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages",
        "/messages",
        "/v1/v1/messages",
        "/v1//messages",
        "/anthropic//v1//messages",
        "/anthropic/v1/messages",
        "/anthropic/messages/",
        "/v1/messages/",
        "/v1/messages?beta=true",
        "/anthropic/v1/messages?beta=true&x=1",
    ],
)
async def test_every_spelling_of_the_path_works(server: Any, path: str) -> None:
    """Base URLs with and without /v1, trailing slashes, the beta query (I6)."""
    status, _, message = await server.post(server.ask(), path)
    assert (status, message["type"]) == (200, "message")


def test_the_canonical_spelling_of_a_path() -> None:
    """One place knows all spellings."""
    assert canonical("/anthropic") == ("/", True)
    assert canonical("/anthropicx/v1") == ("/anthropicx/v1", False)
    assert canonical("/v1") == ("/", False)
    assert canonical("//v1/models//") == ("/models", False)
    assert canonical("/v1//models//a//b") == ("/models//a//b", False)


@pytest.mark.parametrize(
    ("method", "path", "status", "type"),
    [
        ("GET", "/v1/nowhere", 404, "not_found_error"),
        ("POST", "/v1/complete", 404, "not_found_error"),
        ("GET", "/v1/messages", 405, "invalid_request_error"),
        ("DELETE", "/v1/models", 405, "invalid_request_error"),
        ("GET", "/v1/models/missing", 404, "not_found_error"),
        ("POST", "/api/other", 404, "not_found_error"),
    ],
)
async def test_every_failure_has_the_envelope(server: Any, method: str, path: str, status: int, type: str) -> None:
    """Unknown routes and wrong methods included (L1); the id in the body is the one in the header (L2)."""
    headers = {"anthropic-version": "2023-06-01"}
    async with server.client.request(method, server.url + path, headers=headers) as response:
        body = await response.json()
        assert response.status == status
        assert body["type"] == "error"
        assert body["error"]["type"] == type
        assert body["request_id"] == response.headers["request-id"]
        assert re.fullmatch(r"req_[0-9A-Za-z]{24}", body["request_id"])
        assert response.headers["x-should-retry"] == "false"
        if status == 404 and path.startswith("/v1/n"):
            assert "/v1/messages" in body["error"]["message"]
        if status == 405:
            assert response.headers["allow"]


def test_every_class_of_failure_has_a_place_in_the_table() -> None:
    """A class added to the tree is told by its nearest ancestor, never by accident."""
    pending = [Failure]
    while pending:
        failure = pending.pop()
        pending += failure.__subclasses__()
        assert any(ancestor in TABLE for ancestor in failure.__mro__)
    assert kind(type("New", (Failure,), {})("x")) == (500, "api_error")


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "x-api-key header is required"),
        ({"x-api-key": "wrong"}, "invalid x-api-key"),
        ({"authorization": "Bearer wrong"}, "Invalid bearer token"),
        ({"x-api-key": "wrong", "authorization": "Bearer worse"}, "invalid x-api-key"),
        ({"authorization": f"Basic {KEY}"}, "x-api-key header is required"),
        ({"x-api-key": KEY}, None),
        ({"authorization": f"Bearer {KEY}"}, None),
        ({"authorization": f"bearer  {KEY}"}, None),
        ({"x-api-key": "stale", "authorization": f"Bearer {KEY}"}, None),
        ({"x-api-key": KEY, "authorization": "Bearer stale"}, None),
    ],
)
async def test_either_header_lets_in(headers: dict[str, str], words: str | None) -> None:
    """A stale key beside the right one is no reason to refuse (I5)."""
    async with serving(ScriptedService(), accounts=Accounts(keys=Keyring((hashed("other"), hashed(KEY))))) as server:
        status, _, body = await server.post(server.ask(), **{k.replace("-", "_"): v for k, v in headers.items()})
        async with server.client.get(server.url + "/v1/models") as response:
            assert response.status == 401
        for path in ("/", "/health", "/health/ready", "/api/hello"):
            async with server.client.get(server.url + path) as response:
                assert response.status == 200
    if words is None:
        assert status == 200
    else:
        assert (status, body["error"]) == (401, {"type": "authentication_error", "message": words})


@pytest.mark.parametrize(
    ("server", "status"),
    [(("127.0.0.1", 80), 200), (("::1", 80), 200), (("192.0.2.1", 80), 401), (("host", 80), 401), (None, 401)],
)
async def test_other_machines_need_a_key(server: tuple[str, int] | None, status: int) -> None:
    """Where there is no key, and nobody said that none is needed, only what came in by a loopback address is let in,
    wherever the application is mounted."""
    gate = surfaces.build(ScriptedService(), surfaces.Options(seal_key=b"a key for tests", local_only=True))
    sent: list[Any] = []
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/llm/v1/models",
        "root_path": "/llm",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "server": server,
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    await gate(scope, receive, send)
    assert sent[0]["status"] == status


async def test_the_version_header_is_required_and_any_value_will_do(server: Any) -> None:
    """In the words of the original."""
    async with server.client.post(server.url + "/v1/messages", json=server.ask()) as response:
        assert response.status == 400
        assert (await response.json())["error"]["message"] == "anthropic-version: header is required"
    for version in ("2026-10-21", "2023-01-01", "tomorrow"):
        status, _, _ = await server.post(server.ask(temperature=0.1), anthropic_version=version)
        assert status == 200


async def test_requests_without_a_version_may_be_let_in() -> None:
    """Programs written for servers that never asked for the header need not be changed."""
    async with (
        serving(ScriptedService(), version_optional=True) as server,
        server.client.post(server.url + "/v1/messages", json=server.ask()) as response,
    ):
        assert response.status == 200


@pytest.mark.parametrize(
    ("media_type", "status"),
    [("application/json; charset=utf-8", 200), ("Application/JSON", 200), ("text/plain", 400), ("", 400)],
)
async def test_the_body_must_say_that_it_is_json(server: Any, media_type: str, status: int) -> None:
    """A page in a browser can send anything else without asking first."""
    found, _, body = await server.post(json.dumps(server.ask()).encode(), content_type=media_type)
    assert found == status
    if status == 400:
        assert body["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("encoding", "data", "status", "code"),
    [
        ("gzip", gzip.compress, 200, None),
        ("deflate", zlib.compress, 200, None),
        ("deflate", lambda data: zlib.compress(data, wbits=-15), 200, None),
        ("gzip", lambda data: gzip.compress(data)[:-9], 400, "request_body_encoding_invalid"),
        ("gzip", lambda data: data, 400, "request_body_encoding_invalid"),
        ("zstd", lambda data: data, 400, "request_body_encoding_unsupported"),
        ("br", lambda data: data, 400, "request_body_encoding_unsupported"),
        ("gzip", lambda data: gzip.compress(data + b" " * 10**6), 413, "request_body_too_large_after_decoding"),
    ],
)
async def test_compressed_bodies_are_unpacked(encoding: str, data: Any, status: int, code: str | None) -> None:
    """What can be unpacked is, within the limit; the rest is refused by its code."""
    async with serving(ScriptedService(), max_body=100_000) as server:
        whole = data(json.dumps(server.ask()).encode())
        found, _, body = await server.post(whole, content_encoding=encoding)
    assert found == status, body
    if code:
        assert body["error"]["details"]["error_code"] == code


async def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    """By its declared length, and by what really comes."""
    async with serving(ScriptedService(), max_body=1000) as server:

        async def endless() -> Any:
            for _ in range(20):
                yield b" " * 500

        for data in (b" " * 5000, endless()):
            headers = {"anthropic-version": "x", "content-type": "application/json"}
            async with server.client.post(server.url + "/v1/messages", data=data, headers=headers) as response:
                assert response.status == 413
                assert (await response.json())["error"]["type"] == "request_too_large"


@pytest.mark.parametrize(
    ("origin", "host", "given", "expected"),
    [
        ("http://localhost:3000", "127.0.0.1:8000", {}, True),
        ("http://127.0.0.1:3000", "127.0.0.1:8000", {}, True),
        ("http://[::1]:3000", "127.0.0.1:8000", {}, True),
        ("http://evil.example", "127.0.0.1:8000", {}, False),
        ("http://gpu.example", "gpu.example", {}, True),
        ("http://192.168.1.5:8000", "192.168.1.5:8000", {}, True),
        ("http://192.168.1.6:8000", "192.168.1.5:8000", {}, False),
        ("null", "127.0.0.1:8000", {}, False),
        ("null", "", {}, False),
        ("app://obsidian.md", "127.0.0.1:8000", {}, True),
        ("vscode-webview://1a2b", "127.0.0.1:8000", {}, True),
        ("tauri://localhost", "127.0.0.1:8000", {}, True),
        ("https://obsidian.md", "127.0.0.1:8000", {}, False),
        ("chrome-extension://abcdef", "127.0.0.1:8000", {}, False),
        ("chrome-extension://abcdef", "127.0.0.1:8000", {"hosts": ("abcdef",)}, True),
        ("http://evil.example", "h", {"hosts": ("*",)}, True),
        ("http://good.example:3000", "h", {"hosts": ("good.example",)}, True),
        ("http://evil.example", "h", {"accounts": Accounts(keys=Keyring((b"x",)))}, True),
    ],
)
def test_which_pages_may_use_the_server(origin: str, host: str, given: dict[str, Any], expected: bool) -> None:
    """Without a key, a page on the web must not reach the model of whoever visits it, by any name."""
    assert allowed(origin, host, surfaces.Options(seal_key=b"k", **given)) is expected


async def test_browsers_may_ask_first(server: Any) -> None:
    """A preflight is answered, and a response says who may read it; a foreign page gets neither."""
    asking = {
        "origin": "http://localhost:5173",
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-api-key,anthropic-dangerous-direct-browser-access",
    }
    async with server.client.options(server.url + "/v1/messages", headers=asking) as response:
        assert response.status == 204
        assert response.headers["access-control-allow-origin"] == "http://localhost:5173"
        assert "anthropic-dangerous-direct-browser-access" in response.headers["access-control-allow-headers"]
    status, headers, _ = await server.post(server.ask(), origin="http://localhost:5173")
    assert (status, headers["access-control-allow-origin"]) == (200, "http://localhost:5173")
    assert headers["access-control-expose-headers"] == "*", "request-id, retry-after, the limits that are left"
    status, headers, _ = await server.post(server.ask(), origin="http://evil.example")
    assert status == 403
    assert "access-control-allow-origin" not in headers


async def test_probes_get_quiet_answers(server: Any) -> None:
    """What agents knock at before and beside their requests (I7)."""
    for method, path, status in (
        ("HEAD", "/", 200),
        ("GET", "/", 200),
        ("HEAD", "/api/hello", 200),
        ("POST", "/api/event_logging/batch", 204),
        ("POST", "/api/event_logging/v2/batch", 204),
    ):
        async with server.client.request(method, server.url + path) as response:
            assert response.status == status


async def test_health_tells_the_models(server: Any) -> None:
    """Name and window of each; readiness is a status."""
    async with server.client.get(server.url + "/health") as response:
        body = await response.json()
    assert body["status"] == "ok"
    assert {"name": "local-model", "window": 8192}.items() <= body["models"][0].items()
    server.service.refusal = Failure("x")
    async with server.client.get(server.url + "/health/ready") as response:
        assert response.status == 529


async def test_models_in_both_shapes(server: Any) -> None:
    """By the version header or the path: the original's list, else OpenAI's (I4)."""

    async def get(path: str, **headers: str) -> Any:
        async with server.client.get(server.url + path, headers=headers) as response:
            return await response.json()

    openai = await get("/v1/models")
    assert openai["object"] == "list"
    assert [model["slug"] for model in openai["models"]] == [model["id"] for model in openai["data"]]
    assert (await get("/v1/models/local-model"))["object"] == "model"
    for page in (await get("/v1/models", **{"anthropic-version": "x"}), await get("/anthropic/v1/models?limit=1000")):
        assert [model["id"] for model in page["data"]] == ["local-model", "seeing-model"]
        assert (page["first_id"], page["last_id"], page["has_more"]) == ("local-model", "seeing-model", False)
    page = await get("/anthropic/v1/models?limit=1")
    assert (page["last_id"], page["has_more"]) == ("local-model", True)
    page = await get("/anthropic/v1/models?limit=1&after_id=local-model")
    assert (page["last_id"], page["has_more"]) == ("seeing-model", False)
    page = await get("/anthropic/v1/models?before_id=seeing-model")
    assert [model["id"] for model in page["data"]] == ["local-model"]
    for stages, many in (("lifecycle[]=active&lifecycle[]=retired", 2), ("lifecycle%5B%5D=retired", 0)):
        assert len((await get(f"/anthropic/v1/models?{stages}"))["data"]) == many
    for wrong in ("limit=0", "limit=x", "limit=1001", "limit=99999999999999999999"):
        assert (await get(f"/anthropic/v1/models?{wrong}"))["error"]["message"].startswith("limit: ")


async def test_the_official_client_lists_models(server: Any) -> None:
    """All fields its types require, and paging through one at a time."""
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key="k") as client:
        models = [model async for model in client.models.list(limit=1)]
        one = await client.models.retrieve("seeing-model")
    assert [model.id for model in models] == ["local-model", "seeing-model"]
    assert one.max_input_tokens == 8192
    assert one.capabilities is not None
    assert one.capabilities.image_input.supported
    assert not models[0].capabilities.image_input.supported
    type(one).model_validate(one.to_dict(), strict=False)


async def test_what_was_ignored_is_named_in_a_header(server: Any) -> None:
    """And nothing a client writes can break the header."""
    _, headers, _ = await server.post({**server.ask(), "speed": "fast", "a\r\nb: c\u20ac": 1})
    assert headers["antiphon-ignored"] == "a??b??c?, speed"


async def test_garbage_on_the_wire_is_refused(server: Any) -> None:
    """Every kind of bad body gets a 400 in the envelope, and the server lives on."""
    for data in (b"", b"{", b"\xff", b"NaN", b"[" * 200_000, b'{"a":' * 50_000):
        status, _, body = await server.post(data)
        assert (status, body["error"]["type"]) == (400, "invalid_request_error")
    assert (await server.post(server.ask()))[0] == 200


async def test_errors_of_the_service_reach_the_official_client(server: Any) -> None:
    """With class, message and request id."""
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key="k", max_retries=0) as client:
        with pytest.raises(anthropic.NotFoundError) as refused:
            await client.messages.create(model="missing", max_tokens=1, messages=[{"role": "user", "content": "x"}])
    assert refused.value.request_id.startswith("req_")


async def test_a_wrong_method_of_the_protocol_is_closed(server: Any) -> None:
    """There are no websockets here."""
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await server.client.ws_connect(server.url + "/v1/messages")
