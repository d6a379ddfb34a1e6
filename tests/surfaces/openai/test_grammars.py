"""Grammars of custom tools: what Lark and the expressions made of it take is the same."""

from __future__ import annotations

import re
from typing import Any

import pytest
from lark import Lark
from lark.exceptions import LarkError

from antiphon.api.errors import BadRequest
from antiphon.surfaces.openai.grammars import expression

# The shape of a patch, as agents declare it: lines in a fixed order.
PATCH = r"""
start: begin change+ end
begin: "*** Begin" LF
end: "*** End" LF?
change: add | delete
add: "*** Add: " /(.+)/ LF line+
line: "+" /(.+)/? LF -> added
delete: "*** Delete: " /(.+)/ LF

%import common.LF
"""
SUM = """
start: term ("+" term)*
?term: NUMBER | "-" NUMBER | [SIGN] "x"i
SIGN: "a".."c" ~ 1..2
%import common (INT, WS)
%import common.NUMBER -> NUMBER
%ignore WS
"""
TEXTS = {
    PATCH: [
        "*** Begin\n*** Delete: a\n*** End\n",
        "*** Begin\n*** Add: a/b.py\n+one\n+\n*** Delete: c\n*** End",
        "*** Begin\n*** End",
        "*** Begin\n*** Add: a\n*** End",
        "*** begin\n*** Delete: a\n*** End",
        "",
    ],
    SUM: ["1", "1+2", "1 + -2.5\t+ X", "ab x", "abc x", "1 +", "+", "1 2", "x"],
}
CASES = [(grammar, text) for grammar, texts in TEXTS.items() for text in texts]


@pytest.mark.parametrize(("grammar", "text"), CASES)
def test_the_same_texts_match(grammar: str, text: str) -> None:
    """Lark itself is the judge."""
    pattern = expression("lark", grammar, "tools.0.format")
    assert pattern is not None
    try:
        Lark(grammar, lexer="dynamic_complete").parse(text)
        fine = True
    except LarkError:
        fine = False
    assert bool(re.search(pattern, text)) == fine


def test_an_expression_holds_the_whole_text() -> None:
    """From its beginning to its end, alternatives too."""
    pattern = expression("regex", "a|bc", "tools.0.format")
    assert pattern is not None
    assert [bool(re.search(pattern, text)) for text in ("a", "bc", "xa", "bcx")] == [True, True, False, False]


DOUBLING = "".join(f"r{n}: r{n + 1} r{n + 1}\n" for n in range(16))


@pytest.mark.parametrize(
    "grammar", ['start: "(" start ")" | "x"', "start: a\na: b\nb: a?", f'start: r0\n{DOUBLING}r16: "x"']
)
def test_what_no_expression_says(grammar: str) -> None:
    """Grammars that lead back to themselves, or would become too long, are told apart: the text is free."""
    assert expression("lark", grammar, "tools.0.format") is None


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (("lark", 'start "x"'), "definition: this is not a Lark grammar"),
        (("lark", "start: other"), "the rule `other` is not there"),
        (("lark", "%import elsewhere.THING\nstart: THING"), "there is nothing to import from `elsewhere`"),
        (("lark", f"%import {'a' * 5000}.THING\nstart: THING"), "there is nothing to import from `aaa"),
        (("lark", "%declare A\nstart: A"), "`%declare` is not supported here"),
        (("ebnf", "x"), "syntax: Input should be 'lark' or 'regex'"),
        (("regex", None), "definition: Field required"),
    ],
)
def test_what_is_no_grammar(given: Any, complaint: str) -> None:
    """Is refused, by its path."""
    with pytest.raises(BadRequest, match=re.escape(complaint)) as refusal:
        expression(*given, "tools.0.format")
    assert refusal.value.message.startswith("tools.0.format.")
