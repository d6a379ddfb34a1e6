"""Long texts are cut for the tokenizer where it cuts them itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from antiphon.engines.llama_server.blocks import blocks

MOST = 50
SEGMENTS = st.lists(st.text("ab \n.é", max_size=200), max_size=8)


@given(SEGMENTS)
def test_nothing_is_lost_and_no_block_is_too_long(segments: list[str]) -> None:
    """Joined, the blocks are the segments; none has more than allowed."""
    found = list(blocks(segments, most=MOST))
    assert "".join(part for block in found for part in block) == "".join(segments)
    assert all(sum(map(len, block)) <= MOST for block in found)


@given(SEGMENTS)
def test_what_fits_is_not_cut(segments: list[str]) -> None:
    """A segment within the bound stays whole, and all do that must not be cut."""
    parts = [part for block in blocks(segments, most=MOST) for part in block]
    assert all(segment in parts for segment in segments if len(segment) <= MOST)
    assert [part for block in blocks(segments, most=MOST, within=False) for part in block] == segments


@given(st.text("ab \n.é", min_size=MOST + 1, max_size=300), st.text("ab \n.é", max_size=100))
def test_more_text_moves_no_cut(text: str, more: str) -> None:
    """What a conversation began with is cut in the same places when it goes on."""
    before = [part for block in blocks([text], most=MOST) for part in block]
    after = [part for block in blocks([text + more], most=MOST) for part in block]
    assert after[: len(before) - 1] == before[:-1]


def test_cuts_are_between_words() -> None:
    """A word stays with the space before it, as in the vocabulary."""
    assert [part for block in blocks(["the sea is wide and calm"], most=10) for part in block] == [
        "the sea",
        " is wide",
        " and calm",
    ]
