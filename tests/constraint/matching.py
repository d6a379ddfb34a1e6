"""A schema's grammar, asked byte by byte what it allows."""

from __future__ import annotations

import json
import random
from functools import lru_cache
from typing import Any

import jsonschema_rs
import llguidance

from antiphon.constraint import Json, lark
from antiphon.constraint.schema import Lowered, lower

BYTES = llguidance.LLTokenizer("byte")


class Grammar:
    """The grammar of a schema. Objects are not closed, so that it is the client's schema itself that is held."""

    def __init__(self, schema: dict[str, Any], **options: Any) -> None:
        self.lowered: Lowered = lower(schema, "llguidance", **{"closing": False, **options})
        grammar = lark.lower(Json(self.lowered.schema), lambda text: None)
        self.matcher = llguidance.LLMatcher(
            BYTES, llguidance.grammar_from("lark", grammar.removeprefix("%llguidance {}")), log_level=0
        )
        assert not self.matcher.is_error(), (schema, grammar, self.matcher.get_error())

    def allows(self, text: str) -> bool:
        """Whether the text is all that the grammar wants."""
        written = list(text.encode())
        whole = self.matcher.try_consume_tokens(written) == len(written) and self.matcher.is_accepting()
        self.matcher.reset()
        return whole

    def begins(self, text: str) -> bool:
        """Whether the text is a beginning of something that the grammar wants, or all of it."""
        written = list(text.encode())
        begun = self.matcher.try_consume_tokens(written) == len(written)
        self.matcher.reset()
        return begun

    def holds(self, value: Any) -> bool:
        """Whether the value can be written, with its members in the schema's order."""
        return self.allows(json.dumps(ordered(value, self.lowered.schema), ensure_ascii=False))

    def drawn(self, source: random.Random, longest: int = 2000) -> str | None:
        """A text that the grammar allows, drawn byte by byte; None when it does not end soon enough."""
        written = bytearray()
        try:
            while len(written) < longest:
                mask = self.matcher.compute_bitmask()
                assert not self.matcher.is_error(), (bytes(written), self.matcher.get_error())
                allowed = [byte for byte in range(256) if mask[byte // 8] >> (byte % 8) & 1]
                if self.matcher.is_accepting() and (not allowed or source.random() < 0.3):
                    return written.decode()
                assert allowed, f"nothing is left behind {bytes(written)!r}"
                # What ends a value is drawn more often, or hardly any would end.
                ends = [byte for byte in allowed if byte in b'"}]'] if len(allowed) > 8 else []
                drawn = source.choice(
                    ends if ends and source.random() < 0.4 else [b for b in allowed if b < 128] or allowed
                )
                assert self.matcher.consume_token(drawn)
                written.append(drawn)
            return None
        finally:
            self.matcher.reset()


def ordered(value: Any, lowered: dict[str, Any]) -> Any:
    """The value with its members in the order in which a lowered schema lists them: a grammar knows no other."""
    return _ordered(value, lowered, json.dumps(lowered.get("$defs", {})))


def _ordered(value: Any, part: Any, definitions: str) -> Any:
    if not isinstance(part, dict) or not isinstance(value, dict | list):
        return value
    if "$ref" in part:
        return _ordered(value, json.loads(definitions)[part["$ref"].rpartition("/")[2]], definitions)
    for each in part.get("anyOf", ()):
        if _fits(json.dumps(each), definitions, json.dumps(value)):
            return _ordered(value, each, definitions)
    if isinstance(value, list):
        listed = part.get("prefixItems", [])
        rest = part.get("items", {})
        return [_ordered(each, listed[at] if at < len(listed) else rest, definitions) for at, each in enumerate(value)]
    properties = part.get("properties", {})
    names = [*(name for name in [*properties, *part.get("required", ())] if name in value), *value]
    return {name: _ordered(value[name], _member(name, part), definitions) for name in dict.fromkeys(names)}


def _member(name: str, part: dict[str, Any]) -> Any:
    if name in part.get("properties", {}):
        return part["properties"][name]
    for pattern, inner in part.get("patternProperties", {}).items():
        if jsonschema_rs.is_valid({"pattern": pattern}, name):
            return inner
    return part.get("additionalProperties", {})


@lru_cache(maxsize=10_000)
def _fits(part: str, definitions: str, value: str) -> bool:
    return jsonschema_rs.is_valid({**json.loads(part), "$defs": json.loads(definitions)}, json.loads(value))
