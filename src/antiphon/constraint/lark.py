"""Constraints in llguidance's dialect of Lark, with `%json` for schemas.

Everything is compiled here before an engine sees it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence as Many
from functools import lru_cache
from typing import assert_never

import msgspec

from antiphon.constraint import Either, Free, Json, Literal, Marker, Node, Pattern, Repeat, Sequence, Until, compiler
from antiphon.constraint.json_rules import JsonRules
from antiphon.constraint.markers import TokenId, split


class _Lowering:
    def __init__(self, token_id: TokenId, *, flat: bool = False) -> None:
        self._token_id = token_id
        self._flat = flat
        self.rules: list[str] = []
        self._known: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._lowered: dict[int, tuple[Node, str]] = {}

    def rule(self, body: str, attributes: str = "") -> str:
        """The name of a rule with this body; the same body is written once."""
        key = attributes + body
        if key not in self._known:
            name = self._known[key] = f"r{len(self._known)}"
            self.rules.append(f"{name}{attributes}: {body}")
        return self._known[key]

    def lower(self, node: Node) -> str:
        """An expression for the node. Many triggers share what follows them: that is worked out once."""
        if id(node) not in self._lowered:
            self._lowered[id(node)] = (node, self._expression(node))
        return self._lowered[id(node)][1]

    def _expression(self, node: Node) -> str:
        match node:
            case Literal(text, spaced) if spaced:
                return self.rule(f"/{_pattern(text).replace(' ', ' ?')}/")
            case Literal(text):
                return json.dumps(text, ensure_ascii=False) if text else '""'
            case Marker(text):
                return self._spelt(split(text, self._token_id))
            case Json():
                return self._json(node)
            case Pattern(regex):
                return self.rule(f"/{_slashed(regex)}/")
            case Until(marker):
                return self._until(marker)
            case Free():
                return self._free(node)
            case Sequence(nodes):
                return " ".join(self.lower(each) for each in nodes)
            case Either(nodes):
                return "(" + " | ".join(self.lower(each) for each in nodes) + ")"
            case Repeat():
                return self._repeat(node)
            case _:
                assert_never(node)

    def _json(self, node: Json) -> str:
        key = json.dumps(msgspec.structs.astuple(node))
        if key not in self._values:
            name = f"j{len(self._values)}_"
            rules = JsonRules(node, self.rule, lambda name, body: self.rules.append(f"{name}: {body}"), name)
            self._values[key] = rules.own() if self._flat else rules.whole()
        return self._values[key]

    def _spelt(self, parts: list[str | int]) -> str:
        return " ".join(self.lower(Literal(part)) if isinstance(part, str) else f"<[{part}]>" for part in parts)

    def _until(self, marker: str) -> str:
        parts = split(marker, self._token_id)
        first = next((at for at, part in enumerate(parts) if isinstance(part, int)), None)
        if first is None:
            return self.rule("/(?s:.*)/", f"[suffix={json.dumps(marker, ensure_ascii=False)}]")
        # Patterns never match control tokens: the first one in the marker ends the text.
        lead = _slashed(re.escape("".join(str(part) for part in parts[:first])))
        return self.rule(f"/(?s:.*){lead}/") + " " + self._spelt(parts[first:])

    def _free(self, node: Free) -> str:
        """Text, with what may stand in it. A pattern takes all it can and gives nothing back, so where a trigger is
        text, what comes before it and the trigger are one pattern, which ends there."""
        # A marker that has control tokens is written with these; the same letters are text that speaks of it.
        markers = (*node.without, *(trigger for trigger, _ in node.then))
        out = [_pattern(marker) for marker in markers if split(marker, self._token_id) == [marker]]
        plain = self._text("(?s:.*)", out)
        begun, marked = list[str](), list[str]()
        follows: dict[int, list[str]] = {}
        for trigger, rest in node.then:
            parts = split(trigger, self._token_id)
            cut = next((cut for cut, part in enumerate(parts) if isinstance(part, int)), len(parts))
            written = _pattern("".join(map(str, parts[:cut])))
            if not cut:
                follows.setdefault(int(parts[0]), []).append("".join(f"{part}" for part in parts[1:2]))
                marked.append(f"{self._spelt(parts)} {self.lower(rest)}")
            elif cut < len(parts):
                before = self._text(f"(?s:.*){written}", out)
                begun.append(f"{before} {self._spelt(parts[cut:])} {self.lower(rest)}")
            else:
                # None before it; written once for all triggers, of which there may be one for each tool.
                passed = self._terminal(f"/(?s:.*)({'|'.join(out)})(?s:.+)/")
                before = self._terminal(f"/(?s:.*){written}/ & ~{passed}")
                begun.append(f"{self.rule(before, '[lazy]')} {self.lower(rest)}")
        text = self.rule(f"({' | '.join(begun)})* {plain}") if begun else plain
        pieces = [f"{each} {text}" for each in marked]
        for id in self._marks(node):
            if id not in follows:
                pieces.append(f"<[{id}]> {text}")
            elif all(follows[id]):
                # Some triggers begin with this token: here none of them goes on.
                others = "|".join(map(_pattern, follows[id]))
                pieces.append(f"<[{id}]> {self._text('(?s:.*)', out, f'({others})(?s:.*)')}")
        return f"{text} ({' | '.join(pieces)})*" if pieces else text

    def _text(self, pattern: str, out: list[str], *unlike: str) -> str:
        """A terminal: what matches the pattern, has none of the patterns `out` in it, and is like no other."""
        unlike = (*([f"(?s:.*)({'|'.join(out)})(?s:.*)"] if out else []), *unlike)
        return self._terminal(" & ".join([f"/{pattern}/", *(f"~/{each}/" for each in unlike)]))

    def _terminal(self, body: str) -> str:
        name = self._known.setdefault(body, f"T{len(self._known)}")
        if (line := f"{name}: {body}") not in self.rules:
            self.rules.append(line)
        return name

    def _marks(self, node: Free) -> list[int]:
        """The control tokens that may stand in text: not those that only a trigger may bring, beyond its first."""
        ids = [self._token_id(mark) for mark in node.marks]
        inner = {part for trigger, _ in node.then for part in split(trigger, self._token_id)[1:]}
        barred = {self._token_id(mark) for mark in node.without} | inner
        return sorted({id for id in ids if id is not None} - barred)

    def _repeat(self, node: Repeat) -> str:
        inner = self.rule(self.lower(node.node))
        if node.separator is None:
            return f"{inner}{{{node.least},{node.most}}}"
        if node.most == 1:
            return inner if node.least else f"({inner})?"
        more = f"({self.lower(node.separator)} {inner})"
        repeated = f"{inner} {more}{{{max(node.least - 1, 0)},{node.most - 1}}}"
        return repeated if node.least else f"({repeated})?"


def _pattern(text: str) -> str:
    """The regular expression of a text."""
    return _slashed(re.sub(r"[.+*?()|\[\]{}^$\\]", r"\\\g<0>", text).replace("\n", r"\n"))


def _slashed(regex: str) -> str:
    return re.sub(r"(?<!\\)/", r"\\/", regex)


def lower(node: Node, token_id: TokenId, ends: Many[int] = ()) -> str:
    """The grammar that an engine with llguidance takes. Models end their replies with the tokens `ends`: llguidance by
    itself allows one such token, and where a vocabulary has several, llama.cpp may have named it another than the model
    was trained to write. Then a reply that may end never does."""
    lowering = _Lowering(token_id)
    start = lowering.lower(node)
    if _depth(start, lowering.rules) > _DEEPEST:
        lowering = _Lowering(token_id, flat=True)
        start = lowering.lower(node)
    ending = f" ({' | '.join(f'<[{id}]>' for id in ends)})?" if ends else ""
    return "\n".join(["%llguidance {}", f"start: {start}{ending}", *lowering.rules, ""])


_DEEPEST = 300
"""Rules within rules. llguidance goes down them on its stack, and one that is too deep ends the process, its engine's
as well as ours; in `%json` definitions do not nest."""
_RULES = re.compile(r'"(?:\\.|[^"\\])*"|/(?:\\.|[^/\\])*/|(\b[a-z]\w*)')


def _depth(start: str, rules: list[str]) -> int:
    """How deep rules are gone down, each the first time that it is met; 0 where they are too few to be deep."""
    if len(rules) < _DEEPEST:
        return 0
    inner = {"": _RULES.findall(start)}
    for rule in rules:
        name, _, body = rule.partition(": ")
        # Terminals, which have capital letters, have no rules in them.
        inner[name.partition("[")[0]] = [] if name[0].isupper() or body.startswith("%json") else _RULES.findall(body)
    deepest, met, path = 0, {""}, [iter(inner[""])]
    while path:
        deepest = max(deepest, len(path))
        child = next(path[-1], None)
        if child is None:
            path.pop()
        elif child in inner and child not in met:
            met.add(child)
            path.append(iter(inner[child]))
    return deepest


@lru_cache(maxsize=256)
def problem(grammar: str) -> str:
    """What is wrong with a grammar; empty when it compiles. Takes up to a second: not for the event loop."""
    return compiler.problem("lark", grammar)
