"""Models that are loaded when they are needed: three of them in the memory for two, and clients that ask at random.

    python -m bench.on_demand [MODEL.gguf] [--seconds 180] [--clients 8] [--workers 2]

No request may fail, no stream may be silent for longer than a ping's interval, and never are three engines there.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from bench.measuring import Row
from tests.end_to_end.conftest import Server, serving
from tests.faults.processes import engines

MODELS = ("large", "medium", "small")
PING = 0.5
_ASKS_A_SECOND = 2.0
_HEADERS = {"anthropic-version": "2023-06-01", "x-api-key": "any"}
# A window of 4096 tokens of the default model and its file take 193 MB. More would be made less, to let three fit.
_SETTINGS = 'parallel = 1\ncache_type = "f16"\ncontext_length = 4096\nloaded_memory_mb = 450\n'


class Seen(msgspec.Struct):
    """A stream of a model: when its first word came, its longest silence in seconds, the pings before the first word,
    and what was wrong with it."""

    model: str
    first: float = 0.0
    silence: float = 0.0
    pings: int = 0
    wrong: str = ""


def configured(folder: Path, model: str = "") -> Path:
    """The configuration."""
    file = folder / "antiphon.toml"
    tables = (f"[models.{name}]\n" + (f'model = "{model}"\n' if model else "") for name in MODELS)
    file.write_text(_SETTINGS + "".join(tables))
    return file


async def ask(client: aiohttp.ClientSession, url: str, model: str) -> Seen:
    """One stream."""
    seen, begun = Seen(model), time.monotonic()
    body = {
        "model": model,
        "max_tokens": 16,
        "stream": True,
        "messages": [{"role": "user", "content": f"Say hello, {model}."}],
    }
    last, ended = begun, False
    async with client.post(f"{url}/v1/messages", json=body, headers=_HEADERS) as response:
        if response.status != 200:
            return Seen(model, wrong=f"{response.status}: {await response.text()}")
        async for line in response.content:
            now = time.monotonic()
            seen.silence, last = max(seen.silence, now - last), now
            if line.startswith(b"event: ping") and not seen.first:
                seen.pings += 1
            elif line.startswith(b"event: content_block_delta") and not seen.first:
                seen.first = now - begun
            ended = ended or line.startswith(b"event: message_stop")
            if line.startswith(b'data: {"type":"error"'):
                seen.wrong = line.decode()
    seen.wrong = seen.wrong or ("" if ended else "the stream broke off")
    return seen


async def play(
    server: Server, clients: int, seconds: float = math.inf, rounds: int = sys.maxsize
) -> tuple[list[Seen], int]:
    """So many clients that ask for all models in some order, round after round; gives every stream, and how many
    engines there were at most."""
    rng, vocabularies = random.Random(11), len(engines(server.process.pid)) - await loaded(server.url)
    streams: list[Seen] = []
    until, most = time.monotonic() + seconds, 0

    async def client(session: aiohttp.ClientSession) -> None:
        for _ in range(rounds):
            for model in rng.sample(MODELS, len(MODELS)):
                if time.monotonic() > until:
                    return
                streams.append(await ask(session, server.url, model))
                await asyncio.sleep(rng.expovariate(_ASKS_A_SECOND))

    async def look() -> None:
        nonlocal most
        while True:
            # Each model's vocabulary is a process of the same kind.
            most = max(most, len(engines(server.process.pid)) - vocabularies)
            await asyncio.sleep(0.1)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300)) as session:
        looking = asyncio.create_task(look())
        await asyncio.gather(*(client(session) for _ in range(clients)))
        looking.cancel()
    return streams, most


async def counted(url: str) -> dict[str, float]:
    """What the server has counted of loads, by the names of its metrics and their labels without the model."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics", headers=_HEADERS) as response:
        lines = (await response.text()).splitlines()
    found: dict[str, float] = {}
    for name, _, value in (line.rpartition(" ") for line in lines if line.startswith("antiphon_model_")):
        key = name.translate({ord("{"): ",", ord("}"): "", ord('"'): ""}).split(",")
        label = " ".join([key[0].removeprefix("antiphon_model_"), *(part for part in key[1:] if "model=" not in part)])
        found[label] = found.get(label, 0.0) + float(value)
    return found


async def loaded(url: str) -> int:
    """How many models are loaded now."""
    return int((await counted(url))["state state=loaded"])


def measured(folder: Path, model: str = "", seconds: float = 180, clients: int = 8, workers: int = 2) -> list[Row]:
    """The rows."""
    settings = ("--config", str(configured(folder, model)), "--workers", str(workers), "--ping-interval", str(PING))
    with serving(folder, *settings) as server:
        streams, most = asyncio.run(play(server, clients, seconds))
        counts = asyncio.run(counted(server.url))
    failed = [stream.wrong for stream in streams if stream.wrong]
    silence = max(stream.silence for stream in streams)
    waited = sorted(stream.first for stream in streams if stream.pings)
    served = sorted(stream.first for stream in streams if not stream.pings)
    loads, seconds_each = counts["loads_total outcome=ok"], counts["load_seconds_total"]
    return [
        Row("streams", f"{len(streams)} by {clients} clients, {workers} workers", "> 0", len(streams) > 0),
        Row("that failed", f"{len(failed)} {failed[:1] or ''}", "0", not failed),
        Row("loads", f"{loads:.0f}, {seconds_each / max(loads, 1):.2f} s each", "> 3", loads > len(MODELS)),
        Row("loads that failed", f"{counts['loads_total outcome=failed']:.0f}", "0"),
        Row("unloads to make room", f"{counts['unloads_total cause=room']:.0f}", "loads - 2"),
        Row("engines at once, at most", f"{most}", "≤ 2", most <= 2),
        Row("longest silence of a stream", f"{silence:.2f} s", f"pings every {PING} s"),
        Row("first word without waiting", _spread(served)),
        Row("first word behind pings", _spread(waited)),
    ]


def _spread(values: list[float]) -> str:
    if not values:
        return "none"
    return f"{statistics.median(values):.2f} s, 95 %: {values[int(0.95 * (len(values) - 1))]:.2f} s ({len(values)})"


def main() -> Any:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="")
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rows = measured(Path(place), arguments.model, arguments.seconds, arguments.clients, arguments.workers)
    for row in rows:
        print(row.told)


if __name__ == "__main__":
    main()
