"""The report on sampled tokens, however many of them the engine's reads bring."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from itertools import count
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from antiphon.api.events import AnyEvent
from antiphon.api.seal import Seal
from antiphon.api.tokens import TokenReport
from antiphon.engines import Job, Piece, Prefilled
from antiphon.engines.scripted import Rule, Script, Scripted
from antiphon.parsing.arguments import Signature
from antiphon.parsing.formats import format_named, reasoning_named
from antiphon.parsing.parser import Parser
from antiphon.serving.token_model.generation import GenerationPlan, GenerationRun
from antiphon.surfaces.messages.encode import Encoder
from antiphon.surfaces.messages.message import Style
from antiphon.surfaces.messages.token_ids import TokenStyle

SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}}
STYLE = Style(id="msg_1", model="m", seal=Seal(b"k"), tokens=TokenStyle(ids=True, logprobs=True, alternatives=0))
CALL = ("<tool_call>", '{"name": "look", ', '"arguments": {"at": "sea"}}', "</tool_call>")
TORN = ("<think>b", "</think>a", "a<tool", "_call>")
WRITTEN = st.sampled_from(["<think>", "</think>", "a", " ", " b", "é", *TORN, *CALL])
RUNS = st.lists(st.one_of(WRITTEN.map(lambda each: [each]), st.just(CALL)), max_size=10)


class Bursting(Scripted):
    """An engine whose reads bring so many pieces, one after another; one piece each after these."""

    def __init__(self, pieces: Sequence[str], sizes: Sequence[int]) -> None:
        super().__init__(Script(rules=(Rule(pieces=tuple(pieces) or ("",)),)))
        self._sizes = sizes

    async def generate(self, job: Job) -> AsyncGenerator[Prefilled | list[Piece], None]:
        """Replay the script."""
        held, sizes = list[Piece](), iter(self._sizes)
        size = next(sizes, 1)
        async for read in super().generate(job):
            if isinstance(read, Prefilled):
                yield read
                continue
            held += read
            if len(held) >= size or held[-1].end != "none":
                yield held
                held, size = [], next(sizes, 1)


async def streamed(engine: Scripted, *, tools: bool, checked: bool) -> list[dict[str, Any]]:
    """The events of the Messages API that come of a reply."""
    signatures = {"look": Signature(SCHEMA)} if tools else {}
    ids = map("toolu_{}".format, count())
    plan = GenerationPlan(
        job=Job(prompt=[1], max_tokens=100, alternatives=0),
        prompt_tokens=1,
        parser=partial(Parser, format_named("hermes"), reasoning_named("think"), signatures, new_id=ids.__next__),
        window_bound=False,
        thinking_limit=100,
        checked={"look": SCHEMA} if checked else {},
        report=TokenReport(logprobs=True),
    )
    encoder, frames = Encoder(STYLE), list[bytes]()

    async def emit(batch: list[AnyEvent]) -> None:
        frames.append(encoder.batch(batch))

    await GenerationRun(plan, engine).run(emit, lambda progress: None)
    return [json.loads(line[6:]) for line in b"".join(frames).splitlines() if line.startswith(b"data: ")]


def steps(events: list[dict[str, Any]]) -> list[tuple[int, str, int]]:
    """After each delta with tokens: its block, what that has said by then, and how many tokens are told by then."""
    said, tokens, found = dict[int, str](), 0, list[tuple[int, str, int]]()
    for event in events:
        if event["type"] == "content_block_delta" and "signature" not in event["delta"]:
            (text,) = (value for name, value in event["delta"].items() if name != "type")
            said[event["index"]] = said.get(event["index"], "") + text
            tokens += len(event.get("output_ids", ()))
            found.append((event["index"], said[event["index"]], tokens))
    return found


@settings(deadline=None)
@example([["<think>a", "</think>b", "c"]], [4], False, False)
@example([["a", "a<tool", "b"]], [2], True, True)
@given(RUNS, st.lists(st.integers(1, 6), max_size=6), st.booleans(), st.booleans())
async def test_however_many_a_read_brings(runs: list[list[str]], sizes: list[int], tools: bool, checked: bool) -> None:
    """What a read with several tokens tells beside a delta is what would be told by then, had they come one by one;
    and all are told."""
    pieces = [piece for run in runs for piece in run]
    one_by_one, burst = Bursting(pieces, ()), Bursting(pieces, sizes)
    expected = await streamed(one_by_one, tools=tools, checked=tools and checked)
    events = await streamed(burst, tools=tools, checked=tools and checked)
    assert set(steps(events)) <= set(steps(expected))
    assert [id for event in events for id in event.get("output_ids", ())] == burst.sampled[-1]
    assert [score for event in events for score in event.get("output_token_logprobs", ())] == [
        [-(id % 1000) / 1000, id] for id in burst.sampled[-1]
    ]
