"""Signatures of thinking: what is ours is checked and restored, what is foreign is let through."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.api.seal import MAGIC, Forged, Seal

SEAL = Seal(b"key")
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


@given(TEXT)
@settings(max_examples=100, deadline=None)
def test_withheld_thinking_comes_back_from_its_signature(text: str) -> None:
    """Also after a restart: another seal with the same key opens it. The signature is base64 and says whose it is."""
    signature = SEAL.sign(text, withheld=True)
    assert signature.startswith(MAGIC)
    base64.b64decode(signature, validate=True)
    assert Seal(b"key").open("", signature) == text
    assert SEAL.open(text, signature) == text


@given(TEXT, TEXT)
@settings(max_examples=100, deadline=None)
def test_shown_thinking_must_not_be_changed(text: str, other: str) -> None:
    """A signature fits its own text only; without the text there is nothing to restore and nothing to refuse."""
    signature = SEAL.sign(text, withheld=False)
    assert SEAL.open(text, signature) == text
    assert SEAL.open("", signature) == ""
    if other not in ("", text):
        with pytest.raises(Forged):
            SEAL.open(other, signature)


@given(TEXT, st.booleans(), st.integers(12, 10_000), st.sampled_from("ABCabc012+/"))
@settings(max_examples=200, deadline=None)
def test_a_tampered_signature_is_noticed(text: str, withheld: bool, at: int, letter: str) -> None:
    """Any letter of what is sealed."""
    signature = SEAL.sign(text, withheld=withheld)
    at = 12 + at % (len(signature) - 16)
    changed = signature[:at] + letter + signature[at + 1 :]
    if changed != signature:
        with pytest.raises(Forged):
            SEAL.open(text, changed)


@pytest.mark.parametrize(
    "signature", ["", "EqQBCgIYAhIM", "Antipho", "x" * 500, Seal(b"other").sign("t", withheld=True)]
)
def test_foreign_signatures_are_accepted(signature: str) -> None:
    """Conversations move between servers (E3); what was sealed elsewhere cannot be judged here."""
    assert SEAL.open("text", signature) == "text"
    assert SEAL.open("", signature) == ""


def test_the_same_thought_has_the_same_signature() -> None:
    """History must not change from one telling to the next."""
    assert SEAL.sign("a", withheld=True) == SEAL.sign("a", withheld=True) != SEAL.sign("b", withheld=True)
    assert SEAL.sign("a", withheld=True) != SEAL.sign("a", withheld=False)


def test_a_key_is_needed() -> None:
    """An empty key would be everybody's."""
    with pytest.raises(ValueError, match="empty"):
        Seal(b"")
