"""The contract of engines, over every one that can be had here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from antiphon.api.conversation import Sampling
from antiphon.api.errors import EngineFailed, Overloaded
from antiphon.constraint import Either, Json, Literal, Marker, Node, Sequence
from antiphon.constraint.dialects import DIALECTS
from antiphon.engines import Engine, Job, Piece, Prefilled, Reach, connect, kinds
from antiphon.engines.embedded import Launch
from antiphon.engines.models import model_store
from antiphon.engines.scripted import Rule, Script, Scripted
from antiphon.process.engine_process import EngineProcess
from antiphon.settings.sources import Settings
from tests.engines import vocabulary
from tests.engines.cases import NAMES, REAL, Case, case, idle

pytestmark = pytest.mark.xdist_group("engine")

PROMPT = "<|im_start|>user\nTell me a long story about the sea.<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Starts the embedded engine on the default model when first called; gives its address and its key."""
    started: list[tuple[str, str]] = []
    with ExitStack() as stack:

        def address() -> tuple[str, str]:
            if not started:
                folder = tmp_path_factory.mktemp("engine")
                model = model_store.resolve("", Path(Settings().cache_dir))
                launch = Launch(model=str(model), window=2048, parallel=2, threads=1, key="k", log=str(folder / "log"))
                process = EngineProcess(launch, lambda sentence: None)
                stack.callback(process.stop)
                started.append((f"http://127.0.0.1:{process.start()}", "k"))
            return started[0]

        yield address


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokenizer of the loopback wires."""
    return vocabulary.write(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(params=NAMES)
async def held(request: pytest.FixtureRequest, embedded: Any, files: Path) -> AsyncIterator[Case]:
    """Each engine in turn."""
    async with case(request.param, embedded, files) as found:
        yield found


@pytest.fixture
def engine(held: Case) -> Engine:
    """Each engine, where nobody looks at its slots."""
    return held.engine


async def job(engine: Engine, text: str = PROMPT, **fields: Any) -> Job:
    """A job that leaves nothing to luck unless its `sampling` says so."""
    given = {"max_tokens": 20, "sampling": Sampling(temperature=0.0), **fields}
    return Job(prompt=await engine.tokenise([text]), text=text, **given)


async def pieces(engine: Engine, asked: Job) -> tuple[Prefilled | None, list[Piece]]:
    prefilled, found = None, list[Piece]()
    async for read in engine.generate(asked):
        if isinstance(read, Prefilled):
            # There may be one for every step: of the same prompt, and more of it is read.
            assert prefilled is None or (prefilled.cached == read.cached and prefilled.read <= read.read)
            prefilled = read
        else:
            assert read
            found += read
    return prefilled, found


async def text(engine: Engine, asked: Job) -> str:
    return "".join(piece.text for piece in (await pieces(engine, asked))[1])


async def lowered(engine: Engine, node: Node, plain: Node | None = None) -> str:
    """The node in the engine's dialect, or `plain` where that knows JSON only. Skips where there is no dialect."""
    described = await engine.describe()
    grammar = described.grammar
    if grammar == "none" or (grammar == "json_schema" and plain is None):
        pytest.skip(f"its dialect, {grammar}, has no words for this")
    ids = {"<|im_start|>": (await engine.tokenise(["<|im_start|>"]))[0]}
    ends = await engine.tokenise([described.eos_token]) if described.eos_token else []
    return DIALECTS[grammar].lower((plain if grammar == "json_schema" and plain else node), ids.get, ends)


def test_every_engine_file_is_found() -> None:
    """The folder is the registry, and no engine of it escapes the contract."""
    assert REAL or set(NAMES) == {kind for kind in kinds() if kind != "openai"}


async def test_an_engine_describes_itself(engine: Engine) -> None:
    """An engine says what it runs: the window, the template, the control tokens."""
    described = await engine.describe()
    assert described.window == 2048
    assert "<|im_start|>" in described.control_tokens
    assert described.exact_cuts
    assert (await engine.health()).ready


async def test_segments_are_tokenised_each_on_its_own(engine: Engine) -> None:
    """Segments are tokenised each on its own: a control token cut in two is text."""
    whole = await engine.tokenise(["<|im_start|>"])
    halves = await engine.tokenise(["<|im_", "start|>"])
    assert len(whole) == 1
    assert whole[0] not in halves
    assert await engine.tokenise(["a ", "b"]) == [*await engine.tokenise(["a "]), *await engine.tokenise(["b"])]


async def test_tokenises_long_texts(engine: Engine) -> None:
    """However long a text is, its ids are those of the text, and those of its beginning as long as words go."""
    words = "The sea is wide. " * 20_000
    ids = await engine.tokenise([words])
    assert b"".join(await engine.spell(ids)).decode() == words
    assert ids[:1000] == (await engine.tokenise([words[:100_000]]))[:1000]


