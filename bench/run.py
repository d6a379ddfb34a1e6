"""Compares the cost of the surface with its peers, side by side in one run: `python -m bench.run [--only PART …]`.

Prints a table, and with `--write FILE` writes it as a page. Figures are ratios to a peer of the same run wherever there
is one: the machine's own speed says nothing. Parts: `paced`, `bursts`, `length`, `engine`, `start`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from antiphon import models_store
from antiphon.config import Settings
from antiphon.engine_process import EngineProcess
from antiphon.engines.embedded import Launch
from bench import servers
from tests.faults.processes import memory, workers

HEADERS = {"anthropic-version": "2023-06-01"}


class Row(NamedTuple):
    """A line of the table; `good` is None where there is no target."""

    what: str
    figure: str
    target: str = ""
    good: bool | None = None


def load(url: str, pids: list[int], *more: str, tokens: int = 100_000) -> dict[str, Any]:
    """What `bench.load` tells."""
    asked = {"model": "default", "stream": True, "max_tokens": tokens, "messages": [{"role": "user", "content": "hi"}]}
    command = [sys.executable, "-m", "bench.load", url, json.dumps(asked), *more, "--watch", *map(str, pids)]
    told: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return told


def cost(told: dict[str, Any]) -> float:
    """Microseconds of processor time for each token."""
    return float(1e6 * told["cpu"] / max(told["tokens"], 1))


def rounds(measures: dict[str, Callable[[], dict[str, Any]]], times: int = 3) -> dict[str, list[dict[str, Any]]]:
    """Each measure in turn, several times over, so that what disturbs one disturbs the others too."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in measures}
    for _ in range(times):
        for name, measure in measures.items():
            found[name].append(measure())
    return found


def median(told: list[dict[str, Any]], of: Callable[[dict[str, Any]], float]) -> float:
    """The median of a figure."""
    return statistics.median(map(of, told))


def surfaces(folder: Path, parts: set[str]) -> list[Row]:
    """Everything that is measured over the paced upstream."""
    rows: list[Row] = []
    with (
        servers.upstream(folder) as clock,
        servers.relay(folder, clock.url) as floor,
        servers.antiphon(folder, f"llama.cpp+{clock.url}") as ours,
    ):
        messages, chat = ours.url + "/v1/messages", ours.url + "/v1/chat/completions"
        if "paced" in parts:
            rows += _paced(folder, clock, floor, ours, messages, chat)
        servers.pace(clock.url, 0)
        if "bursts" in parts:
            many = ["--streams", "32", "--whole"]
            found = rounds(
                {
                    "relay": lambda: load(floor.url + "/", floor.pids, *many, tokens=4000),
                    "ours": lambda: load(messages, ours.pids, *many, tokens=4000),
                }
            )
            rates = {name: median(told, lambda t: t["tokens"] / t["wall"]) for name, told in found.items()}
            rows.append(
                Row("tokens a second in bursts, 32 streams", f"{rates['ours']:,.0f} (relay {rates['relay']:,.0f})")
            )
        if "length" in parts:
            found = rounds(
                {
                    "short": lambda: load(messages, ours.pids, "--streams", "1", "--whole", tokens=20_000),
                    "long": lambda: load(messages, ours.pids, "--streams", "1", "--whole", tokens=80_000),
                }
            )
            # What the last 60,000 tokens of a long reply cost beyond its first 20,000.
            first, whole = (median(found[name], lambda t: t["cpu"]) for name in ("short", "long"))
            ratio = ((whole - first) / 60_000) / (first / 20_000)
            rows.append(
                Row("a token after 60,000, against one of the first 20,000", f"{ratio:.2f}×", "≤ 1.1×", ratio <= 1.1)
            )
    return rows


def _paced(
    folder: Path, clock: servers.Running, floor: servers.Running, ours: servers.Running, messages: str, chat: str
) -> list[Row]:
    at_64 = ["--streams", "64", "--seconds", "5"]
    found = rounds(
        {
            "relay": lambda: load(floor.url + "/", floor.pids, *at_64),
            "messages": lambda: load(messages, ours.pids, *at_64),
            "chat": lambda: load(chat, ours.pids, *at_64),
        }
    )
    each = {name: median(told, cost) for name, told in found.items()}
    ratio, beside = each["messages"] / each["relay"], each["messages"] / each["chat"]
    rows = [
        Row("processor time for a token, bare relay, 64 streams at 20 ms", f"{each['relay']:.0f} µs"),
        Row("the same, `/v1/messages`", f"{each['messages']:.0f} µs, {ratio:.2f}× the relay", "≤ 1.4×", ratio <= 1.4),
        Row("the same, against our `/v1/chat/completions`", f"{beside:.2f}×", "≤ 1.05×", beside <= 1.05),
    ]
    for streams in (64, 256, 512):
        told = load(messages, ours.pids, "--streams", str(streams), "--seconds", "4")
        gap = 1e3 * told["gap_p99"]
        rows.append(Row(f"p99 between tokens (ideal 20 ms), {streams} streams", f"{gap:.0f} ms"))
    with servers.litellm(folder, clock.url) as proxy:
        if proxy is None:
            return [*rows, Row("LiteLLM's proxy", "could not be had")]
        told = load(proxy.url + "/v1/chat/completions", proxy.pids, "--streams", "16", "--seconds", "5")
        other = cost(told) / each["messages"]
        figure = f"{cost(told):.0f} µs, {other:.0f}× ours"
        rows.append(Row("LiteLLM's proxy, processor time for a token, 16 streams", figure, "≥ 15×", other >= 15))
        rows.append(Row("LiteLLM's proxy, p99 between tokens, 16 streams", f"{1e3 * told['gap_p99']:.0f} ms"))
    return rows


