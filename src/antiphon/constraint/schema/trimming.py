"""A lowered schema without the parts that no value fits, which take with them what demands them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from antiphon.constraint.schema.modern import Schema
from antiphon.constraint.schema.parts import Dead, Part
from antiphon.constraint.vocabulary import definition, inner, references

_ROUNDS = 40
"""How often sizes are reckoned anew. What changes still is taken as possible."""
_CHARACTERS = 16
"""Characters that a token may have: more than in any vocabulary of words, on average."""


class Trimming:
    """Sizes are the characters of the shortest value that fits a part; none fits one that has no end."""

    def __init__(self, definitions: dict[str, Part], least: dict[int, int], window: int | None) -> None:
        self._definitions = definitions
        self._least = least
        self._room = math.inf if window is None else window * _CHARACTERS
        self._sizes: dict[str, float] = dict.fromkeys(definitions, math.inf)
        self._trimmed: dict[int, Part] = {}
        self._settled = False

    def whole(self, root: Part) -> Part:
        """The root with the definitions that it needs, or why nothing fits it."""
        self._settle()
        trimmed = self._trim(root)
        if isinstance(trimmed, Dead):
            return trimmed
        while "$ref" in trimmed:
            inner = self._trim(self._definitions[definition(trimmed["$ref"])])
            assert isinstance(inner, dict)
            trimmed = inner
        definitions: Schema = {}
        waiting: list[Any] = [trimmed]
        while waiting:
            for reference in references(waiting.pop()):
                name = definition(reference)
                if name not in definitions:
                    definitions[name] = kept = self._trim(self._definitions[name])
                    waiting.append(kept)
        return {**trimmed, "$defs": definitions} if definitions else trimmed

    def _settle(self) -> None:
        for _ in range(_ROUNDS):
            # Those that were named last are referred to by those before.
            changed = False
            for name in reversed(self._definitions):
                size = self._size(self._definitions[name])
                changed |= size != self._sizes[name]
                self._sizes[name] = size
            if not changed:
                return
        self._sizes = dict.fromkeys(self._definitions, 0)

    def _size(self, part: Any) -> float:
        if isinstance(part, Dead):
            return math.inf
        if "$ref" in part:
            return self._sizes[definition(part["$ref"])]
        if "anyOf" in part:
            return min(map(self._size, part["anyOf"]))
        if "enum" in part:
            return 1
        match part.get("type"):
            case "object":
                size = sum(len(name) + 4 + self._size(part["properties"][name]) for name in part.get("required", ()))
            case "array":
                size = self._items(part)
            case "string":
                size = max(self._least.get(id(part), 0), part.get("minLength", 0)) + 2
            case _:
                size = 1
        return size if size <= self._room else math.inf

    def _items(self, part: Schema) -> float:
        least = max(self._least.get(id(part), 0), part.get("minItems", 0))
        prefix = part.get("prefixItems", [])[:least]
        rest = least - len(prefix)
        return sum(map(self._size, prefix)) + (rest * (self._size(part.get("items", {})) + 1) if rest else 0) + 2

    def _trim(self, part: Part) -> Part:
        if isinstance(part, Dead):
            return part
        if id(part) not in self._trimmed:
            self._trimmed[id(part)] = self._dead(part) if self._size(part) == math.inf else self._copy(part)
        return self._trimmed[id(part)]

    def _dead(self, part: Schema) -> Dead:
        """Why nothing fits the part: the first reason that is found in it."""
        seen: set[str] = set()
        while True:
            if "$ref" in part:
                name = definition(part["$ref"])
                inner: Any = [self._definitions[name]] if name not in seen else []
                seen.add(name)
            else:
                inner = [*part.get("anyOf", ()), *(part["properties"][name] for name in part.get("required", ()))]
                inner += part.get("prefixItems", ())
                inner += [part["items"]] if "items" in part else []
            worst = next((each for each in inner if self._size(each) == math.inf), None)
            if worst is None:
                return Dead("#", "the shortest value has no end, or does not fit the window")
            if isinstance(worst, Dead):
                return worst
            part = worst

    def _copy(self, part: Schema) -> Schema:
        copy = dict(part)
        if "anyOf" in part:
            copy["anyOf"] = [branch for each in part["anyOf"] if not isinstance(branch := self._trim(each), Dead)]
        for keyword in ("items", "additionalProperties"):
            if keyword in part:
                branch = self._trim(part[keyword])
                copy[keyword] = False if isinstance(branch, Dead) else branch
        if "prefixItems" in part:
            self._keep_prefix(copy)
        for keyword in ("properties", "patternProperties"):
            if keyword in part:
                trimmed = {name: self._trim(each) for name, each in part[keyword].items()}
                copy[keyword] = {name: False if isinstance(each, Dead) else each for name, each in trimmed.items()}
        if copy.get("additionalProperties") is False and not copy.get("patternProperties"):
            copy["properties"] = {name: each for name, each in copy["properties"].items() if each is not False}
        return copy

    def _keep_prefix(self, part: Schema) -> None:
        prefix: list[Schema] = []
        for each in part["prefixItems"]:
            trimmed = self._trim(each)
            if isinstance(trimmed, Dead):
                part["maxItems"] = len(prefix)
                break
            prefix.append(trimmed)
        part["prefixItems"] = prefix
        if not prefix:
            del part["prefixItems"]


def depth(schema: Schema) -> int:
    """How deep the parts of a whole schema stand within one another, each definition where it is first met."""
    definitions, met = schema.get("$defs", {}), set[str]()
    path: list[Iterator[Any]] = [inner(schema)]
    deepest = 0
    while path:
        deepest = max(deepest, len(path))
        part = next(path[-1], None)
        if part is None:
            path.pop()
        elif isinstance(part, dict) and "$ref" not in part:
            path.append(inner(part))
        elif isinstance(part, dict) and part["$ref"] not in met:
            met.add(part["$ref"])
            path.append(iter([definitions[definition(part["$ref"])]]))
    return deepest


def spread(parts: Iterable[Part]) -> int:
    """How many parts there are within these when each is written wherever it stands: many may share one."""
    sizes: dict[int, int] = {}
    roots = list(parts)
    waiting: list[Any] = list(roots)
    while waiting:
        within = list(inner(part := waiting[-1]))
        unknown = [each for each in within if id(each) not in sizes]
        waiting += unknown
        if not unknown:
            waiting.pop()
            sizes[id(part)] = 1 + sum(sizes[id(each)] for each in within)
    return sum(sizes[id(root)] for root in roots)
