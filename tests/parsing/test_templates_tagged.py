"""The families that write parameters in tags: told from their templates, and what a template writes is read again."""

from __future__ import annotations

import json

import pytest

from antiphon.api.conversation import Conversation, Text, ThinkingPolicy, ToolResult, ToolUse, Turn
from antiphon.parsing.formats import format_named, reasoning_named, recognise_format, recognise_reasoning
from antiphon.parsing.outcome import outcome
from antiphon.prompt.templates.render import Renderer
from antiphon.prompt.templates.template import Template
from tests.outputs import content
from tests.parsing.test_templates_json import FOLDER, TOOL

# The template's name, the format, the marking of thinking (empty: none), and whether the plain prompt opens thinking.
EXPECTED = {
    "qwen3_coder": ("qwen3_coder", "think", True),
    "nemotron_3": ("qwen3_coder", "think", True),
    "mimo": ("mimo", "think", False),
    "seed_oss": ("seed_oss", "seed_oss", False),
    "deepseek_v32": ("deepseek_v32", "think", False),
    "deepseek_v4": ("deepseek_v4", "think", False),
    "deepseek_v41": ("deepseek_v41", "think", False),
    "gigachat35": ("gigachat35", "think", False),
    "minimax_m1": ("minimax_m1", "", False),
    "minimax_m2": ("minimax_m2", "think", True),
    "minimax_m3": ("minimax_m3", "minimax_m3", False),
    "step3": ("step3", "", False),
    "muse": ("muse", "muse", False),
    "minicpm5": ("minicpm5", "think", False),
    "glm45": ("glm45", "think", False),
    "glm47": ("glm47", "think", True),
    "ling3": ("glm45", "think", True),
    "laguna": ("glm45", "think", False),
    "hunyuan_v3": ("hunyuan_v3", "hy_v3", False),
    "hy_v4": ("hy_v4", "hy_v3", False),
    "kimi_k3": ("kimi_k3", "kimi_k3", True),
    "dots": ("dots", "think", False),
    "k2_horizon": ("k2_horizon", "k2_horizon", True),
    "iquest_q1": ("iquest_q1", "think", True),
    "solar_open2": ("solar_open2", "solar_open2", True),
    "longcat2": ("longcat2", "longcat", False),
    "gemma4": ("gemma4", "gemma4", False),
    "functiongemma": ("functiongemma", "", False),
}


def _template(name: str) -> Template:
    return Template((FOLDER / f"{name}.jinja").read_text("utf-8"), bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("name", EXPECTED)
def test_a_template_shows_its_format(name):
    """A model's template shows its format, its marking of thinking, and whether its prompt opens it."""
    format, reasoning, opened = EXPECTED[name]
    template = _template(name)
    found, marking = recognise_format(template.source), recognise_reasoning(template.source)
    assert (found.name if found else None) == format
    assert (marking.name if marking else "") == reasoning
    if marking:
        assert marking.opened_by(template.render([{"role": "user", "content": "Hi"}])) == opened


@pytest.mark.parametrize("place", ['Zürich "West"', "\n\n Zürich\n"])
@pytest.mark.parametrize("name", EXPECTED)
def test_a_rendered_call_reads_as_the_call(name, place):
    """A call and its result are rendered natively, and the rendered call reads as the call, to the line breaks at the
    edges of a text."""
    format = format_named(EXPECTED[name][0])
    template = _template(name)
    assert template.takes_tools
    assert template.takes_results
    renderer = Renderer(template)
    assert renderer.native_tools
    called = {"place": place, "days": 3}
    turns = (
        Turn(role="user", parts=(Text("How is it?"),)),
        Turn(role="assistant", parts=(ToolUse(id="toolu_1", name=TOOL.name, input=json.dumps(called)),)),
        Turn(role="user", parts=(ToolResult(tool_use_id="toolu_1", parts=(Text("sunny"),)),)),
    )
    conversation = Conversation(system="Be brief.", turns=turns, tools=(TOOL,))
    rendered = renderer.prompt(conversation, ThinkingPolicy())
    assert "sunny" in rendered
    written = rendered[rendered.index("How is it?") : rendered.index("sunny")]
    begin = min(written.find(opener) for opener in format.openers if opener in written)
    reasoning = reasoning_named(format.reasoning)
    reply = outcome([written[begin:]], format, reasoning, {TOOL.name: TOOL.schema}, new_id=lambda: "toolu_1")
    assert content(reply)[0] == {"type": "tool_use", "name": TOOL.name, "input": called}
