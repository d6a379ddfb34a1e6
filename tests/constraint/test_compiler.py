"""Grammars are compiled as the embedded engine compiles them, which would drop one that it cannot without a word."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.constraint import Json, Literal, Marker, Sequence, compiler, lark
from antiphon.constraint.schema import lower

from .matching import Grammar
from .test_lowering import CASES

NEWER = 'start: %json {"type": "string", "format": "uri"}'
"""What the package's build compiles, and that of the embedded engine does not."""
LETTERS = 20


def test_the_engines_own_build_is_asked() -> None:
    """The library of the embedded engine is found; what only a newer build compiles is a problem."""
    assert compiler.embedded() is not None
    assert compiler.packaged("lark", NEWER) == ""
    assert "uri" in compiler.problem("lark", NEWER)


def test_without_the_library_the_package_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where llama.cpp is not installed, or is another one, grammars are still compiled."""
    monkeypatch.setattr(compiler, "embedded", lambda: None)
    assert compiler.problem("lark", NEWER) == ""
    assert compiler.problem("lark", "start: missing")


def test_control_tokens_of_any_vocabulary_compile() -> None:
    """An id beyond the vocabulary that is asked stands for a control token all the same."""
    node = Sequence((Marker("<|call|>"), Literal("a"), Marker("<|end|>")))
    assert lark.problem(lark.lower(node, {"<|call|>": 151_657, "<|end|>": 7}.get)) == ""


@pytest.mark.parametrize("name", CASES)
def test_no_keyword_costs_the_whole_grammar(name: str) -> None:
    """Whatever is left out of a schema, the rest of it compiles in both builds, and what is written by the engine's is
    a beginning of what the package's takes."""
    lowered = lower(CASES[name][0], "llguidance", closing=False)
    assert not any(each.keyword == "*" for each in lowered.unheld)
    grammar = lark.lower(Json(lowered.schema), lambda text: None)
    assert (compiler.problem("lark", grammar), compiler.packaged("lark", grammar)) == ("", "")
    assert Grammar(CASES[name][0]).begins(_written(grammar, random.Random(name)))


def _written(grammar: str, source: random.Random) -> str:
    """Some text of the engine's build."""
    library, written = compiler.embedded(), b""
    assert library is not None
    for _ in range(LETTERS):
        problem, allowed = library.step("lark", grammar, written)
        assert not problem
        letters = [byte for byte in allowed if 31 < byte < 127 and chr(byte) != "\\"]
        if not letters:
            break
        # What ends a value is drawn more often, or hardly any would end.
        ends = [byte for byte in letters if byte in b'"}]' or len(letters) < 8]
        written += bytes([source.choice(ends if ends and source.random() < 0.5 else letters)])
    return written.decode()


TEXTS = st.text(st.sampled_from('ab \n\t"\\/é😀\x00'), max_size=80)


@given(st.lists(TEXTS, min_size=1, max_size=3, unique=True), TEXTS)
def test_no_letter_of_a_listed_text_is_lost(texts: list[str], name: str) -> None:
    """Each text that a schema lists, alone or within a value, can be written to its end in the engine's build, and so
    can a member's name, whatever JSON escapes in them."""
    within = {"enum": [[text, {"b": text}] for text in texts]}
    schema = {"type": "object", "properties": {name: {"enum": texts}, f"{name}.": within}, "required": [name]}
    grammar = lark.lower(Json(lower(schema, "llguidance").schema), lambda text: None)
    for text in texts:
        assert not _problem_in(grammar, json.dumps({name: text, f"{name}.": [text, {"b": text}]}, ensure_ascii=False))


@pytest.mark.parametrize("kind", ["integer", "number"])
@pytest.mark.parametrize(
    ("bounds", "right", "wrong"),
    [
        ({}, "-64 -16 0 16 4096", "-63 -0 8 1"),
        ({"minimum": -2032, "maximum": 2031}, "-2032 -64 0 2016", "-2048 -8 2032"),
        ({"maximum": -30}, "-32 -1600", "-16 0 16"),
        ({"minimum": -100}, "-96 0 1600", "-112 -10"),
    ],
)
def test_steps_lead_below_zero(kind: str, bounds: dict[str, int], right: str, wrong: str) -> None:
    """A number in steps may be negative in the engine's build, within its bounds, and no other number is taken."""
    schema = {"type": "object", "properties": {"a": {"type": kind, "multipleOf": 16, **bounds}}, "required": ["a"]}
    grammar = lark.lower(Json(lower(schema, "llguidance").schema), lambda text: None)
    assert not any(_problem_in(grammar, f'{{"a": {number}}}') for number in right.split())
    assert all(_problem_in(grammar, f'{{"a": {number}}}') for number in wrong.split())


def _problem_in(grammar: str, written: str) -> str:
    """Why a text cannot be written in the engine's build; empty where it can."""
    library = compiler.embedded()
    assert library is not None
    return library.step("lark", grammar, written.encode())[0]


def test_what_a_token_cannot_afford_is_left_out() -> None:
    """An expression and a length whose product is worked out anew at each token, for more than the engine grants it,
    are not both in the grammar: the engine would let go of it in the middle of a reply."""
    words = {"type": "string", "pattern": r"^(?:\S+\s+){0,49}\S+$"}
    assert not lower(words, "llguidance").unheld
    lowered = lower({**words, "minLength": 1, "maxLength": 500}, "llguidance")
    assert lowered.schema == words
    assert [each.keyword for each in lowered.unheld] == ["minLength"]
