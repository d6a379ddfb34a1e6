"""The file that tells Codex of a server's models. Codex asks only its own makers' servers for their list, and takes a
model that it does not know for one without `apply_patch`, with a window and instructions that are somebody else's."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from antiphon.cli.client import Server, Unreachable, checked
from antiphon.storage import files


def catalogue_file(server: Server, folder: Path) -> str:
    """Where the list of the server's models is, written anew; empty where there is none, or no place for it."""
    with contextlib.suppress(aiohttp.ClientError, OSError, ValueError, Unreachable):
        if models := asyncio.run(_models(server)):
            place = folder / f"codex-{hashlib.blake2b(server.base.encode(), digest_size=8).hexdigest()}.json"
            folder.mkdir(parents=True, exist_ok=True)
            files.write(place, msgspec.json.encode({"models": models}), durable=False)
            return str(place)
    return ""


async def _models(server: Server) -> list[Any]:
    headers = {"authorization": f"Bearer {server.key}"} if server.key else {}
    timeout = aiohttp.ClientTimeout(total=10)
    async with (
        aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
        session.get(f"{server.base}/v1/models") as response,
    ):
        page = await checked(response)
    found = page.get("models") if isinstance(page, dict) else None
    return found if isinstance(found, list) else []
