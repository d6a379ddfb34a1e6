"""A mark of thinking in the midst of a reply: sampled as its token it is one, written out in letters it is text."""

from __future__ import annotations

import random

import pytest

from antiphon.api.events import Finished, Usage
from antiphon.api.reply import Fold, TextBlock, ThinkingBlock
from antiphon.parsing.arguments import Signature
from antiphon.parsing.formats import format_named, reasoning_named
from antiphon.parsing.parser import Parser

TOKEN, ORDINARY = 7, 1000


def _blocks(pieces, *, format="hermes", reasoning="think", mark="<think>", tools=()):
    """What pieces amount to: texts of ordinary tokens, and `None` for the token of the mark."""
    parser = Parser(
        format_named(format),
        reasoning_named(reasoning),
        {name: Signature({}) for name in tools},
        new_id=lambda: "t",
        thinking_tokens={TOKEN: mark},
    )
    fold = Fold()
    for piece in pieces:
        events = parser.feed(mark, (TOKEN,)) if piece is None else parser.feed(piece, (ORDINARY,))
        for event in events:
            fold.add(event)
    for event in [*parser.finish(), Finished("end_turn", Usage(prompt=0))]:
        fold.add(event)
    return fold.reply().blocks


AGAIN = (TextBlock("Wait."), ThinkingBlock("Is it?"), TextBlock("It is."))


def test_token_in_the_midst_of_text():
    """Thinking begins where the token stands, and ends at the closing mark."""
    assert _blocks(["Wait. ", None, "\nIs it?\n</think>\n\nIt is."]) == AGAIN


def test_letters_in_the_midst_of_text():
    """The same letters are text, in one piece or several."""
    for pieces in (["Write <think> first."], ["Write <", "think", "> first."], list("Write <think> first.")):
        assert _blocks(pieces) == (TextBlock("Write <think> first."),)


def test_both_in_one_reply():
    """Each is what it is, however the text around it is cut."""
    text, thought = "Tags like <think> open it. ", "A <think> in it. </think>Done <think>."
    expected = (TextBlock(text.strip()), ThinkingBlock("A <think> in it."), TextBlock("Done <think>."))
    source = random.Random(0)
    for _ in range(50):
        at, to = source.randrange(len(text)), source.randrange(len(thought))
        assert _blocks([text[:at], text[at:], None, thought[:to], thought[to:]]) == expected


def test_several_in_one_piece():
    """Where one piece holds several tokens, their ids say how many of the marks in it are tokens."""
    parser = Parser(
        format_named("hermes"), reasoning_named("think"), {}, new_id=lambda: "t", thinking_tokens={TOKEN: "<think>"}
    )
    events = parser.feed("Wait. <think>Is it?</think>It is. <think>", (1, TOKEN, 2, 3, 4)) + parser.finish()
    fold = Fold()
    for event in [*events, Finished("end_turn", Usage(prompt=0))]:
        fold.add(event)
    assert fold.reply().blocks == (*AGAIN[:2], TextBlock("It is. <think>"))


@pytest.mark.parametrize(("letters", "blocks"), [(True, 1), (False, 3)])
def test_marks_that_are_control_tokens(letters, blocks):
    """Where a family's marks open thinking anywhere, letters do not, once tokens are told."""
    mark = "<|channel>"
    pieces = ["Wait. ", mark if letters else None, "thought\nIs it?<channel|>It is."]
    assert len(_blocks(pieces, format="gemma4", reasoning="gemma4", mark=mark)) == blocks


def test_token_in_a_call():
    """Inside a call it is a part of its text."""
    raw = '<tool_call>{"name": "f", "arguments": {"x": "'
    blocks = _blocks([raw, None, '"}}</tool_call>'], tools=("f",))
    assert [block.input for block in blocks] == ['{"x": "<think>"}']
