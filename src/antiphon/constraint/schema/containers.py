"""Objects and arrays of a lowered schema."""

from __future__ import annotations

import json
from typing import Any

from antiphon.constraint.schema import patterns
from antiphon.constraint.schema.case import Case, Node
from antiphon.constraint.schema.modern import Schema, step
from antiphon.constraint.schema.parts import Dead, Lowering, Part

_STRING = {"type": "string"}
_NAMING = frozenset({"properties", "patternProperties", "additionalProperties"})
"""Keywords that say something of members by their names."""


def array(lowering: Lowering, case: Case) -> Part:
    """An array: its items one by one as far as any schema names them, then all others."""
    place = lowering.place(case[0])
    least, most = _sizes(case)
    if most is not None and least > most:
        return Dead(place, f"no array has at least {least} and at most {most} items")
    held: Schema = {"type": "array"}
    longest = max(len(node.get("prefixItems", ())) for node in case)
    held["prefixItems"] = [
        lowering.part(tuple(_item(node, index) for node in case), f"{place}/prefixItems/{index}")
        for index in range(longest if most is None else min(longest, most))
    ]
    held["items"] = lowering.part(tuple(node["items"] for node in case if "items" in node), f"{place}/items")
    counted = lowering.capability.items
    if least:
        held["minItems"] = min(least, counted)
    if most is not None and most <= counted:
        held["maxItems"] = most
    if least > counted or (most or 0) > counted:
        _leave(lowering, case, "minItems" if least > counted else "maxItems", f"a grammar counts up to {counted} items")
        lowering.least[id(held)] = least
    for node in case:
        if node.get("uniqueItems") and (most is None or most > 1):
            lowering.say(node, "uniqueItems", "a grammar does not remember the items before")
        for keyword in ("contains", "unevaluatedItems"):
            if node.get(keyword, True) not in (True, {}):
                lowering.say(node, keyword, "no grammar is made of it")
    return held


def _sizes(case: Case) -> tuple[int, int | None]:
    """How many items there are at least, and at most if there is a bound. Where anything counts as contained,
    `contains` bounds them as well."""
    least, most = [0], list[int]()
    for node in case:
        least.append(int(node.get("minItems", 0)))
        most += [int(node["maxItems"])] if "maxItems" in node else []
        if node.get("contains", False) in (True, {}):
            least.append(int(node.get("minContains", 1)))
            most += [int(node["maxContains"])] if "maxContains" in node else []
    return max(least), min(most, default=None)


def _item(node: Schema, index: int) -> Node:
    prefix = node.get("prefixItems", ())
    return prefix[index] if index < len(prefix) else node.get("items", True)  # type: ignore[no-any-return]


def object_(lowering: Lowering, case: Case) -> Part:
    """An object: its named members in order, then those whose names match expressions, then all others."""
    return _Object(lowering, case).part()


