"""The law of late grammars: text that no grammar stands beside changes nothing of a reply, in any format."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import llguidance
import msgspec
import pytest

from antiphon.api.conversation import GenerationParams, Tool
from antiphon.api.events import AnyEvent
from antiphon.api.reply import Reply, fold
from antiphon.constraint import dialects
from antiphon.constraint.plan import Speech, plan
from antiphon.engines import Job, Piece, Prefilled
from antiphon.engines.scripted import Script, Scripted
from antiphon.parsing.arguments import Signature
from antiphon.parsing.formats import reasoning_named, registry
from antiphon.parsing.parser import Parser
from antiphon.serving.token_model.generation import GenerationPlan, GenerationRun

OUTPUTS = Path(__file__).parents[1] / "outputs"
CASES = ("one_call", "parallel", "prose_before", "prose_after", "answer", "thinking_then_call")
# Nothing tells the beginning of a call from text, or text is written as a call too: no grammar holds their calls.
UNHELD = {"beam", "command_r", "functionary_v3_2"}
# Written otherwise than the family's own template would have it: a model that is held writes the other way.
SPACED = {"cohere_command3", "apriel", "pythonic", "lfm2", "olmo3"}
HELD = sorted({name for name, format in registry().items() if format.grammar} - UNHELD)

_KINDS = {
    str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object", type(None): "null"
}  # fmt: skip


class _Steady(Scripted):
    """An engine whose model writes the same reply whatever is asked, from wherever it is asked to go on."""

    def __init__(self, raw: str, size: int) -> None:
        super().__init__(Script())
        self._raw = raw
        self._size = size

    async def generate(self, job: Job) -> AsyncGenerator[Prefilled | list[Piece], None]:
        self.jobs.append(job)
        rest = self._raw.removeprefix(job.text)
        assert job.text + rest == self._raw
        for at in range(0, len(rest), self._size):
            yield [Piece(rest[at : at + self._size], 1)]
        yield [Piece("", 0, (), "stop")]


def _recorded(name: str) -> list[dict[str, Any]]:
    files = (OUTPUTS / name / f"{case}.json" for case in CASES)
    return [msgspec.json.decode(file.read_bytes()) for file in files if file.exists()]


def _schema(recorded: dict[str, Any], tool: dict[str, Any]) -> dict[str, Any]:
    """The tool's schema, with the properties that its call has."""
    calls = (block for block in recorded["content"] if block["type"] == "tool_use" and block["name"] == tool["name"])
    given = next((call["input"] for call in calls), {})
    return {"properties": {key: {"type": _KINDS[type(value)]} for key, value in given.items()}, **tool["input_schema"]}


async def _generated(name: str, recorded: dict[str, Any], size: int, *, late: bool) -> tuple[Reply, _Steady, str]:
    """The reply, what the engine was asked for, and the grammar that holds calls."""
    format = registry()[name]
    reasoning = reasoning_named(recorded.get("reasoning", format.reasoning))
    opened = reasoning.opened_by(recorded.get("prompt_tail", ""))
    tools = tuple(Tool(name=tool["name"], schema=_schema(recorded, tool)) for tool in recorded["tools"])
    speech = Speech(format=format, reasoning=reasoning, starts_thinking=opened)
    demand = plan(tools, GenerationParams(), speech, dialect="llguidance")
    held = dialects.hold("llguidance", demand, lambda text: None)
    engine, numbers = _Steady(recorded["raw"], size), count()
    generation = GenerationPlan(
        job=Job(prompt=[1], max_tokens=100_000, grammar=held.whole),
        prompt_tokens=1,
        parser=partial(
            Parser,
            format,
            reasoning,
            {tool.name: Signature(tool.schema) for tool in tools},
            new_id=lambda: str(next(numbers)),
            starts_thinking=opened,
        ),
        window_bound=False,
        thinking_limit=100_000,
        answer_grammar=held.answer,
        begins=held.begins if late else (),
    )
    told: list[AnyEvent] = []

    async def emit(batch: list[AnyEvent]) -> None:
        told.extend(batch)

    await GenerationRun(generation, engine).run(emit, lambda progress: None)
    return fold(told), engine, held.answer or ""


def _plain(reply: Reply) -> list[Any]:
    """What a reply says, without the ids of its calls."""
    return [msgspec.to_builtins(block) | {"id": ""} for block in reply.blocks] + [reply.reason]


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("name", HELD)
async def test_a_late_grammar_changes_nothing(name: str, size: int) -> None:
    """However a recorded reply comes in pieces, it is the same whether a grammar stands beside all of it or only beside
    what follows the beginning of its first call; without a call, none ever does."""
    for recorded in _recorded(name):
        early, _, _ = await _generated(name, recorded, size, late=False)
        late, engine, _ = await _generated(name, recorded, size, late=True)
        assert _plain(late) == _plain(early)
        assert engine.jobs[0].grammar is None
        assert len(engine.jobs) <= 1 + (late.reason == "tool_use")


@pytest.mark.parametrize("name", sorted(set(HELD) - SPACED))
async def test_a_late_grammar_comes_in_time(name: str) -> None:
    """What remains of a recorded reply when its grammar comes is something that the grammar allows: the call is held
    from its first letter on."""
    for recorded in _recorded(name):
        reply, engine, grammar = await _generated(name, recorded, 1, late=True)
        if reply.reason != "tool_use":
            continue
        rest = recorded["raw"].removeprefix(engine.jobs[1].text).encode()
        lark = llguidance.grammar_from("lark", grammar.removeprefix("%llguidance {}"))
        matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), lark)
        assert matcher.try_consume_tokens(list(rest)) == len(rest), rest
