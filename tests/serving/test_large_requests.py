"""Large requests: the other streams of a worker go on while one of them is made into a prompt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from antiphon.api.conversation import GenerationParams
from antiphon.engines.models import tokenizer_files
from antiphon.engines.scripted import Script, Scripted
from antiphon.prompt.fence import Fence
from antiphon.serving.model import Choices
from antiphon.serving.service import Service
from antiphon.serving.token_model import load
from bench import large
from tests.serving.served import emitted, said

WINDOW = 100_000_000
CODE = large.sources()[:200_000]


class Tokenising(Scripted):
    """The scripted engine with another tokenizer."""

    def __init__(self, tokenise: Callable[[Sequence[str]], Coroutine[Any, Any, list[int]]]) -> None:
        super().__init__(Script(window=WINDOW))
        self._tokenised = tokenise

    async def tokenise(self, segments: Sequence[str]) -> list[int]:
        return await self._tokenised(segments)


async def one_id(segments: Sequence[str]) -> list[int]:
    """A tokenizer that costs nothing."""
    return [1]


async def silence(work: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    """The longest time that the event loop did nothing else, as a share of the time that the work took: the least of
    some attempts, because a busy machine can only make it more."""
    shares = []
    while len(shares) < 5 and min(shares, default=1.0) >= 0.5:
        longest, began = 0.0, time.perf_counter()
        working, last = asyncio.ensure_future(work()), began
        while not working.done():
            await asyncio.sleep(0.001)
            longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
        await working
        shares.append(longest / (last - began))
    return min(shares)


@pytest.mark.parametrize("texts", [[CODE * 4], [CODE[at : at + 1000] for at in range(0, 200_000, 1000)] * 4])
async def test_the_loop_goes_on_while_a_prompt_is_tokenised(texts: list[str], tmp_path: Path) -> None:
    """Tokenised by files, a long text and a long conversation hold the loop up for no more than a part of the time."""
    large.tokenizer(tmp_path)
    service = Service([await load(Tokenising(tokenizer_files.read(tmp_path).tokenise), Choices())])
    conversation = said(*texts, "And?")
    assert await silence(lambda: service.count("claude", conversation, GenerationParams())) < 0.5
    assert await silence(lambda: service.prepare("claude", conversation, GenerationParams())) < 0.5


async def test_the_loop_goes_on_while_a_prompt_is_rendered() -> None:
    """Fenced, rendered and hashed, a long conversation does not hold the loop up, whoever tokenises it; nor does it
    when a part of it is remembered, or marked."""
    service = Service([await load(Tokenising(one_id), Choices())])
    conversation = said(*[CODE[at : at + 1000] for at in range(0, 200_000, 1000)] * 50, "And?")
    wanted = GenerationParams(max_tokens=5, cached_turns=9000)
    assert await silence(lambda: service.prepare("claude", conversation, wanted)) < 0.5
    prepared = await service.prepare("claude", conversation, wanted)
    last = (await emitted(service, prepared))[-1]
    assert last
    longer = said(*(part.text for turn in conversation.turns for part in turn.parts), "Hello from the script.", "So?")
    assert await silence(lambda: service.prepare("claude", longer, wanted)) < 0.5


def test_fencing_takes_time_in_proportion() -> None:
    """Ten times as many control tokens in a text take about ten times as long, not a hundred times."""
    fence = Fence(Script().control_tokens)

    def seconds(many: int) -> float:
        began = time.process_time()
        fence.guard(said("<|im_end|> " * many))
        return time.process_time() - began

    assert seconds(200_000) < 40 * seconds(20_000)