class _Object:
    def __init__(self, lowering: Lowering, case: Case) -> None:
        self._lowering = lowering
        self._case = case
        self._place = lowering.place(next((node for node in case if "properties" in node), case[0]))
        self._naming = [node for node in case if not _NAMING.isdisjoint(node)]
        self._legible = [self._with_legible_patterns(node) for node in self._naming]
        self._required = list(dict.fromkeys(name for node in case for name in node.get("required", ())))
        listed = dict.fromkeys(name for node in case for name in node.get("properties", ()))
        self._names = list({**listed, **dict.fromkeys(self._required)})

    def part(self) -> Part:
        self._say_rest()
        if len(self._names) > self._lowering.capability.members:
            self._leave("properties", f"a grammar names up to {self._lowering.capability.members} members of an object")
            return {"type": "object"}
        held: Schema = {"type": "object", "properties": {name: self._member(name) for name in self._names}}
        if self._required:
            held["required"] = self._required
        matching, others = self._matching(), self._others()
        if matching and not self._lowering.holds("patternProperties"):
            self._leave("patternProperties", "the grammar does not know expressions for names")
            matching, others = {}, either([others, *matching.values()])
        if matching and self._is_exhausted(matching, others):
            matching, others = {}, Dead(self._place, "no other name is left")
        if matching:
            held["patternProperties"] = matching
        held["additionalProperties"] = others
        return self._counted(held)

    def _say_rest(self) -> None:
        for node in self._case:
            if node.get("unevaluatedProperties", True) is not True:
                self._lowering.say(node, "unevaluatedProperties", "no grammar is made of it")

    def _member(self, name: str) -> Part:
        """All that is said of the member with this name."""
        nodes: list[Node] = []
        for node in self._naming:
            own = [node["properties"][name]] if name in node.get("properties", ()) else []
            own += [inner for each, inner in node.get("patternProperties", {}).items() if patterns.matches(each, name)]
            nodes += own or [node.get("additionalProperties", True)]
        return self._lowering.part(tuple(nodes), f"{self._place}/properties/{step(name)}")

    def _with_legible_patterns(self, node: Schema) -> Schema:
        """The node without the expressions that no grammar is made of. What they speak of may then be any name."""
        wrong = {
            each: patterns.problem(json.dumps({**_STRING, "pattern": each}))
            for each in node.get("patternProperties", ())
        }
        legible = {each: inner for each, inner in node.get("patternProperties", {}).items() if not wrong[each]}
        lost = [each for each, why in wrong.items() if why not in ("", patterns.NOTHING)]
        if not lost:
            return node if len(legible) == len(wrong) else {**node, "patternProperties": legible}
        self._lowering.say(node, "patternProperties", f"it cannot be held as a grammar: {wrong[lost[0]]}")
        inners = [
            node["patternProperties"][each] for each in node["patternProperties"] if wrong[each] != patterns.NOTHING
        ]
        others = {"anyOf": [node.get("additionalProperties", True), *inners]}
        return {**node, "patternProperties": {}, "additionalProperties": self._lowering.cases.derived(others, node)}

    def _matching(self) -> dict[str, Part]:
        """The members whose names match expressions. Expressions that may match the same name become one."""
        groups: list[list[str]] = []
        for pattern in dict.fromkeys(each for node in self._legible for each in node.get("patternProperties", ())):
            near = [group for group in groups if not all(patterns.apart(pattern, each) for each in group)]
            groups = [group for group in groups if group not in near] + [
                [*(each for group in near for each in group), pattern]
            ]
        held: dict[str, Part] = {}
        for group in groups:
            values = [self._matched(pattern, group) for pattern in group]
            if not all(_same(value, values[0]) for value in values):
                self._leave("patternProperties", "expressions that may match the same name are held as one")
            held["|".join(f"({each})" for each in group) if len(group) > 1 else group[0]] = either(values)
        return held

    def _matched(self, pattern: str, group: list[str]) -> Part:
        nodes: list[Node] = []
        for node in self._legible:
            own = node.get("patternProperties", {})
            if pattern in own:
                nodes.append(own[pattern])
            elif not any(each in own for each in group):
                nodes.append(node.get("additionalProperties", True))
        return self._lowering.part(tuple(nodes), f"{self._place}/patternProperties/{step(pattern)}")

    def _others(self) -> Part:
        nodes = tuple(node["additionalProperties"] for node in self._legible if "additionalProperties" in node)
        if not nodes and self._is_list():
            return Dead(self._place, "a member that is not listed is not asked for")
        return self._lowering.part(nodes, f"{self._place}/additionalProperties")

    def _is_list(self) -> bool:
        """Whether the client's schema lists the members that it wants, and says nothing of others."""
        lists = any(node.get("properties") for node in self._case if not self._lowering.cases.is_made(node))
        opens = any({"patternProperties", "minProperties"} & node.keys() for node in self._case)
        opens = opens or any(node.get("unevaluatedProperties", False) is not False for node in self._case)
        return self._lowering.closing and lists and not opens

    def _is_exhausted(self, matching: dict[str, Part], others: Part) -> bool:
        names = [name for name in self._names if any(patterns.matches(each, name) for each in matching)]
        alive = tuple(each for each, value in matching.items() if not isinstance(value, Dead))
        dead = tuple(each for each in matching if each not in alive)
        return patterns.is_exhausted(tuple(names), alive, dead, not isinstance(others, Dead))

    def _counted(self, held: Schema) -> Part:
        """With the bounds on the number of members, as far as a grammar can count them."""
        least = max((int(node["minProperties"]) for node in self._case if "minProperties" in node), default=0)
        most = min((int(node["maxProperties"]) for node in self._case if "maxProperties" in node), default=None)
        required = len(self._required)
        optional = sum(
            not isinstance(held["properties"][name], Dead) for name in self._names if name not in self._required
        )
        is_closed = isinstance(held["additionalProperties"], Dead) and not held.get("patternProperties")
        if (most is not None and most < max(least, required)) or (is_closed and least > required + optional):
            return Dead(self._place, "no object has so many members, and no more")
        if most is not None and is_closed and most >= required + optional:
            most = None
        if least <= required and most is None:
            return held
        one = is_closed and least <= required + 1 and most in (None, required + 1)
        counted = self._lowering.capability.items
        keyword = "minProperties" if least > required else "maxProperties"
        if (optional and not one) or not self._lowering.holds(keyword) or max(least, most or 0) > counted:
            self._leave(keyword, "a grammar does not count these members")
            return held
        if least > required + 1 and not is_closed:
            self._leave(keyword, "a grammar does not know whether two names are the same")
        if least > required:
            held["minProperties"] = least
        if most is not None:
            held["maxProperties"] = most
        return held

    def _leave(self, keyword: str, reason: str) -> None:
        _leave(self._lowering, self._case, keyword, reason)


def either(parts: list[Part]) -> Part:
    """Any one of the parts."""
    distinct: list[Schema] = []
    for part in parts:
        if part == {}:
            return {}
        is_known = part in distinct and any(_same(part, each) for each in distinct)
        if not isinstance(part, Dead) and not is_known:
            distinct.append(part)
    if not distinct:
        return parts[0]
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}


def _same(one: Any, other: Any) -> bool:
    """Whether two parts are the same. To Python, so are `true` and 1."""
    if one is other or one != other:
        return one is other
    if isinstance(one, dict):
        return all(_same(value, other[key]) for key, value in one.items())
    return all(map(_same, one, other)) if isinstance(one, list) else isinstance(one, bool) == isinstance(other, bool)


def _leave(lowering: Lowering, case: Case, keyword: str, reason: str) -> None:
    lowering.say(next((node for node in case if keyword in node), case[0]), keyword, reason)
