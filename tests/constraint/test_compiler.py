"""Grammars are compiled as the embedded engine compiles them, which would drop one that it cannot without a word."""

from __future__ import annotations

import pytest

from antiphon.constraint import Json, Literal, Marker, Sequence, compiler, lark
from antiphon.constraint.schema import lower

from .test_lowering import CASES

NEWER = 'start: %json {"type": "string", "format": "uri"}'
"""What the package's build compiles, and that of the embedded engine does not."""


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
    """Whatever is left out of a schema, the rest of it compiles, in the engine's build and in the package's."""
    lowered = lower(CASES[name][0], "llguidance", closing=False)
    assert not any(each.keyword == "*" for each in lowered.unheld)
    grammar = lark.lower(Json(lowered.schema), lambda text: None)
    assert (compiler.problem("lark", grammar), compiler.packaged("lark", grammar)) == ("", "")


def test_what_a_token_cannot_afford_is_left_out() -> None:
    """An expression and a length whose product is worked out anew at each token, for more than the engine grants it,
    are not both in the grammar: the engine would let go of it in the middle of a reply."""
    words = {"type": "string", "pattern": r"^(?:\S+\s+){0,49}\S+$"}
    assert not lower(words, "llguidance").unheld
    lowered = lower({**words, "minLength": 1, "maxLength": 500}, "llguidance")
    assert lowered.schema == words
    assert [each.keyword for each in lowered.unheld] == ["minLength"]
