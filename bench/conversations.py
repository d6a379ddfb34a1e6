"""Many more conversations than slots, in turn: how much of their prompts is computed anew.

    python -m bench.conversations [--tokens 5000] [--many 20] [--rounds 3] [--workers 1 2] [--alone]

Each conversation has so many tokens of its own. After the first round nothing but the end of each is new, so what more
is computed was lost between two of its turns. llama.cpp's own server, with its defaults, is asked the same beside.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from antiphon.engines.models import model_store
from antiphon.settings.sources import Settings
from bench import servers
from bench.measuring import Row
from bench.prefill import HEADERS, own, prompt

WINDOW, SLOTS = 8192, 4
MOST = 0.02
"""The share of all prompt tokens that may be computed after the first round, new ones among them."""


class Turn(NamedTuple):
    """The tokens of a prompt, and those that were computed."""

    prompt: int
    computed: int


async def held(url: str, many: int, tokens: int, rounds: int, rng: random.Random) -> list[Turn]:
    """The turns after the first round, of conversations that take turns with one another."""
    histories: list[list[dict[str, Any]]] = [[] for _ in range(many)]
    turns = []
    timeout = aiohttp.ClientTimeout(total=None)
    # As programs of different people: no connection is kept, so with several workers each turn may reach another.
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)) as client:
        for number in range(rounds):
            for history in histories:
                said = prompt(tokens, rng) if number == 0 else "Go on."
                history.append({"role": "user", "content": said})
                asked = {"model": "default", "max_tokens": 8, "temperature": 0, "messages": history}
                async with client.post(f"{url}/v1/messages", json=asked, headers=HEADERS) as response:
                    response.raise_for_status()
                    message = await response.json()
                history.append({"role": "assistant", "content": message["content"]})
                usage = message["usage"]
                new, cached = usage["input_tokens"], usage.get("cache_read_input_tokens") or 0
                created = usage.get("cache_creation_input_tokens") or 0
                if number:
                    turns.append(Turn(new + created + cached, new + created))
    return turns


def measured(folder: Path, many: int, tokens: int, rounds: int, workers: list[int], *, beside: bool) -> list[Row]:
    """A row for each number of workers, and one for llama.cpp's own server where it is asked `beside`."""
    rows = []
    settings = ("--context-length", str(WINDOW), "--parallel", str(SLOTS))
    what = f"{many} conversations of {tokens} tokens over {SLOTS} slots, computed after the first round"
    for number in workers:
        place = folder / str(number)
        place.mkdir()
        with servers.antiphon(place, "", *settings, "--workers", str(number)) as ours:
            turns = asyncio.run(held(ours.url, many, tokens, rounds, random.Random(number)))
        share = sum(turn.computed for turn in turns) / sum(turn.prompt for turn in turns)
        named = f"{what}, {number} worker{'s' * (number > 1)}"
        rows.append(Row(named, f"{share:.1%}", f"≤ {MOST:.0%}", share <= MOST))
        print(named, rows[-1].figure, flush=True)
    if not beside:
        return rows
    with own(folder, model_store.resolve("", Path(Settings().cache_dir))) as theirs:
        turns = asyncio.run(held(theirs, many, tokens, rounds, random.Random(0)))
    share = sum(turn.computed for turn in turns) / sum(turn.prompt for turn in turns)
    rows.append(Row(f"{what}, llama.cpp's own server", f"{share:.1%}"))
    print(rows[-1].what, rows[-1].figure, flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=5000)
    parser.add_argument("--many", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--alone", action="store_true", help="without llama.cpp's own server, which takes longest")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        measured(Path(place), options.many, options.tokens, options.rounds, options.workers, beside=not options.alone)
