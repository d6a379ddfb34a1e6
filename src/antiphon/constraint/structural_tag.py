"""Constraints as structural tags, the dialect of xgrammar, which vLLM and SGLang use unless told otherwise.

Plain EBNF would do too, but only structural tags can name a control token by its id and hold a JSON schema in place.
https://xgrammar.mlc.ai/docs/tutorials/structural_tag.html tells what they are made of.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, assert_never

from antiphon.constraint import Either, Free, Json, Literal, Marker, Node, Pattern, Repeat, Sequence, Until, schemas
from antiphon.constraint.markers import TokenId, split

_Format = dict[str, Any]

# Left free, a weak model fills its budget with blanks.
_WHITE_SPACE = 1
_MOST_TRIGGERED = 64


def lower(node: Node, token_id: TokenId) -> str:
    """The structural tag as an engine takes it: a JSON text."""
    return json.dumps({"type": "structural_tag", "format": _format(node, token_id)}, ensure_ascii=False)


def _format(node: Node, token_id: TokenId) -> _Format:
    match node:
        case Literal(text):
            return _text(text)
        case Marker(text):
            return _sequence([_part(part) for part in split(text, token_id)])
        case Json(schema):
            return {"type": "json_schema", "json_schema": schema, "max_whitespace_cnt": _WHITE_SPACE}
        case Pattern(regex):
            return {"type": "regex", "pattern": regex}
        case Until(marker):
            return _sequence([_free((marker,)), *(_part(part) for part in split(marker, token_id))])
        case Free(without, then):
            return _triggered(without, then, token_id) if then else _free(without)
        case Sequence(nodes):
            return _sequence([_format(each, token_id) for each in nodes])
        case Either(nodes):
            return {"type": "or", "elements": [_format(each, token_id) for each in nodes]}
        case Repeat():
            return _repeat(node, token_id)
        case _:
            assert_never(node)


def _part(part: str | int) -> _Format:
    return _text(part) if isinstance(part, str) else {"type": "token", "token": part}


def _text(text: str) -> _Format:
    return {"type": "const_string", "value": text}


def _free(without: tuple[str, ...]) -> _Format:
    return {"type": "any_text", "excludes": list(without)}


def _triggered(without: tuple[str, ...], then: tuple[tuple[str, Node], ...], token_id: TokenId) -> _Format:
    """Text, and what its triggers bring. Control tokens are text to xgrammar."""
    text = _free((*without, *(trigger for trigger, _ in then)))
    brought = [_sequence([_format(Marker(trigger), token_id), _format(rest, token_id), text]) for trigger, rest in then]
    return _sequence([text, _times({"type": "or", "elements": brought}, 0, _MOST_TRIGGERED)])


def _sequence(elements: list[_Format]) -> _Format:
    """One after the other, without those that are empty."""
    parts = [each for each in elements if each != _text("")]
    return parts[0] if len(parts) == 1 else {"type": "sequence", "elements": parts} if parts else _text("")


def _repeat(node: Repeat, token_id: TokenId) -> _Format:
    inner = _format(node.node, token_id)
    if node.separator is None:
        return _times(inner, node.least, node.most)
    rest = _sequence([_format(node.separator, token_id), inner])
    once = _sequence([inner, _times(rest, max(node.least - 1, 0), node.most - 1)] if node.most > 1 else [inner])
    return once if node.least else {"type": "optional", "content": once}


def _times(inner: _Format, least: int, most: int) -> _Format:
    return {"type": "repeat", "min": least, "max": most, "content": inner}


# What xgrammar 0.2 lets pass, so that a reply must be looked at even though the grammar allowed it.
_UNHELD = frozenset(
    {"allOf", "oneOf", "not", "if", "multipleOf", "uniqueItems", "contains", "propertyNames", "patternProperties"}
    | {"dependentRequired", "dependentSchemas", "dependencies", "unevaluatedItems", "unevaluatedProperties"}
)


def exact(node: Node) -> bool:
    """Whether what the grammar allows is all that the node allows, and not more."""
    return all(_held(schema) for schema in schemas(node))


def _held(schema: Any) -> bool:
    if isinstance(schema, list):
        return all(map(_held, schema))
    if not isinstance(schema, dict):
        return True
    if _UNHELD.intersection(schema) or (
        {"pattern", "format"} & schema.keys() and {"minLength", "maxLength"} & schema.keys()
    ):
        return False
    # The names of properties are no keywords.
    named = [schema[key] for key in ("properties", "$defs", "definitions") if isinstance(schema.get(key), dict)]
    inner = [
        value for key, value in schema.items() if key not in ("properties", "$defs", "definitions", "enum", "const")
    ]
    return all(_held(value) for record in named for value in record.values()) and all(map(_held, inner))


@lru_cache(maxsize=256)
def problem(tag: str) -> str:
    """What is wrong with a structural tag; empty when it compiles, or when xgrammar is not installed here: it is large,
    and the engine says the same. Takes up to seconds: not for the event loop."""
    try:
        import xgrammar
    except ImportError:
        return ""
    try:
        xgrammar.Grammar.from_structural_tag(tag)
    except Exception as error:  # native code, which raises the base class too
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return ""
