"""Small chat templates with the families' real markers: the right records are found from the template's text alone, and
what a template renders for a call, the record's reader reads as that call."""

from __future__ import annotations

from itertools import count, takewhile
from pathlib import Path

import llguidance
import pytest

from antiphon.api.conversation import Conversation, Text, ThinkingPolicy, Tool, ToolResult, ToolUse, Turn
from antiphon.api.reply import ToolBlock, parsed_input
from antiphon.constraint import lark
from antiphon.parsing.formats import format_named, reasoning_named, recognise_format, recognise_reasoning
from antiphon.parsing.outcome import outcome
from antiphon.prompt.templates.render import Renderer
from antiphon.prompt.templates.template import Template

FOLDER = Path(__file__).parent.parent / "templates"
# The template's name, the format, and the marking of thinking (empty: the format's own default).
EXPECTED = {
    "mistral_old": ("mistral", ""),
    "mistral": ("mistral", "mistral"),
    "mistral_small_3_2": ("mistral", ""),
    "llama3_json": ("llama3_json", ""),
    "pythonic": ("pythonic", ""),
    "gpt-oss": ("gpt-oss", "gpt-oss"),
    "deepseek_v3": ("deepseek_v3", "think"),
    "deepseek_v31": ("deepseek_v31", "think"),
    "kimi_k2": ("kimi_k2", "think"),
    "lfm2": ("lfm2", ""),
    "olmo3": ("olmo3", ""),
    "granite": ("granite", "granite"),
    "granite_3_3": ("granite", "granite3.3"),
    "granite-20b-fc": ("granite-20b-fc", ""),
    "phi4_mini": ("phi4_mini", ""),
    "firefunction": ("phi4_mini", ""),
    "internlm2": ("internlm2", ""),
    "nemotron_v2": ("nemotron_v2", "think"),
    "hunyuan_a13b": ("hunyuan_a13b", "hunyuan_a13b"),
    "cohere_command3": ("cohere_command3", "cohere_command3"),
    "cohere_command4": ("cohere_command3", "cohere_command3"),
    "jamba": ("jamba", ""),
    "apriel": ("apriel", "apriel"),
    "longcat": ("longcat", ""),
    "gigachat3": ("gigachat3", ""),
    "apertus": ("apertus", "apertus"),
    "solar_open": ("solar_open", "solar_open"),
    "functionary_v3_1": ("functionary_v3_1", ""),
    "functionary_v3_2": ("functionary_v3_2", ""),
    "ernie45": ("hermes", "ernie45"),
    "command_r": ("command_r", ""),
    "plamo3": ("plamo3", "plamo3"),
    "inkling": ("inkling", "inkling"),
    "beam": ("beam", "gpt-oss"),
}
TOOL = Tool(
    name="get_weather",
    description="the weather",
    schema={"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}}},
)
# Templates whose history differs from what their models write.
GRAMMAR_DIFFERS = {
    "mistral_old": "an id after the arguments",
    "apriel": "an id after the arguments",
    "gpt-oss": "the address before the channel",
    "functionary_v3_2": "the marker that the prompt ends with",
    "gigachat3": "the role without the separator before it",
}
INPUT = '{"place": "Zürich \\"West\\"", "days": 3}'


def _source(name: str) -> str:
    return (FOLDER / f"{name}.jinja").read_text("utf-8")


@pytest.mark.parametrize("name", EXPECTED)
def test_a_template_shows_its_format(name):
    """Format and marking of thinking are told from the template alone."""
    format, reasoning = EXPECTED[name]
    found = recognise_format(_source(name))
    assert found is not None
    assert found.name == format
    marking = recognise_reasoning(_source(name))
    assert (marking.names if marking else ("",))[0] == (reasoning_named(reasoning).name if reasoning else "")


def _rendered_call(name: str) -> str:
    """What the template writes for a call and all that follows it."""
    template = Template(_source(name), bos_token="<s>", eos_token="</s>")
    renderer = Renderer(template, call_id=format_named(EXPECTED[name][0]).call_id)
    assert renderer.native_tools
    asked = Turn(role="user", parts=(Text("How is it?"),))
    called = Turn(role="assistant", parts=(ToolUse(id="toolu_1", name=TOOL.name, input=INPUT),))
    answered = Turn(role="user", parts=(ToolResult(tool_use_id="toolu_1", parts=(Text("sunny"),)),))
    prompt, history = (
        renderer.prompt(Conversation(system="Be brief.", turns=turns, tools=(TOOL,)), ThinkingPolicy())
        for turns in ((asked,), (asked, called, answered))
    )
    assert "sunny" in history
    # Where the prompt opens or closes thinking, the history goes on otherwise.
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(prompt, history, strict=False)))
    return history[: history.index("sunny")][shared - prompt[:shared].endswith("<") :]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_rendered_call_reads_as_the_call(name):
    """A conversation with a call and its result is rendered natively, and the rendered call reads as the call."""
    format = format_named(EXPECTED[name][0])
    numbers = count()
    reply = outcome(
        [_rendered_call(name)],
        format,
        reasoning_named(format.reasoning),
        {TOOL.name: TOOL.schema},
        new_id=lambda: str(next(numbers)),
    )
    calls = [block for block in reply.blocks if isinstance(block, ToolBlock)]
    assert [(call.name, parsed_input(call)) for call in calls] == [(TOOL.name, {"place": 'Zürich "West"', "days": 3})]


@pytest.mark.parametrize("name", [name for name in EXPECTED if name not in GRAMMAR_DIFFERS])
def test_grammar_writes_as_the_template(name):
    """A forced call looks as the template would write it in the history."""
    grammar = format_named(EXPECTED[name][0]).grammar
    assert grammar is not None
    lowered = lark.lower(grammar([(TOOL.name, TOOL.schema)], 1), lambda text: None)
    matcher = llguidance.LLMatcher(
        llguidance.LLTokenizer("byte"), llguidance.grammar_from("lark", lowered.removeprefix("%llguidance {}"))
    )
    written = _rendered_call(name).encode()
    begin = next(at for at in range(len(written)) if matcher.validate_tokens(list(written[at:])) > 12)
    for byte in written[begin:]:
        if matcher.is_accepting() or not matcher.consume_token(byte):
            break
    assert matcher.is_accepting(), written[begin:]
