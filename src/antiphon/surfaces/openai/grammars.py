"""What the text for a custom tool must be → one regular expression, which the tool's schema holds it to.

A Lark grammar whose rules do not lead back to themselves says no more than such an expression, however long: the rules
are put in the places where they are named. One that does lead back cannot be held within a JSON string by any engine.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.resources import files

from lark import Lark, Token, Tree
from lark.exceptions import LarkError

from antiphon.api.errors import BadRequest

LONGEST = 20_000
"""Of an expression, in characters. Rules that are named in many places grow fast."""
_SPECIAL = re.compile(r"([.^$*+?()\[\]{}|\\/])")
_LIBRARIES = ("common", "unicode")
_CONTROLS = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\f": r"\f"}

Node = Tree[Token]


class _Unheld(Exception):
    """No expression says what the grammar says."""


def expression(syntax: str | None, definition: str | None, where: str) -> str | None:
    """The expression that the whole text must match; None where there is none. Raises BadRequest for what is no
    grammar."""
    if not definition:
        raise BadRequest(f"{where}.definition: Field required")
    match syntax:
        case "regex":
            return _whole(definition)
        case "lark":
            return _of_lark(definition, where)
        case _:
            raise BadRequest(f"{where}.syntax: Input should be 'lark' or 'regex'")


def _of_lark(definition: str, where: str) -> str | None:
    try:
        regex = _inlined(definition)
    except (LarkError, SyntaxError, ValueError) as trouble:
        raise BadRequest(f"{where}.definition: this is not a Lark grammar: {str(trouble).splitlines()[0]}") from None
    return None if regex is None else _whole(regex)


def _whole(regex: str) -> str:
    """The expression of a whole text."""
    return f"^(?:{regex})$"


@lru_cache(maxsize=256)
def _inlined(definition: str) -> str | None:
    """The expression of a grammar. Agents send the same ones with every request."""
    rules = _Rules(_syntax().parse(definition + "\n"))
    try:
        return rules.named("start")
    except _Unheld:
        return None


@cache
def _syntax() -> Lark:
    return Lark.open_from_package("lark", "lark.lark", ["grammars"], maybe_placeholders=False)


@cache
def _library(name: str) -> _Rules:
    """The terminals that grammars import by `%import common.NAME`."""
    if name not in _LIBRARIES:
        raise ValueError(f"there is nothing to import from `{name[:60]}`")
    text = (files("lark") / "grammars" / f"{name}.lark").read_text("utf-8")
    return _Rules(_syntax().parse(text + "\n"))


class _Rules:
    """The rules of one grammar."""

    def __init__(self, grammar: Node) -> None:
        self._bodies: dict[str, Node] = {}
        self._imported: dict[str, tuple[str, str]] = {}
        self._ignored: list[Node] = []
        self._open: list[str] = []
        self._known: dict[str, str] = {}
        for statement in grammar.children:
            assert isinstance(statement, Tree)
            self._take(statement)

    def _take(self, statement: Node) -> None:
        children = statement.children
        match statement.data:
            case "rule" | "token":
                self._bodies[str(children[0]).lstrip("!?")] = _tree(children[-1])
            case "ignore":
                self._ignored.append(_tree(children[0]))
            case "import":
                *place, name = _names(_tree(children[0]))
                self._imported[_names(_tree(children[1]))[0] if len(children) > 1 else name] = (".".join(place), name)
            case "multi_import":
                library = ".".join(_names(_tree(children[0])))
                self._imported |= {name: (library, name) for name in _names(_tree(children[1]))}
            case other:
                raise ValueError(f"`%{other}` is not supported here")

    def named(self, name: str) -> str:
        """The expression of a rule."""
        if name in self._imported:
            place, there = self._imported[name]
            return _library(place).named(there)
        if name not in self._bodies:
            raise ValueError(f"the rule `{name}` is not there")
        if name in self._open:
            raise _Unheld
        if name not in self._known:
            self._open.append(name)
            self._known[name] = self._regex(self._bodies[name], apart=name.islower() and bool(self._ignored))
            self._open.pop()
        return self._known[name]

    def _regex(self, node: Node, *, apart: bool) -> str:
        """The expression of a part of a rule. Terms stand `apart` where something is ignored between them."""
        regex = "".join(self._pieces(node, apart))
        if len(regex) > LONGEST:
            raise _Unheld
        return regex

    def _pieces(self, node: Node, apart: bool) -> Iterator[str]:
        inner = [child for child in node.children if isinstance(child, Tree)]
        match node.data:
            case "expansions":
                yield "(?:" + "|".join(self._regex(each, apart=apart) for each in inner) + ")"
            case "expansion":
                yield (self._between() if apart else "").join(self._regex(each, apart=apart) for each in inner)
            case "alias":
                yield self._regex(inner[0], apart=apart)
            case "expr":
                yield f"(?:{self._repeated(inner[0], apart)})" + _count([str(each) for each in node.children[1:]])
            case "maybe":
                yield f"(?:{self._regex(inner[0], apart=apart)})?"
            case "name":
                yield f"(?:{self.named(str(node.children[0]))})"
            case "literal":
                yield _literal(str(node.children[0]))
            case "literal_range":
                first, last = (_SPECIAL.sub(r"\\\1", ast.literal_eval(str(each))) for each in node.children)
                yield f"[{first}-{last}]"
            case other:
                raise ValueError(f"{other} is not supported here")

    def _repeated(self, node: Node, apart: bool) -> str:
        return self._regex(node, apart=apart) + (self._between() if apart else "")

    def _between(self) -> str:
        """What may stand between two terms."""
        return "(?:" + "|".join(self._regex(each, apart=False) for each in self._ignored) + ")*"


def _count(operator: list[str]) -> str:
    """How often: an operator, or one or two numbers."""
    return operator[0] if operator[0] in ("+", "*", "?") else "{" + ",".join(operator) + "}"


def _literal(literal: str) -> str:
    """The expression of a string or of a regular expression, with its flags."""
    end = literal.rindex(literal[0])
    body, flags = literal[1:end], literal[end + 1 :]
    if literal[0] == '"':
        text = str(ast.literal_eval(f'"{body}"'))
        body = "".join(_CONTROLS.get(letter) or _SPECIAL.sub(r"\\\1", letter) for letter in text)
    else:
        body = body.replace("\\/", "/")
    return f"(?{flags}:{body})" if flags else f"(?:{body})" if literal[0] == "/" else body


def _tree(node: Node | Token) -> Node:
    assert isinstance(node, Tree)
    return node


def _names(node: Node) -> list[str]:
    return [str(each) for each in node.scan_values(lambda value: isinstance(value, Token) and value != ".")]
