"""Fetching by URL: the public internet only, whatever name, literal, wrapping or redirect leads elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from antiphon.api.errors import BadRequest
from antiphon.server_tools.web import outward
from antiphon.server_tools.web.outward import public
from antiphon.surfaces.content import remote
from antiphon.surfaces.content.remote import fetch
from tests.surfaces.conftest import serving
from tests.surfaces.scripted_service import ScriptedService, shown


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("not an address", False),
    ],
)
def test_which_addresses_are_public(address: str, expected: bool) -> None:
    """IPv4 in IPv6, carriers' networks and cloud metadata included."""
    assert public(address) is expected


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """A small site on loopback."""

    async def page(request: web.Request) -> web.StreamResponse:
        path = request.path
        if path == "/loop":
            raise web.HTTPFound("/loop")
        if path == "/inside":
            raise web.HTTPFound("http://169.254.169.254/latest")
        if path == "/moved":
            raise web.HTTPFound("/text")
        if path == "/slow":
            await asyncio.sleep(5)
        if path == "/large":
            return web.Response(body=b"x" * 5000)
        if path == "/gone":
            raise web.HTTPNotFound
        return web.Response(text="Bees fly.")

    app = web.Application()
    app.router.add_get("/{any:.*}", page)
    runner = web.AppRunner(app)
    await runner.setup()
    place = web.TCPSite(runner, "127.0.0.1", 0)
    await place.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def refused(url: str, *, allow_private: bool = False) -> str:
    with pytest.raises(BadRequest) as trouble:
        await fetch({url: "messages.0"}, allow_private=allow_private)
    return trouble.value.message


async def test_private_places_are_refused(site: str) -> None:
    """By literal, by a name that leads there, and by schemes that are not the web's."""
    assert "private address" in await refused(f"{site}/text")
    assert "private address" in await refused(site.replace("127.0.0.1", "localhost") + "/text")
    assert "private address" in await refused("http://[::ffff:127.0.0.1]:1/x")
    assert "http and https" in await refused("file:///etc/passwd")
    assert "http and https" in await refused("http:///x")
    for odd in ("http://2130706433/", "http://0x7f.1/", "http://[bad/"):
        assert "messages.0: " in await refused(odd)


async def test_what_is_allowed_is_fetched(site: str) -> None:
    """With the setting on, redirects followed."""
    found = await fetch({f"{site}/moved": "a", f"{site}/text": "b"}, allow_private=True)
    assert {each.data for each in found.values()} == {b"Bees fly."}
    assert found[f"{site}/text"].media_type == "text/plain"


async def test_fetching_keeps_its_limits(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redirects, size, time, number, status."""
    monkeypatch.setattr(remote, "MAX_BYTES", 1000)
    monkeypatch.setattr(remote, "MAX_SECONDS", 0.3)
    assert "redirects" in await refused(f"{site}/loop", allow_private=True)
    assert "larger" in await refused(f"{site}/large", allow_private=True)
    assert "seconds" in await refused(f"{site}/slow", allow_private=True)
    assert "404" in await refused(f"{site}/gone", allow_private=True)
    with pytest.raises(BadRequest, match="URLs at most"):
        await fetch({f"{site}/{n}": "x" for n in range(30)}, allow_private=True)


async def test_a_redirect_is_judged_like_the_first_address(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A public page that sends us inside gains nothing."""
    monkeypatch.setattr(outward, "public", lambda address: address == "127.0.0.1")
    assert "169.254.169.254 is a private address" in await refused(f"{site}/inside")


async def test_a_request_with_an_address_is_served(site: str) -> None:
    """From the wire to the model."""
    content = [{"type": "document", "source": {"type": "url", "url": f"{site}/text"}}]
    service = ScriptedService()
    async with serving(service, allow_private_urls=True) as server:
        status, _, _ = await server.post(server.ask(messages=[{"role": "user", "content": content}]))
        assert status == 200
        assert "Bees fly." in shown(service.conversation)
    async with serving(service) as server:
        status, _, told = await server.post(server.ask(messages=[{"role": "user", "content": content}]))
        assert status == 400
        assert told["error"]["message"].startswith("messages.0.content.0.document.source.url.url: Unable to download")