SHIPS = count(1)
"""No prompt comes twice: who asks second would find what the first had computed."""


async def spoken(url: str, streams: int) -> tuple[float, float]:
    """Output tokens a second, and the median time to the first of them, of streams that begin together."""

    async def one(client: aiohttp.ClientSession) -> tuple[int, float]:
        asked = {"model": "default", "stream": True, "max_tokens": 48, "temperature": 0.7}
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


def engine(folder: Path) -> list[Row]:
    """Our `/v1/messages` against llama.cpp's own, on one engine."""
    model = models_store.resolve("", Path(Settings().cache_dir))
    launch = Launch(model=str(model), window=1024, parallel=16, threads=1, log=str(folder / "engine.log"))
    process = EngineProcess(launch, print)
    rows = []
    try:
        theirs = f"http://127.0.0.1:{process.start()}"
        with servers.antiphon(folder, f"llama.cpp+{theirs}") as ours:
            for streams in (1, 4, 8, 16):
                pace, wait = [], []
                for _ in range(3):
                    (a, first_a), (b, first_b) = (
                        asyncio.run(spoken(f"{base}/v1/messages", streams)) for base in (ours.url, theirs)
                    )
                    pace.append(a / b)
                    wait.append(first_a / first_b)
                faster, later = statistics.median(pace), statistics.median(wait)
                what = f"against llama.cpp's own `/v1/messages`, {streams} streams"
                rows.append(Row(f"output tokens a second {what}", f"{faster:.2f}×", "≥ 0.97×", faster >= 0.97))
                rows.append(Row(f"time to the first token {what}", f"{later:.2f}×", "≤ 1.1×", later <= 1.1))
    finally:
        process.stop()
    return rows


def start(folder: Path) -> list[Row]:
    """How soon it is there, and how large."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "antiphon", "--help"], stdout=subprocess.DEVNULL, check=True)
    helped = time.perf_counter() - began
    began = time.perf_counter()
    with servers.antiphon(folder, "") as ours:
        ready = time.perf_counter() - began
        (worker,) = workers(ours.process.pid)
        size = memory(worker) / 1e6
    return [
        Row("`antiphon --help`", f"{helped:.2f} s", "< 0.3 s", helped < 0.3),
        Row("ready with the cached default model", f"{ready:.1f} s", "≤ 3 s", ready <= 3),
        Row("memory of a worker", f"{size:.0f} MB", "< 120 MB", size < 120),
    ]


def page(rows: list[Row]) -> str:
    """The table, with the machine that it was made on."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    head = (
        "# Benchmarks\n\n<!-- Made by `make bench`. -->\n\n"
        "What the surface costs beside the engine. Everything runs on loopback on one machine; peers are measured in\n"
        "the same run, in turns, and the table gives medians.\n\n"
        f"{processor}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, "
        f"Granian {version('granian')}, aiohttp {version('aiohttp')}, xllamacpp {version('xllamacpp')}, "
        f"{time.strftime('%Y-%m-%d')}.\n\n"
        "| | figure | target | |\n|---|---|---|---|\n"
    )
    verdict = {True: "met", False: "missed", None: ""}
    return head + "".join(f"| {row.what} | {row.figure} | {row.target} | {verdict[row.good]} |\n" for row in rows)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = ["paced", "bursts", "length", "engine", "start"]
    parser.add_argument("--only", nargs="*", choices=every, default=every)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    parts, rows = set(arguments.only), list[Row]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if parts & {"paced", "bursts", "length"}:
            rows += surfaces(folder, parts)
        if "engine" in parts:
            rows += engine(folder)
        if "start" in parts:
            rows += start(folder)
    for row in rows:
        print(f"{row.what}: {row.figure}  {row.target}  {'' if row.good is None else 'met' if row.good else 'MISSED'}")
    if arguments.write:
        arguments.write.write_text(page(rows), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
