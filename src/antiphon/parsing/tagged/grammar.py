"""Grammars of calls written in tags: the parameters in order, values held to their schemas."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Many
from typing import Any

from antiphon.constraint import Either, Json, Literal, Marker, Node, Repeat, Sequence, Until, closed
from antiphon.parsing.arguments import Signature
from antiphon.parsing.formats import Grammar


def calls(
    *,
    call: Callable[[str], Node],
    parameter: Callable[[str, str], str],
    value_end: str,
    call_end: str,
    before: str = "",
    after: str = "",
    separator: str = "",
) -> Grammar:
    """The grammar of a family: `before`, the calls with `separator` between, `after`. `call` makes the tag of a call
    from its name, `parameter` that of a parameter from its name and type."""

    def grammar(tools: Many[tuple[str, dict[str, Any]]], most: int) -> Node:
        def one(name: str, schema: dict[str, Any]) -> Node:
            return Sequence((call(name), *parameters(schema, parameter, value_end), spelt(call_end)))

        body = Either(tuple(one(name, schema) for name, schema in tools))
        between = spelt(separator) if separator else None
        return Sequence((spelt(before), Repeat(body, 1, most, between), spelt(after)))

    return grammar


def invocations(before: str, after: str, prefix: str = "") -> Grammar:
    """The grammar of `<invoke name="F"><parameter name="K">V</parameter></invoke>`, a line each, in a block."""
    return calls(
        before=before + "\n",
        call=lambda name: Marker(f'<{prefix}invoke name="{name}">\n'),
        parameter=lambda name, kind: f'<{prefix}parameter name="{name}">',
        value_end=f"</{prefix}parameter>\n",
        call_end=f"</{prefix}invoke>\n",
        after=after,
    )


def spelt(text: str) -> Node:
    """Text of a format in which control tokens may stand."""
    return Marker(text) if text else Literal("")


def parameters(schema: dict[str, Any], parameter: Callable[[str, str], str], end: str) -> list[Node]:
    """The grammars of a tool's parameters, in order; those that are not required may be missing."""
    signature = Signature(schema)
    required = schema.get("required")
    nodes: list[Node] = []
    for name in signature.parameters():
        written = Sequence((spelt(parameter(name, _type(signature, name))), _value(signature, name, end)))
        needed = isinstance(required, list) and name in required
        nodes.append(written if needed else Either((written, Literal(""))))
    return nodes


def _type(signature: Signature, name: str) -> str:
    kinds = signature.kinds(name)
    return "string" if not kinds or "string" in kinds else sorted(kinds)[0]


def _value(signature: Signature, name: str, end: str) -> Node:
    choices = signature.choices(name)
    if choices:
        return Sequence((Either(tuple(Literal(choice) for choice in choices)), spelt(end)))
    kinds = signature.kinds(name)
    if not kinds or "string" in kinds:
        return Until(end)
    return Sequence((Json(closed(signature.standing(name))), spelt(end)))
