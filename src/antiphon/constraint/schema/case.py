"""What the parts of one case say together: a list of schemas whose own keywords all hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from antiphon.constraint.schema.modern import Schema
from antiphon.constraint.vocabulary import TYPED, TYPES

Node = Schema | bool
Case = tuple[Schema, ...]

TYPE_OF = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def types(case: Case) -> list[str]:
    """The types that all parts of a case allow, in the vocabulary's order; `integer` counts as `number`."""
    allowed = set(TYPES)
    for node in case:
        if "type" in node:
            declared = node["type"] if isinstance(node["type"], list) else [node["type"]]
            allowed &= {"number" if name == "integer" else name for name in declared}
        elif "enum" in node or "const" in node:
            allowed &= {
                TYPE_OF[type(value)] for value in (*node.get("enum", ()), *([node["const"]] if "const" in node else ()))
            }
    return [name for name in TYPES if name in allowed]


def told_apart(one: Sequence[Schema], other: Sequence[Schema]) -> bool:
    """Whether both are limited to values, or both name a member which one of them demands, and none fits both."""
    if _differ(one, other):
        return True
    named = {name for node in other for name in node.get("properties", ())}
    demanded = {name for node in (*one, *other) for name in node.get("required", ())}
    shared = named & demanded
    if not shared or types((*one, *other)) != ["object"]:
        return False
    for name in shared:
        members = [node["properties"][name] for node in one if name in node.get("properties", ())]
        others = [node["properties"][name] for node in other if name in node.get("properties", ())]
        if _differ(members, others):
            return True
    return False


def _differ(some: Sequence[Node], others: Sequence[Node]) -> bool:
    """Whether a part of each is limited to values that the other's is not."""
    limited = [values for each in others if (values := limits(each)) is not None]
    return bool(limited) and any(
        values.isdisjoint(each) for part in some if (values := limits(part)) is not None for each in limited
    )


def names(case: Case) -> tuple[list[str] | None, list[str], str | None]:
    """What a case says of a name: the names that it may be, the expressions that it matches, its length as another."""
    listed = [node.get("enum", [node.get("const")]) for node in case if "enum" in node or "const" in node]
    literal = [name for name in listed[0] if isinstance(name, str)] if listed else None
    patterns = list(dict.fromkeys(node["pattern"] for node in case if "pattern" in node))
    least = max((int(node["minLength"]) for node in case if "minLength" in node), default=0)
    most = min((str(int(node["maxLength"])) for node in case if "maxLength" in node), default="", key=int)
    return literal, patterns, f"^[\\s\\S]{{{least},{most}}}$" if least or most else None


def limits(node: Node) -> set[tuple[str, Any]] | None:
    """The values that a part is limited to, each with its type: to Python, `true` is 1. None where it is not, or to
    others than plain ones."""
    if isinstance(node, bool):
        return None
    values = node["enum"] if "enum" in node else [node["const"]] if "const" in node else None
    if values is None or any(isinstance(value, list | dict) for value in values):
        return None
    return {(TYPE_OF[type(value)], value) for value in values}


def is_integer(case: Case) -> bool:
    """Whether a number must be an integer."""
    for node in case:
        declared = node.get("type", [])
        names = declared if isinstance(declared, list) else [declared]
        if "integer" in names and "number" not in names:
            return True
    return False


def speaks_of(case: Case, kind: str) -> bool:
    """Whether any part says something of values of this type, beyond that they may be."""
    return any(not TYPED.get(kind, frozenset()).isdisjoint(node) for node in case)
