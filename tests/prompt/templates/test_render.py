"""Rendering: every template takes every shape, and what the client said is in the prompt, in order."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from antiphon.api.conversation import Conversation, Text, ThinkingPolicy, Tool, ToolResult, ToolUse, Turn
from antiphon.api.errors import BadRequest
from antiphon.engines.scripted import TEMPLATE
from antiphon.parsing.formats import recognise_format
from antiphon.prompt.templates.lint import problems, shapes
from antiphon.prompt.templates.render import Renderer
from antiphon.prompt.templates.template import Template

# Templates that know no tools, no system role, or only turns that alternate.
SMALL = {
    "chatml": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "no_system": "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
    "scripted": TEMPLATE,
}
FOLDER = Path(__file__).parents[2] / "templates"
TEMPLATES = SMALL | {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.jinja"))}


def renderer(name: str) -> Renderer:
    source = TEMPLATES[name]
    format = recognise_format(source)
    template = Template(source, bos_token="<s>", eos_token="</s>")
    return Renderer(template, call_id=format.call_id if format else None)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_takes_every_shape(name: str) -> None:
    """No shape that clients send is refused by a template."""
    assert problems(renderer(name)) == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_nothing_is_lost(name: str) -> None:
    """Texts, calls and results of every turn are in the prompt, in the order they were said; errors can be told."""
    at = renderer(name)
    call = ToolUse(id="toolu_1", name="look_up", input='{"word": "one-argument"}')
    turns = (
        Turn(role="user", parts=(Text("one-question"),)),
        Turn(role="assistant", parts=(Text("one-saying"), call)),
        Turn(role="user", parts=(ToolResult(tool_use_id="toolu_1", parts=(Text("one-answer"),), is_error=True),)),
        Turn(role="assistant", parts=(Text("two-saying"),)),
        Turn(role="user", parts=(Text("two-question"),)),
    )
    schema = {"type": "object", "properties": {"word": {"type": "string"}}}
    tools = (Tool(name="look_up", description="tool-description", schema=schema),)
    prompt = at.prompt(Conversation(system="one-system", turns=turns, tools=tools), ThinkingPolicy())
    for word in ("one-system", "tool-description", "look_up", "one-argument"):
        assert word in prompt
    places = [prompt.index(word) for word in ("one-question", "one-answer", "two-saying", "two-question")]
    assert places == sorted(places)
    assert "Error" in prompt[prompt.index("one-question") : prompt.index("two-question")]


def test_parallel_calls_one_by_one() -> None:
    """A template that takes one call a message gets parallel calls one after the other, each with its result."""
    source = (
        "{% for m in messages %}{% if m.tool_calls and m.tool_calls | length > 1 %}"
        "{{ raise_exception('one') }}{% endif %}"
        "[{{ m.role }}:{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}]"
        "{% endfor %}{{ tools | tojson if tools else '' }}"
    )
    turns = (
        Turn(role="user", parts=(Text("q"),)),
        Turn(
            role="assistant",
            parts=(Text("s"), *(ToolUse(id=f"t{n}", name="f", input=f'{{"n": {n}}}') for n in range(3))),
        ),
        Turn(role="user", parts=tuple(ToolResult(tool_use_id=f"t{n}", parts=(Text(f"r{n}"),)) for n in range(3))),
    )
    prompt = Renderer(Template(source)).prompt(Conversation(turns=turns), ThinkingPolicy())
    assert prompt == (
        '[user:q][assistant:s{"n": 0}][tool:r0][assistant:{"n": 1}][tool:r1][assistant:{"n": 2}][tool:r2]'
    )


def test_broken_templates_are_found_at_load() -> None:
    """A template that is none, or renders nothing, is refused when it is loaded."""
    for source in ("{% for %}", "{{ raise_exception('never') }}", "{{ messages[5].content.x }}"):
        with pytest.raises(ValueError, match="chat template"):
            Template(source)


def test_a_template_that_takes_tools_for_granted() -> None:
    """Is served without tools, too: it goes through an empty list of them."""
    source = "{% for tool in tools %}<{{ tool.function.name }}>{% endfor %}{{ messages[0].content }}"
    template = Template(source)
    assert template.takes_tools
    assert template.render([{"role": "user", "content": "Hi"}]) == "Hi"


def test_a_template_that_takes_tools_as_text() -> None:
    """As Firefunction's does, under names of its own and with the day; it too is served with tools and without."""
    source = "{{ functions + '|' + datetime + '|' }}{% for message in messages %}{{ message.content }}{% endfor %}"
    template = Template(source)
    assert template.takes_tools
    functions, day, text = template.render([{"role": "user", "content": "Hi"}]).split("|")
    assert (functions, text) == ("", "Hi")
    assert str(datetime.now().year) in day


def test_templates_run_in_a_sandbox() -> None:
    """A template reaches nothing of the program."""
    source = "{{ messages[0].content }}{{ ''.__class__.__mro__ if messages | length > 1 else '' }}"
    with pytest.raises(BadRequest):
        Template(source).render([{"role": "user", "content": "x"}] * 2)


def test_shapes_are_many() -> None:
    """The lint knows the shapes that break templates in the wild."""
    names = " ".join(name for name, _ in shapes())
    for word in ("system", "parallel", "empty", "thinking", "tools"):
        assert word in names
