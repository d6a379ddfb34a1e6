"""Models that are loaded when they are needed, by real engines behind two workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp

from antiphon.engines.models import model_store
from antiphon.settings.fields import Settings
from bench.on_demand import MODELS, configured, counted, loaded, play
from tests.end_to_end.conftest import Server, serving

_HEADERS = {"anthropic-version": "2023-06-01"}


async def post(client: aiohttp.ClientSession, server: Server, path: str, model: str) -> tuple[int, dict[str, Any]]:
    body = {"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}
    if path.endswith("count_tokens"):
        del body["max_tokens"]
    async with client.post(server.url + path, json=body, headers=_HEADERS) as response:
        return response.status, await response.json()


async def states(client: aiohttp.ClientSession, server: Server) -> dict[str, str]:
    async with client.get(server.url + "/health") as response:
        return {model["name"]: model["state"] for model in (await response.json())["models"]}


async def test_models_come_and_go(tmp_path: Path) -> None:
    """Without a load, a model is listed and its tokens are counted as they are later in its reply. A load is told by
    pings, the third model sends another away, and there are never three engines. What a broken one fails of is said."""
    broken = tmp_path / "broken.gguf"
    whole = model_store.default_model(Path(Settings().cache_dir)).read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    file = configured(tmp_path)
    file.write_text(f'{file.read_text()}[models.broken]\nmodel = "{broken}"\n')
    with serving(tmp_path, "--config", str(file), "--workers", "2", "--ping-interval", "0.1") as server:
        async with aiohttp.ClientSession() as client:
            assert set((await states(client, server)).values()) == {"unloaded"}
            lengths = {model: await post(client, server, "/v1/messages/count_tokens", model) for model in MODELS}
            assert {status for status, _ in lengths.values()} == {200}
            assert set((await states(client, server)).values()) == {"unloaded"}

            streams, most = await play(server, clients=2, rounds=1)
            assert [stream for stream in streams if stream.wrong] == []
            assert any(stream.pings for stream in streams)
            assert most <= 2
            counts = await counted(server.url)
            assert counts["loads_total outcome=ok"] >= len(MODELS)
            assert (
                counts["loads_total outcome=ok"] - counts["unloads_total cause=room"] == await loaded(server.url) == 2
            )
            assert sorted((await states(client, server)).values()) == ["loaded", "loaded", "unloaded", "unloaded"]

            status, reply = await post(client, server, "/v1/messages", "small")
            assert status == 200
            usage = reply["usage"]
            prompt = usage["input_tokens"] + usage["cache_read_input_tokens"]
            assert prompt == lengths["small"][1]["input_tokens"]

            status, failure = await post(client, server, "/v1/messages", "broken")
            assert status == 500
            assert failure["error"]["type"] == "api_error"
            assert failure["error"]["message"].startswith("broken cannot be loaded: error loading model: tensor ")