async def test_streams_to_the_limit(engine: Engine) -> None:
    """Pieces come with their counts and ids, and the last one says that the limit ended it."""
    prefilled, found = await pieces(engine, await job(engine, max_tokens=20))
    assert prefilled is not None
    assert prefilled.cached <= prefilled.prompt == len(await engine.tokenise([PROMPT]))
    assert sum(piece.count for piece in found) == 20
    assert [piece.end for piece in found[:-1]] == ["none"] * (len(found) - 1)
    assert found[-1].end == "length"
    assert "".join(piece.text for piece in found)


async def test_reports_the_cache(held: Case) -> None:
    """The second time, a prompt is from the cache but for its last block."""
    words = "the sea " * (3 * held.block)
    # LMDeploy tells of its cache on one of its two routes; a seed leads there.
    asked = await job(held.engine, words + PROMPT, max_tokens=2, sampling=Sampling(seed=1))
    await pieces(held.engine, asked)
    prefilled, _ = await pieces(held.engine, asked)
    assert prefilled is not None
    assert prefilled.cached >= prefilled.prompt - held.block


@pytest.mark.parametrize("after", [0, 1, 5])
async def test_closing_is_cancelling(held: Case, after: int) -> None:
    """Leaving a generation, at any point, frees its slot; many at once leak nothing."""

    async def leave() -> None:
        reads = held.engine.generate(await job(held.engine, max_tokens=400))
        for _ in range(after + 1):
            await anext(reads)
        await reads.aclose()

    await asyncio.gather(*(leave() for _ in range(6)))
    await idle(held.busy)


async def test_cancelled_while_waiting(held: Case) -> None:
    """A generation that waits for a slot can be left too."""
    running = [held.engine.generate(await job(held.engine, max_tokens=300)) for _ in range(2)]
    for each in running:
        await anext(each)
    waiting = asyncio.create_task(pieces(held.engine, await job(held.engine)))
    await asyncio.sleep(0.2)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    for each in running:
        await each.aclose()
    await idle(held.busy)


async def test_an_engine_is_held_to_its_grammar(engine: Engine) -> None:
    """An engine that describes a dialect is held to a grammar in it, and ends its turn by itself."""
    grammar = await lowered(engine, Either((Literal("yes"), Literal("no"))), Json({"enum": ["yes", "no"]}))
    _, found = await pieces(engine, await job(engine, grammar=grammar))
    assert "".join(piece.text for piece in found).strip('"') in ("yes", "no")
    assert found[-1].end == "stop"


async def test_control_tokens_are_seen_where_asked_for(engine: Engine) -> None:
    """The text of a control token that was sampled is told if the job lists it as visible, and else it is not."""
    grammar = await lowered(engine, Sequence((Marker("<|im_start|>"), Literal("yes"))))
    seen = await text(engine, await job(engine, grammar=grammar, visible=("<|im_start|>",)))
    other = await text(engine, await job(engine, grammar=grammar, visible=("<repo_name>",)))
    plain = await text(engine, await job(engine, grammar=grammar))
    assert (seen, other, plain) == ("<|im_start|>yes", "yes", "yes")


async def test_greedy_replies_are_the_same(engine: Engine) -> None:
    """At temperature 0 the same prompt has the same reply, and a banned token does not occur in it."""
    greedy = Sampling(temperature=0)
    _, found = await pieces(engine, await job(engine, sampling=greedy))
    ids = [id for piece in found for id in piece.ids]
    _, again = await pieces(engine, await job(engine, sampling=greedy))
    assert [id for piece in again for id in piece.ids] == ids
    if isinstance(engine, Scripted):
        return  # it says what the script says
    _, other = await pieces(engine, await job(engine, sampling=greedy, banned=(ids[0],)))
    assert ids[0] not in [id for piece in other for id in piece.ids]


@pytest.mark.skipif(bool(REAL), reason="nothing of the real server is in this")
@pytest.mark.parametrize("name", [name for name in NAMES if name != "scripted"])
async def test_an_engine_that_is_not_there_is_overloaded(name: str, files: Path) -> None:
    """An engine that is not there is said to be so: not ready, and overloaded for whoever asks."""
    engine = connect(f"{name}+http://127.0.0.1:9", Reach(patience=0.3, tokenizer=str(files)))
    assert not (await engine.health()).ready
    with pytest.raises(Overloaded):
        await engine.describe()
    await engine.close()


@pytest.mark.parametrize("after", [0, 3])
async def test_breaking_off_raises(after: int) -> None:
    """An engine that breaks off raises, before the first piece or later."""
    engine = Scripted(Script(rules=(Rule(text="a b c d e", fail_after=after),)))
    with pytest.raises(EngineFailed, match="script says"):
        await pieces(engine, await job(engine))
    assert engine.running == 0
