"""What engines tell of the tokens that they sample, over every one that can be had here."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest

from antiphon.api.conversation import Sampling
from antiphon.engines import Engine, Job, Piece, Reach, connect
from antiphon.engines.embedded import Launch
from antiphon.engines.models import model_store
from antiphon.process.engine_process import EngineProcess
from antiphon.settings.sources import Settings
from tests.engines import vocabulary
from tests.engines.cases import NAMES, REAL, case

pytestmark = pytest.mark.xdist_group("engine")

PROMPT = "<|im_start|>user\nTell me a long story about the sea.<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Starts the embedded engine when first called with its way of guessing tokens."""
    with ExitStack() as stack:

        @cache
        def address(speculate: Literal["off", "ngram"] = "off") -> tuple[str, str]:
            folder = tmp_path_factory.mktemp("engine")
            model = str(model_store.resolve("", Path(Settings().cache_dir)))
            log = str(folder / "log")
            launch = Launch(model=model, window=2048, parallel=2, threads=1, key="k", log=log, speculate=speculate)
            process = EngineProcess(launch, lambda sentence: None)
            stack.callback(process.stop)
            return f"http://127.0.0.1:{process.start()}", "k"

        yield address


@pytest.fixture(params=NAMES)
async def engine(
    request: pytest.FixtureRequest, embedded: Any, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Engine]:
    """Each engine in turn."""
    async with case(request.param, embedded, vocabulary.write(tmp_path_factory.mktemp("tokenizer"))) as found:
        yield found.engine


async def sampled(engine: Engine, text: str = PROMPT, seed: int | None = None, **fields: Any) -> list[Piece]:
    prompt = await engine.tokenise([text])
    job = Job(prompt=prompt, text=text, max_tokens=12, sampling=Sampling(temperature=0.0, seed=seed), **fields)
    return [piece for read in [read async for read in engine.generate(job)] if isinstance(read, list) for piece in read]


@pytest.mark.parametrize("seed", [None, 1])
async def test_each_token_has_its_probability(engine: Engine, seed: int | None) -> None:
    """Every id comes with a number that is a logarithm of a probability; the likeliest come first, and greedy sampling
    takes the very first."""
    described = await engine.describe()
    assert described.alternatives is not None
    alternatives = min(described.alternatives, 2)
    found = [piece for piece in await sampled(engine, seed=seed, alternatives=alternatives) if piece.ids]
    assert found
    for piece in found:
        assert [token.id for token in piece.tokens] == list(piece.ids)
        for token in piece.tokens:
            assert token.sampled
            assert token.logprob is not None
            assert math.isfinite(token.logprob)
            assert token.logprob <= 0
            assert len(token.top) >= alternatives
            assert list(token.top) == sorted(token.top, key=lambda each: -each[1])
            assert not token.top or math.isclose(token.top[0][1], token.logprob, abs_tol=1e-4)


async def test_nothing_is_told_unasked(engine: Engine) -> None:
    """Who does not ask pays for nothing, and samples the same."""
    plain, told = await sampled(engine), await sampled(engine, alternatives=0)
    assert not any(piece.tokens for piece in plain)
    assert [id for piece in plain for id in piece.ids] == [id for piece in told for id in piece.ids]


@pytest.mark.skipif(bool(REAL), reason="is of the embedded engine")
async def test_guessing_ahead_has_none(embedded: Any) -> None:
    """llama.cpp tells no probabilities of tokens that it guessed, and where it guesses that is known beforehand."""
    url, key = embedded("ngram")
    engine = connect(f"llama.cpp+{url}", Reach(key=key))
    try:
        assert (await engine.describe()).alternatives is None
    finally:
        await engine.close()


async def test_ids_are_below_the_vocabulary(engine: Engine) -> None:
    """Where an engine says how many ids there are, a prompt's are among them."""
    described = await engine.describe()
    if described.vocabulary:
        assert max(await engine.tokenise([PROMPT, *described.control_tokens])) < described.vocabulary
