"""The console's files over a real socket. What the page does in a browser is tested in `tests/console`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import antiphon
from antiphon.accounts.accounts import Accounts
from antiphon.accounts.keyring import Keyring
from antiphon.settings.keys import hashed
from tests.surfaces.conftest import Running, serving
from tests.surfaces.scripted_service import ScriptedService

PAGE = Path(antiphon.__file__).parent / "surfaces/console"
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
FILES = sorted(
    path.relative_to(PAGE).as_posix()
    for path in PAGE.rglob("*")
    if path.is_file() and path.suffix not in (".py", ".pyc")
)


@pytest.fixture
async def locked() -> AsyncIterator[Running]:
    """A server that asks for a key."""
    async with serving(ScriptedService(), accounts=Accounts(keys=Keyring((hashed("secret"),)))) as running:
        yield running


async def get(server: Running, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    async with server.client.request(method, server.url + path, headers=headers) as response:
        return response.status, response.headers, await response.read()


async def test_a_browser_gets_the_page(locked: Running) -> None:
    """Without a key; it may run its own scripts, talk to its own server, and nothing else."""
    status, headers, body = await get(locked, "/", **BROWSER)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert body.startswith(b"<!doctype html>")
    policy = dict(rule.strip().partition(" ")[::2] for rule in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["vary"] == "accept"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "", "text/html;q=0, */*", "text/plain"])
async def test_programs_are_greeted_as_ever(server: Running, accept: str) -> None:
    """Whoever does not ask for HTML is a program."""
    status, headers, body = await get(server, "/", accept=accept)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert body == b'{"name":"antiphon","messages":"/v1/messages"}'


async def test_a_probe_is_answered_as_ever(server: Running) -> None:
    """HEAD tells of no page, whatever it accepts."""
    for headers in ({}, BROWSER):
        status, told, body = await get(server, "/", "HEAD", **headers)
        assert (status, told["content-type"], body) == (200, "application/json", b"")


@pytest.mark.parametrize("name", FILES)
async def test_every_file_is_served_once(locked: Running, name: str) -> None:
    """By its own type; asked again with its tag, it is not sent again."""
    path = "/" if name == "index.html" else f"/console/{name}"
    status, headers, body = await get(locked, path, **BROWSER)
    assert (status, body) == (200, (PAGE / name).read_bytes())
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    assert headers["content-type"].startswith(kinds[name.rpartition(".")[2]])
    assert headers["cache-control"] == "no-cache"
    for tag in (headers["etag"], f'"other", W/{headers["etag"]}'):
        again, told, nothing = await get(locked, path, **BROWSER, **{"if-none-match": tag})
        assert (again, nothing, told["etag"]) == (304, b"", headers["etag"])
        assert "content-security-policy" in told


@pytest.mark.parametrize("name", ["nothing.js", "../console.py", "%2e%2e/console.py", "styles", "styles/", ""])
async def test_nothing_else_is_served(server: Running, name: str) -> None:
    """Not what is beside the page, and no folder."""
    status, _, _ = await get(server, f"/console/{name}")
    assert status == 404


async def test_the_api_behind_it_asks_for_a_key(locked: Running) -> None:
    """The page is open, what it asks for is not."""
    for path in ("/v1/models", "/metrics"):
        assert (await get(locked, path))[0] == 401
        assert (await get(locked, path, **{"x-api-key": "secret"}))[0] in (200, 404)


@pytest.mark.parametrize("name", FILES)
def test_files_are_small_and_stay_at_home(name: str) -> None:
    """No file is longer than a reader can hold, none names another host, no script makes elements from markup."""
    text = (PAGE / name).read_text("utf-8")
    assert text.count("\n") <= 300
    assert set(re.findall(r"https?://[\w.-]+", text)) <= {"http://www.w3.org"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|@import", text)
