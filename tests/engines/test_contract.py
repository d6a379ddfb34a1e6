"""The contract of engines, over every one that can be had here: the scripted one and the embedded llama.cpp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon import models_store
from antiphon.config import Settings
from antiphon.engine_process import EngineProcess
from antiphon.engines import Engine, Job, Piece, Prefilled, connect, kinds
from antiphon.engines.embedded import Launch
from antiphon.engines.llama_cpp import LlamaCpp
from antiphon.engines.scripted import Rule, Script, Scripted
from antiphon.errors import EngineFailed, Overloaded

pytestmark = pytest.mark.xdist_group("engine")

PROMPT = "<|im_start|>user\nTell me a long story about the sea.<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The embedded engine on the default model: its address and its key."""
    folder = tmp_path_factory.mktemp("engine")
    model = models_store.resolve("", Path(Settings().cache_dir))
    launch = Launch(model=str(model), window=2048, parallel=2, threads=1, key="k", log=str(folder / "log"))
    process = EngineProcess(launch, lambda sentence: None)
    try:
        yield f"http://127.0.0.1:{process.start()}", "k"
    finally:
        process.stop()


@pytest.fixture(params=["scripted", "llama.cpp"])
async def engine(request: pytest.FixtureRequest, embedded: tuple[str, str]) -> AsyncIterator[Engine]:
    """Each engine in turn, with room for two generations at once."""
    if request.param == "scripted":
        made: Engine = Scripted(Script(rules=(Rule(text="word " * 500, delay=0.001),), slots=2, window=2048))
    else:
        made = connect(f"llama.cpp+{embedded[0]}", {"key": embedded[1]})
    yield made
    await made.close()


async def job(engine: Engine, **fields: Any) -> Job:
    return Job(prompt=await engine.tokenise([PROMPT]), max_tokens=fields.pop("max_tokens", 20), text=PROMPT, **fields)


async def pieces(engine: Engine, asked: Job) -> tuple[Prefilled | None, list[Piece]]:
    prefilled, found = None, list[Piece]()
    async for read in engine.generate(asked):
        if isinstance(read, Prefilled):
            assert prefilled is None
            assert not found
            prefilled = read
        else:
            assert read
            found += read
    return prefilled, found


async def busy(engine: Engine) -> int:
    """How many generations hold a slot."""
    if isinstance(engine, Scripted):
        return engine.running
    assert isinstance(engine, LlamaCpp)
    return sum(slot["is_processing"] for slot in await engine._server.ask("GET", "/slots"))


async def eventually_idle(engine: Engine) -> None:
    for _ in range(100):
        if await busy(engine) == 0:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("a slot was not freed")


def test_every_engine_file_is_found() -> None:
    """The folder is the registry."""
    assert {"scripted", "llama.cpp"} <= set(kinds())


async def test_describes(engine: Engine) -> None:
    """An engine says what it runs: the window, the template, the control tokens."""
    described = await engine.describe()
    assert described.window == 2048
    assert "<|im_start|>" in described.control_tokens
    assert described.exact_cuts
    assert (await engine.health()).ready


async def test_tokenises(engine: Engine) -> None:
    """Segments are tokenised each on its own: a control token cut in two is text."""
    whole = await engine.tokenise(["<|im_start|>"])
    halves = await engine.tokenise(["<|im_", "start|>"])
    assert len(whole) == 1
    assert whole[0] not in halves
    assert await engine.tokenise(["a ", "b"]) == [*await engine.tokenise(["a "]), *await engine.tokenise(["b"])]


async def test_spells(engine: Engine) -> None:
    """The bytes of the ids of a text join to the text, also where a token is no whole character; control tokens have
    their text too."""
    text = "<|im_start|>user\nHello wörld 😀 日本 𝄞<|im_end|>"
    ids = await engine.tokenise([text])
    spelled = await engine.spell(ids)
    assert len(spelled) == len(ids)
    assert b"".join(spelled).decode() == text
    assert spelled[0] == b"<|im_start|>"
    backwards = list(reversed(ids))
    assert await engine.spell(backwards) == list(reversed(spelled))


async def test_streams_to_the_limit(engine: Engine) -> None:
    """Pieces come with their counts, and the last one says that the limit ended it."""
    prefilled, found = await pieces(engine, await job(engine, max_tokens=20))
    assert prefilled is not None
    assert prefilled.cached <= prefilled.prompt == len(await engine.tokenise([PROMPT]))
    assert sum(piece.count for piece in found) == 20
    assert [piece.end for piece in found[:-1]] == ["none"] * (len(found) - 1)
    assert found[-1].end == "length"
    assert "".join(piece.text for piece in found)


async def test_reports_the_cache(engine: Engine) -> None:
    """The second time, a prompt is all but its last token from the cache."""
    await pieces(engine, await job(engine, max_tokens=2))
    prefilled, _ = await pieces(engine, await job(engine, max_tokens=2))
    assert prefilled is not None
    assert prefilled.cached >= prefilled.prompt - 1


@pytest.mark.parametrize("after", [0, 1, 5])
async def test_closing_is_cancelling(engine: Engine, after: int) -> None:
    """Leaving a generation, at any point, frees its slot; many at once leak nothing."""

    async def leave() -> None:
        reads = engine.generate(await job(engine, max_tokens=400))
        for _ in range(after + 1):
            await anext(reads)
        await reads.aclose()

    await asyncio.gather(*(leave() for _ in range(6)))
    await eventually_idle(engine)


async def test_cancelled_while_waiting(engine: Engine) -> None:
    """A generation that waits for a slot can be left too."""
    running = [engine.generate(await job(engine, max_tokens=300)) for _ in range(2)]
    for each in running:
        await anext(each)
    waiting = asyncio.create_task(pieces(engine, await job(engine)))
    await asyncio.sleep(0.2)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    for each in running:
        await each.aclose()
    await eventually_idle(engine)


async def test_grammar(embedded: tuple[str, str]) -> None:
    """The embedded engine is held to a grammar, and to control tokens that must be seen."""
    engine = connect(f"llama.cpp+{embedded[0]}", {"key": embedded[1]})
    grammar = '%llguidance {}\nstart: "yes" | "no"\n'
    _, found = await pieces(engine, await job(engine, grammar=grammar))
    assert "".join(piece.text for piece in found) in ("yes", "no")
    assert found[-1].end == "stop"
    await engine.close()


async def test_dead_engine() -> None:
    """An engine that is not there is said to be so: not ready, and overloaded for whoever asks."""
    engine = connect("llama.cpp+http://127.0.0.1:9", {"patience": 0.3})
    assert not (await engine.health()).ready
    with pytest.raises(Overloaded):
        await engine.tokenise(["a"])
    await engine.close()


@pytest.mark.parametrize("after", [0, 3])
async def test_scripted_failure(after: int) -> None:
    """An engine that breaks off raises, before the first piece or later."""
    engine = Scripted(Script(rules=(Rule(text="a b c d e", fail_after=after),)))
    with pytest.raises(EngineFailed, match="script says"):
        await pieces(engine, await job(engine))
    assert engine.running == 0
