"""Weights that change under a running server: a real engine, two workers."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import aiohttp

from antiphon.engines.models import model_store
from antiphon.settings.fields import Settings
from antiphon.trajectories.recorder import conversations
from tests.end_to_end.conftest import Server, serving


async def post(server: Server, path: str, body: Any) -> tuple[int, Any]:
    # A connection of its own, so that either worker may have it.
    async with (
        aiohttp.ClientSession(headers={"anthropic-version": "2023-06-01"}) as client,
        client.post(server.url + path, json=body) as response,
    ):
        return response.status, await response.json()


def asked(tokens: int) -> dict[str, Any]:
    return {"model": "m", "max_tokens": tokens, "messages": [{"role": "user", "content": "Tell me of the sea."}]}


async def test_an_embedded_engine_takes_its_file_anew(tmp_path: Path) -> None:
    """What runs comes to its end, and what comes meanwhile waits; nothing that was computed before is used again, by
    either worker, and records tell the versions apart. A file that is no model is told."""
    file = tmp_path / "m.gguf"
    shutil.copyfile(model_store.resolve("", Path(Settings().cache_dir)), file)
    more = ("--workers", "2", "--record", str(tmp_path / "record"), "--threads", "1", "--context-length", "1024")
    with serving(tmp_path, str(file), "--served-model-name", "m", *more) as server:
        before = [await post(server, "/v1/messages", asked(4)) for _ in range(3)]
        assert before[-1][1]["usage"]["cache_read_input_tokens"] > 0
        running = asyncio.create_task(post(server, "/v1/messages", asked(64)))
        await asyncio.sleep(0.3)
        status, told = await post(server, "/v1/models/m/reload", {})
        assert status == 200, told
        assert running.done() or (await running)[0] == 200
        status, after = await post(server, "/v1/messages", asked(4))
        assert (status, after["usage"]["cache_read_input_tokens"]) == (200, 0)
        nodes = [node.line for tree in conversations(tmp_path / "record").values() for node in tree.nodes]
        versions = {line.message: line.begun for line in nodes}
        assert versions[after["id"]] == told["loaded"]
        assert all(versions[reply["id"]] < told["loaded"] for _, reply in before)
        status, failure = await post(server, "/v1/models/m/reload", {"mode": "sometimes"})
        assert (status, "mode" in failure["error"]["message"]) == (400, True)
        file.write_bytes(b"no model")
        status, failure = await post(server, "/v1/models/m/reload", {"mode": "abort"})
        assert (status, "does not come back" in failure["error"]["message"]) == (500, True), failure
