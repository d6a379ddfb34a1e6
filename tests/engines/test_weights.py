"""How attached servers are told to take their weights anew, played over loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from antiphon.api.errors import EngineFailed
from antiphon.engines import Reach, UpdatesWeights, connect


@asynccontextmanager
async def played(engine: str) -> AsyncIterator[tuple[UpdatesWeights, list[tuple[str, Any]]]]:
    """The engine before a server that has no weights at `nowhere`, and what that one is asked."""
    asked: list[tuple[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        asked.append((request.path_qs, body))
        if "nowhere" in str(body):
            return web.json_response({"error": {"message": "no such folder"}}, status=500)
        return web.json_response({"model_path": "/first", "success": True})

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    attached: Any = connect(f"{engine}+http://127.0.0.1:{runner.addresses[0][1]}", Reach())
    try:
        yield attached, asked
    finally:
        await attached.close()
        await runner.cleanup()


def load(**named: str) -> tuple[str, Any]:
    return "/collective_rpc", {"method": "reload_weights", "kwargs": named}


async def test_vllm() -> None:
    """It is paused meanwhile, and forgets what it computed; where it fails, the weights from before are loaded again,
    because it has none then."""
    async with played("vllm") as (engine, asked):
        await engine.update_weights("/new", before="", abort=False)
        first = [("/pause?mode=wait", {}), load(weights_path="/new"), ("/reset_prefix_cache", {}), ("/resume", {})]
        assert asked == first
        asked.clear()
        with pytest.raises(EngineFailed, match="no such folder"):
            await engine.update_weights("/nowhere", before="/new", abort=True)
        assert asked == [("/pause?mode=abort", {}), load(weights_path="/nowhere"), *first[1:]]


async def test_sglang() -> None:
    """Without a place it takes those anew that it has."""
    async with played("sglang") as (engine, asked):
        await engine.update_weights("", before="", abort=True)
        body = {"model_path": "/first", "abort_all_requests": True, "flush_cache": True}
        assert asked[-1] == ("/update_weights_from_disk", body)
