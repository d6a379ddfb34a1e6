"""Several models behind one server, as antiphon.toml names them: one resolver for every path, an engine for each."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.end_to_end.conftest import Server, serving
from tests.faults import processes
from tests.surfaces import order

HEADERS = {"anthropic-version": "2023-06-01"}


def asking(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}], **fields}


async def post(client: aiohttp.ClientSession, server: Server, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
    async with client.post(server.url + path, json=body, headers=HEADERS) as response:
        return response.status, await response.read()


def scripts(folder: Path) -> Path:
    """A configuration of two scripted models, each of which says its own name."""
    for name in ("large", "small"):
        # The small one's vocabulary begins every prompt with two tokens more, so that counts tell them apart.
        start = [1, 1] if name == "small" else []
        script = {"rules": [{"text": f"I am {name}."}], "model": "x", "start": start, "window": 4096 * len(name)}
        (folder / f"{name}.json").write_text(json.dumps(script))
    file = folder / "antiphon.toml"
    file.write_text(
        f'default_model = "large"\n[models.small]\nmodel = "scripted+{folder}/small.json"\n'
        'alias = ["claude-haiku-*", "*flash*"]\n'
        "context_length = 5000\n"
        f'[models.large]\nmodel = "scripted+{folder}/large.json"\n'
    )
    return file


async def test_one_resolver_for_every_path(tmp_path: Path) -> None:
    """Streamed, whole, counted, on either surface, and in the lists: a name means the same model everywhere, the reply
    says the name that was asked for, and metrics count for the model that answered."""
    meant = {
        "small": "small",
        "claude-haiku-4-5-20251001": "small",
        "my-flash-2": "small",
        "large": "large",
        "claude-opus-4-6": "large",
        "default": "large",
    }
    with serving(tmp_path, "--config", str(scripts(tmp_path))) as server:
        async with aiohttp.ClientSession() as client:
            lengths: dict[str, set[int]] = {"small": set(), "large": set()}
            for name, model in meant.items():
                status, raw = await post(client, server, "/v1/messages", asking(name))
                whole = json.loads(raw)
                assert (status, whole["model"], whole["content"][0]["text"]) == (200, name, f"I am {model}.")
                status, raw = await post(client, server, "/v1/messages", asking(name, stream=True))
                events = order.frames(raw)
                order.check(events)
                assert "".join(e["delta"].get("text", "") for e in events if "delta" in e) == f"I am {model}."
                status, raw = await post(client, server, "/v1/messages/count_tokens", asking(name))
                counted = json.loads(raw)["input_tokens"]
                usage = whole["usage"]
                assert counted == usage["input_tokens"] + usage["cache_read_input_tokens"]
                lengths[model].add(counted)
                status, raw = await post(client, server, "/v1/chat/completions", asking(name))
                assert json.loads(raw)["choices"][0]["message"]["content"] == f"I am {model}."
            assert [len(found) for found in lengths.values()] == [1, 1]
            assert lengths["small"] == {counted + 2 for counted in lengths["large"]}
            status, raw = await post(client, server, "/v1/messages", asking("gpt-9"))
            assert status == 404
            assert b"served here: large, small" in raw
            async with client.get(server.url + "/v1/models", headers=HEADERS) as response:
                listed = (await response.json())["data"]
            assert [(each["id"], each["max_input_tokens"]) for each in listed] == [("large", 20480), ("small", 5000)]
            async with client.get(server.url + "/v1/models/claude-haiku-9", headers=HEADERS) as response:
                assert (await response.json())["id"] == "small"
            async with client.get(server.url + "/health") as response:
                health = (await response.json())["models"]
            assert [(each["name"], each["aliases"]) for each in health] == [
                ("large", []),
                ("small", ["claude-haiku-*", "*flash*"]),
            ]
            async with client.get(server.url + "/metrics") as response:
                metrics = (await response.text()).splitlines()
            for model in ("small", "large"):
                assert f'antiphon_replies_total{{key="",model="{model}",reason="end_turn"}} 9.0' in metrics
    log = server.log.read_text()
    assert "also claude-haiku-*, *flash*" in log
    assert f"large  (scripted+{tmp_path}/large.json)" in log


@pytest.mark.xdist_group("engine")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="looks into /proc")
async def test_each_embedded_model_has_an_engine_of_its_own(tmp_path: Path) -> None:
    """Two embedded models with windows of their own; the death of one engine is told by the name of its model, ends
    nothing of the other, and the dead one comes back."""
    file = tmp_path / "antiphon.toml"
    file.write_text(
        "parallel = 1\nthreads = 1\n[models.first]\ncontext_length = 2048\n[models.second]\ncontext_length = 1024\n"
        "alias = 'claude-haiku-*'\n"
    )
    with serving(tmp_path, "--config", str(file)) as server:
        engines = processes.engines(server.process.pid)
        assert len(engines) == 2
        async with aiohttp.ClientSession() as client:
            async with client.get(server.url + "/v1/models", headers=HEADERS) as response:
                listed = [(each["id"], each["max_input_tokens"]) for each in (await response.json())["data"]]
            assert listed == [("first", 2048), ("second", 1024)]
            story = asking("first", stream=True, max_tokens=400)
            streaming = asyncio.ensure_future(post(client, server, "/v1/messages", story))
            await processes.eventually(lambda: _running(client, server))
            os.kill(engines[1], signal.SIGKILL)
            status, raw = await post(client, server, "/v1/messages", asking("claude-haiku-x"))
            assert status == 200, raw
            status, raw = await streaming
            assert order.frames(raw)[-1]["type"] == "message_stop"
    log = server.log.read_text()
    assert "the engine of second died (signal 9)" in log
    assert "the engine of first died" not in log


async def _running(client: aiohttp.ClientSession, server: Server) -> bool:
    return (await processes.gauges(client, server.url))["running"] == 1
