"""Fetching what a request points at by URL, through the one way out (`server_tools/web/outward.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
import msgspec

from antiphon.api.errors import BadRequest
from antiphon.server_tools.web.outward import Outward, TooMuch, reason

MAX_BYTES = 20 * 1024 * 1024
MAX_SECONDS = 15.0
MAX_ADDRESSES = 20


class Fetched(msgspec.Struct, frozen=True):
    """What lay at an address, or in a file with a name."""

    media_type: str
    data: bytes
    name: str = ""


async def fetch(urls: Mapping[str, str], *, allow_private: bool) -> dict[str, Fetched]:
    """What lies at the addresses; each comes with the path of the field that names it, for complaints."""
    if not urls:
        return {}
    if len(urls) > MAX_ADDRESSES:
        raise BadRequest(f"a request may point at {MAX_ADDRESSES} URLs at most; this one points at {len(urls)}")
    outward = Outward(allow_private=allow_private)
    async with outward.session(seconds=MAX_SECONDS) as session:
        outcomes = await asyncio.gather(
            *(_one(outward, session, url, where) for url, where in urls.items()), return_exceptions=True
        )
    for each in outcomes:
        if isinstance(each, BaseException):
            raise each
    return {url: each for url, each in zip(urls, outcomes, strict=True) if isinstance(each, Fetched)}


async def _one(outward: Outward, session: aiohttp.ClientSession, url: str, where: str) -> Fetched:
    failure = f"{where}: Unable to download the file"
    try:
        async with asyncio.timeout(MAX_SECONDS):
            page = await outward.get(session, url, most=MAX_BYTES)
    except TimeoutError:
        raise BadRequest(f"{failure}: it took more than {MAX_SECONDS:g} seconds") from None
    except TooMuch:
        raise BadRequest(f"{failure}: it is larger than {MAX_BYTES} bytes") from None
    except (aiohttp.ClientError, OSError, ValueError) as trouble:
        raise BadRequest(f"{failure}: {reason(trouble)}") from None
    if page.status != 200:
        raise BadRequest(f"{failure}: status {page.status}")
    return Fetched(page.media_type, page.data)
