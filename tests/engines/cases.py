"""Every engine that can be had here, for the contract: over loopback wires in `make test`, one real server in
`make engines-real` (which names it in the environment)."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from antiphon.engines import Engine, Reach, connect
from antiphon.engines.llama_cpp import LlamaCpp
from antiphon.engines.scripted import Rule, Script, Scripted
from tests.engines.wires import WIRES

REAL = os.environ.get("ANTIPHON_REAL_ENGINE", "")
"""`vllm+http://127.0.0.1:8000`: the one server to hold to the contract."""
TOKENIZER = os.environ.get("ANTIPHON_REAL_TOKENIZER", "")
"""The folder of its model's files."""
DTYPE = os.environ.get("ANTIPHON_REAL_DTYPE", "bfloat16")
"""What it computes in."""

NAMES = [REAL.partition("+")[0]] if REAL else ["scripted", "llama.cpp", *WIRES]


class Case(NamedTuple):
    """An engine with room for two generations at once or more. `busy` tells how many of its slots are held, `block`
    how many tokens its cache keeps together."""

    name: str
    engine: Engine
    busy: Callable[[], Awaitable[int]]
    block: int = 1


@asynccontextmanager
async def case(name: str, embedded: Callable[[], tuple[str, str]], files: Path) -> AsyncIterator[Case]:
    """The engine of this name. `embedded` gives the address and the key of the embedded llama.cpp, `files` is the
    folder of the loopback wires' tokenizer."""
    if REAL:
        made = connect(REAL, Reach(tokenizer=TOKENIZER, patience=10))
        url = REAL.partition("+")[2]
        found = Case(name, made, lambda: counted(url), block=128 if name == "vllm" else 1)
        await made.describe()
        yield found
    elif name == "scripted":
        script = Scripted(Script(rules=(Rule(text="word " * 500, delay=0.001),), slots=2, window=2048))

        async def running() -> int:
            return script.running

        found = Case(name, script, running)
        yield found
    elif name == "llama.cpp":
        url, key = embedded()
        made = connect(f"llama.cpp+{url}", Reach(key=key))
        assert isinstance(made, LlamaCpp)
        server = made._server

        async def slots() -> int:
            return sum(slot["is_processing"] for slot in await server.ask("GET", "/slots", list[dict[str, Any]]))

        found = Case(name, made, slots)
        yield found
    else:
        wire = WIRES[name](files)
        await wire.start()

        async def held() -> int:
            return wire.running

        try:
            found = Case(name, connect(f"{name}+{wire.url}", Reach(tokenizer=str(files), patience=2)), held)
            await found.engine.describe()
            yield found
        finally:
            await wire.stop()
    await found.engine.close()


async def idle(busy: Callable[[], Awaitable[int]]) -> None:
    """Wait until no slot is held."""
    for _ in range(200):
        if await busy() == 0:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("a slot was not freed")


async def counted(url: str) -> int:
    """What a real server counts: vLLM among its metrics, SGLang its load, LMDeploy on a route of the suite."""
    async with aiohttp.ClientSession() as session:

        async def read(path: str) -> str:
            async with session.get(url + path) as response:
                return await response.text() if response.status == 200 else ""

        if told := await read("/running"):
            return int(told)
        if told := await read("/v1/loads?include=core"):
            return sum(load["num_running_reqs"] + load["num_waiting_reqs"] for load in json.loads(told)["loads"])
        lines = re.findall(r"^vllm:num_requests_(?:running|waiting)\{[^}]*\} ([\d.]+)$", await read("/metrics"), re.M)
        assert lines
        return int(sum(map(float, lines)))
