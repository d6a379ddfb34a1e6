"""Our `/v1/messages` against the engine's own, on one engine process: llama.cpp's, and vLLM's where it is asked for."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from itertools import count
from pathlib import Path

import aiohttp

from antiphon.engines.embedded import Launch
from antiphon.engines.models import model_store
from antiphon.process.engine_process import EngineProcess
from antiphon.settings.sources import Settings
from bench import servers
from bench.measuring import Row
from tests.engines.real import run as real

HEADERS = {"anthropic-version": "2023-06-01"}
SHIPS = count(1)
"""No prompt comes twice: who asks second would find what the first had computed."""


async def spoken(url: str, streams: int, model: str) -> tuple[float, float]:
    """Output tokens a second, and the median time to the first of them, of streams that begin together."""

    async def one(client: aiohttp.ClientSession) -> tuple[int, float]:
        asked = {"model": model, "stream": True, "max_tokens": 48, "temperature": 0.7}
        asked["messages"] = [{"role": "user", "content": f"Tell me a long story about ship number {next(SHIPS)}."}]
        began, first, tokens = time.perf_counter(), 0.0, 0
        async with client.post(url, json=asked, headers=HEADERS) as response:
            async for line in response.content:
                if b"content_block_delta" in line and not first:
                    first = time.perf_counter() - began
                if line.startswith(b"data:") and b'"message_delta"' in line:
                    tokens = json.loads(line[5:])["usage"]["output_tokens"]
        return tokens, first

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        began = time.perf_counter()
        done = await asyncio.gather(*(one(client) for _ in range(streams)))
        seconds = time.perf_counter() - began
    return sum(tokens for tokens, _ in done) / seconds, statistics.median(first for _, first in done)


def llama_cpp(folder: Path) -> list[Row]:
    """Beside llama.cpp."""
    model = model_store.resolve("", Path(Settings().cache_dir))
    launch = Launch(model=str(model), window=1024, parallel=16, threads=1, log=str(folder / "engine.log"))
    process = EngineProcess(launch, print)
    try:
        theirs = f"http://127.0.0.1:{process.start()}"
        with servers.antiphon(folder, f"llama.cpp+{theirs}") as ours:
            return [
                row
                for streams in (1, 4, 8, 16)
                for row in _compared(ours.url, theirs, streams, "llama.cpp", "default", least=0.97)
            ]
    finally:
        process.stop()


def vllm(folder: Path) -> list[Row]:
    """Beside vLLM, which works on two requests at once here."""
    with (
        real.running("vllm", folder / "vllm.log") as (theirs, model),
        servers.antiphon(folder, f"vllm+{theirs}", "--tokenizer", str(model)) as ours,
    ):
        for url in (ours.url, theirs):
            asyncio.run(spoken(url + "/v1/messages", 2, "smol"))
        return [row for streams in (1, 2) for row in _compared(ours.url, theirs, streams, "vLLM", "smol", least=1.0)]


def _compared(ours: str, theirs: str, streams: int, name: str, model: str, *, least: float) -> list[Row]:
    pace, wait = [], []
    for _ in range(5):
        (a, first_a), (b, first_b) = (
            asyncio.run(spoken(f"{base}/v1/messages", streams, model)) for base in (ours, theirs)
        )
        pace.append(a / b)
        wait.append(first_a / first_b)
    faster, later = statistics.median(pace), statistics.median(wait)
    what = f"against {name}'s own `/v1/messages`, {streams} streams"
    return [
        Row(f"output tokens a second {what}", f"{faster:.2f}×", f"≥ {least}×", faster >= least),
        Row(f"time to the first token {what}", f"{later:.2f}×", "≤ 1.1×", later <= 1.1),
    ]
