"""Prompts taken apart: the parts are the whole, whatever the template and the conversation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.api.conversation import Conversation, GenerationParams, Text, Thinking, ToolResult, ToolUse, Turn
from antiphon.prompt.fence import Fence
from antiphon.prompt.inspection import Inspection, token_texts
from antiphon.prompt.stretches import Stretch, aligned
from tests.serving.served import said, served, tool

GEMMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
COMPARING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content[0] == 'H' %}!{% endif %}{{ m.content }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


async def inspected(conversation: Conversation, **script: Any) -> Inspection:
    service, _ = await served(**script)
    found = await service.inspect("claude", conversation, GenerationParams())
    assert "".join(found.tokens) == found.text == "".join(span.text for span in found.spans)
    return found


def texts(found: Inspection) -> list[tuple[str, str]]:
    return [(span.role, span.text) for span in found.spans if span.kind == "text"]


async def test_a_template_that_trims() -> None:
    """The client's text is found without the white space around it."""
    control = ("<start_of_turn>", "<end_of_turn>")
    found = await inspected(said("  Hi \n", "Yes.", "Good"), template=GEMMA, control_tokens=control)
    assert texts(found) == [("user", "Hi"), ("assistant", "Yes."), ("user", "Good")]
    heads = [(span.role, span.text) for span in found.spans if span.text in ("user\n", "model\n")]
    assert heads == [("user", "user\n"), ("assistant", "model\n"), ("user", "user\n"), ("assistant", "model\n")]


async def test_a_template_that_compares() -> None:
    """Where marks would change what the template writes, the texts are found by looking for them."""
    found = await inspected(said("Hi", "Yes", "Hello"), template=COMPARING)
    assert texts(found) == [("user", "Hi"), ("assistant", "Yes"), ("user", "Hello")]


async def test_tools_and_thinking() -> None:
    """Results belong to tools, thinking and calls to the assistant."""
    turns = (
        Turn(role="user", parts=(Text("Go"),)),
        Turn(role="assistant", parts=(Thinking("Hm"), ToolUse(id="toolu_1", name="look", input='{"a": 1}'))),
        Turn(role="user", parts=(ToolResult(tool_use_id="toolu_1", parts=(Text("42"),)), Text("So?"))),
    )
    found = await inspected(Conversation(system="Sys", turns=turns, tools=(tool(),)))
    assert texts(found) == [("system", "Sys"), ("user", "Go"), ("assistant", "Hm"), ("tool", "42"), ("user", "So?")]
    assert any(span.role == "assistant" and '"look"' in span.text for span in found.spans)


@given(st.text(), st.lists(st.integers(1, 3), max_size=30))
def test_characters_cut_between_tokens(text: str, sizes: list[int]) -> None:
    """The texts of tokens join to the whole text, wherever tokens cut its bytes."""
    data, pieces = text.encode(), []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    pieces.append(data)
    assert "".join(token_texts(pieces)) == text


@given(
    st.lists(st.tuples(st.sampled_from(["template", "text"]), st.text("ab \n<", max_size=6)), max_size=8),
    st.text("ab \n<", max_size=30),
)
def test_alignment_keeps_the_text(found: list[Any], other: str) -> None:
    """However little a text has in common with the stretches, what comes out joins to it."""
    stretches = [Stretch(kind, "user", text) for kind, text in found]
    assert "".join(stretch.text for stretch in aligned(stretches, other)) == other
    whole = "".join(text for _, text in found)
    assert aligned(stretches, whole) == stretches


@pytest.mark.parametrize("exact", [True, False])
@given(text=st.lists(st.sampled_from(["<|a|>", "<|b", "|>", "x", " ", "é"]), max_size=12).map("".join))
def test_guarded_text_is_found_spelled(exact: bool, text: str) -> None:
    """What the fence breaks up is found again, and nothing else, whether it cuts or joins."""
    fence = Fence(("<|a|>", "<|b|>"), exact)
    guarded, cut = fence.guard(said(text))
    part = guarded.turns[0].parts[0]
    assert isinstance(part, Text)
    shown = part.text.replace(cut, "") if cut else part.text
    found = [shown[begin:end].replace("\u2060", "") for begin, end in fence.spelled(shown)]
    assert found == [text[begin:end] for begin, end in fence.spelled(text)]


def test_what_was_remembered_belongs_to_its_turn() -> None:
    """Text that only the prompt has is told as remembered, of the turn that it stands in."""
    found = [
        Stretch("template", "assistant", 'call {"a": "Z\\u00fc"}</end>'),
        Stretch("template", "tool", "<user>"),
        Stretch("text", "tool", "42"),
    ]
    told = aligned(found, 'call {"a": "Zü"}</end><user>42')
    assert told == [
        Stretch("template", "assistant", 'call {"a": "Z'),
        Stretch("remembered", "assistant", "ü"),
        Stretch("template", "assistant", '"}</end>'),
        Stretch("template", "tool", "<user>"),
        Stretch("text", "tool", "42"),
    ]
