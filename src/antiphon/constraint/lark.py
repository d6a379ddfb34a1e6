"""Constraints in llguidance's dialect of Lark, with `%json` for schemas.

Everything is validated here before an engine sees it: llama.cpp ignores a grammar that does not compile without a word.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import assert_never

import llguidance
import msgspec

from antiphon.constraint import Either, Free, Json, Literal, Marker, Node, Pattern, Repeat, Sequence, Until
from antiphon.constraint.json_rules import JsonRules
from antiphon.constraint.markers import TokenId, split


class _Lowering:
    def __init__(self, token_id: TokenId) -> None:
        self._token_id = token_id
        self.rules: list[str] = []
        self._known: dict[str, str] = {}
        self._values: dict[str, str] = {}

    def rule(self, body: str, attributes: str = "") -> str:
        """The name of a rule with this body; the same body is written once."""
        key = attributes + body
        if key not in self._known:
            name = self._known[key] = f"r{len(self._known)}"
            self.rules.append(f"{name}{attributes}: {body}")
        return self._known[key]

    def lower(self, node: Node) -> str:
        """An expression for the node."""
        match node:
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
            case Free(without):
                return self._free(without)
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
            self._values[key] = rules.whole()
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

    def _free(self, without: tuple[str, ...]) -> str:
        # Patterns never match control tokens, so only markers that are text must be kept out.
        texts = [re.escape(marker) for marker in without if self._token_id(marker) is None]
        if not texts:
            return self.rule("/(?s:.*)/")
        name = f"FREE{len(self.rules)}"
        self.rules.append(f"{name}: /(?s:.*)/ & ~/(?s:.*)({_slashed('|'.join(texts))})(?s:.*)/")
        return name

    def _repeat(self, node: Repeat) -> str:
        inner = self.rule(self.lower(node.node))
        if node.separator is None:
            return f"{inner}{{{node.least},{node.most}}}"
        if node.most == 1:
            return inner if node.least else f"({inner})?"
        more = f"({self.lower(node.separator)} {inner})"
        repeated = f"{inner} {more}{{{max(node.least - 1, 0)},{node.most - 1}}}"
        return repeated if node.least else f"({repeated})?"


def _slashed(regex: str) -> str:
    return re.sub(r"(?<!\\)/", r"\\/", regex)


def lower(node: Node, token_id: TokenId) -> str:
    """The grammar that an engine with llguidance takes."""
    lowering = _Lowering(token_id)
    start = lowering.lower(node)
    return "\n".join(["%llguidance {}", f"start: {start}", *lowering.rules, ""])


@lru_cache(maxsize=256)
def problem(grammar: str) -> str:
    """What is wrong with a grammar; empty when it compiles. Takes up to a second: not for the event loop."""
    # Token ids cannot be checked without the vocabulary; any text stands for them here.
    checkable = re.sub(r"<\[\d+\]>", '"token"', grammar).removeprefix("%llguidance {}")
    return llguidance.LLMatcher.validate_grammar(llguidance.grammar_from("lark", checkable))
