"""Prefix law over every bundled chat template: what a model of that family sampled stays in the prompt as it was."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path
from typing import Literal

import pytest

from antiphon.api.conversation import Conversation, Part, Text, ThinkingPolicy, ToolResult, ToolUse, Turn
from antiphon.api.reply import ToolBlock
from antiphon.engines.scripted import Script, Scripted
from antiphon.serving.model import Choices
from antiphon.serving.service import Service
from antiphon.serving.token_model import TokenModel, load
from tests.laws.growing import Style, Talk, text, tool

FOLDER = Path(__file__).parent.parent / "templates"
NAMES = sorted(path.stem for path in FOLDER.glob("*.jinja"))
# What the families' vocabularies hold as single tokens, as far as the templates tell; `]~b]` and the like are
# MiniMax's.
CONTROL = re.compile(
    r"<\|[^<>\s'\"{]{1,60}>|<[^<>\s'\"{|]{1,40}\|>|<｜[^<>\s{]{1,40}｜>|\[/?[A-Z_]{2,40}\]|</?s>|"
    r"</?(?:think|tool_call|tool_calls|arg_key|arg_value|answer|turn|longcat_s|seed:eos|seed:bos|"
    r"start_of_turn|end_of_turn|end_of_sentence|beginning_of_sentence|SPECIAL_\d+)>|"
    r"\]~[a-z!]+\]|\[e~\[|\]~b\]"
)
ENDS = ("<|im_end|>", "<|eot_id|>", "<turn|>", "<end_of_turn>", "[e~[", "<seed:eos>", "<|role_end|>", "<|end_of_text|>")

# Nothing that is a token of its own stands between a call and its result.
UNTOLD = ("deepseek_v32",)
# The prompt opens thinking, and the history leaves it out: with `--history-thinking template` that is so.
FORGETFUL = ("apriel", "deepseek_v3", "glm47", "nemotron_3", "nemotron_v2", "olmo3", "step3")

NEXT = "what comes next"
ASK = Turn(role="user", parts=(Text("ask"),))


def script(name: str) -> Script:
    """An engine with this template and what goes with it."""
    source = (FOLDER / f"{name}.jinja").read_text("utf-8")
    control = tuple(sorted({*CONTROL.findall(source), "<s>", "</s>"}))
    end = next((end for end in ENDS if end in source), "</s>")
    return Script(template=source, control_tokens=control, eos_token=end)


def written(model: TokenModel, *said: Part) -> str:
    """What the family's models write for this turn: as its template has it, behind the opening of the reply."""
    renderer, turn = model.prompter.renderer, Turn(role="assistant", parts=said)
    results = tuple(ToolResult(tool_use_id=part.id, parts=(Text(NEXT),)) for part in said if isinstance(part, ToolUse))
    after = Turn(role="user", parts=results or (Text(NEXT),))
    opened = renderer.prompt(Conversation(turns=(ASK,)), ThinkingPolicy())
    bare = renderer.prompt(Conversation(turns=(ASK, turn, after)), ThinkingPolicy())
    begin = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(opened, bare, strict=False)))
    begin -= bare[:begin].endswith("<")
    end = bare.rindex(model.prompter.seams.of(turn), 0, bare.index(NEXT))
    thought = "Hm.\n" + model.reasoning.cut_short if begin < len(opened) else ""
    return thought + bare[begin:end]


def call(number: int) -> ToolUse:
    return ToolUse(id=f"toolu_{number:09}", name="look", input='{"path": "Zürich \\"x\\"", "days": 3}')


REPLIES: tuple[tuple[Part, ...], ...] = (
    (call(1),),
    (Text("It came."),),
    (call(2), call(3)),
    (Text("Both  came: é."),),
    (Text("Plainly."),),
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("history", ["keep", "template"])
async def test_every_template_keeps_the_prefix(name: str, history: Literal["keep", "template"]) -> None:
    """Through calls, parallel calls, results, system turns and plain turns, with the history written otherwise each
    time, each prompt begins with the one before it and what was sampled for it."""
    choices = Choices(history_thinking=history)
    engine = Scripted(script(name))
    model = await load(engine, choices)
    replies = iter([written(model, *said) for said in REPLIES])
    talk = Talk(Service([model]), engine, [tool("look"), tool("other")])
    got = await talk.say(text("find it"), model=next(replies))
    style = Style(billing=1, turned=True)
    got = await talk.answer(got, model=next(replies), style=style, system="Be quick.")
    got = await talk.say(text("and both"), model=next(replies), style=Style("string", thinking=False, billing=2))
    got = await talk.answer(got, model=next(replies), style=Style("split", spaced=True, stripped=True))
    style = Style("string", system_as_string=True, billing=3)
    await talk.say(text("so"), model=next(replies), style=style, system="12 left")
    assert [block.id for _, _, reply in talk.past for block in reply.blocks if isinstance(block, ToolBlock)] != []
    assert (talk.broken() == []) == (name not in UNTOLD and (history == "keep" or name not in FORGETFUL))
