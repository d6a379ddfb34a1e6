"""The ways in which a value can match several schemas at once: what is left of `allOf`, `anyOf` and their kin when
each is followed."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import jsonschema_rs
import msgspec

from antiphon.constraint.schema.canonicals import Canonicals
from antiphon.constraint.schema.case import Case, Node, limits, names, told_apart, types
from antiphon.constraint.schema.modern import Schema
from antiphon.constraint.vocabulary import definition, inner

Say = Callable[[Schema, str, str], None]
"""Told of a part, a keyword of it that is left out, and why."""

MOST = 200
"""Cases that are told apart; a choice that would make more is left to the check."""
_STEPS = 200_000
"""Parts that all cases of a document may have together."""
_FEW = 6
"""Alternatives of which each is told apart from all others by their opposites."""
_COMPARED = 12
"""Alternatives that are compared pair by pair by all that they say."""
_MANY = 400
"""Alternatives that are compared pair by pair by what tells them apart at once."""

FOLLOWED = frozenset({"$ref", "allOf", "anyOf", "oneOf", "if", "then", "else", "dependentRequired", "dependentSchemas"})
"""Keywords that are followed: what they say stands in a case as parts of its own."""
_LISTS = ("allOf", "anyOf", "oneOf")
_SINGLE = ("not", "if", "then", "else")


class Fork(msgspec.Struct, frozen=True):
    """One of these must hold. `origin` and `keyword` say where the choice stands."""

    nodes: tuple[Node, ...]
    origin: Schema
    keyword: str


class Cases:
    """The cases of the schemas of one document. Where a part is left out, a case allows more, never less."""

    def __init__(self, definitions: dict[str, Node], places: dict[int, str], say: Say) -> None:
        self._definitions = definitions
        self.canonicals = Canonicals(definitions)
        self._places = places
        self._say = say
        self._derived: dict[str, Schema] = {}
        self._made_ids: set[int] = set()
        self._besides: dict[int, list[Node]] = {}
        self._choices: dict[int, list[Fork]] = {}
        self._naming = 0
        self._steps = 0

    def target(self, reference: str) -> Node:
        """The part that a reference of the document points to."""
        return self._definitions[definition(reference)]

    def derived(self, schema: Schema, origin: Schema) -> Schema:
        """A part that was not written but follows from one that was; the same one each time."""
        key = json.dumps([self._places.get(id(origin), ""), schema], default=id)
        if key not in self._derived:
            self._derived[key] = schema
            self._made_ids.add(id(schema))
            self._places[id(schema)] = self._places.get(id(origin), "#")
        return self._derived[key]

    def is_made(self, node: Schema) -> bool:
        """Whether a part was not written by the client."""
        return id(node) in self._made_ids

    def together(self, nodes: tuple[Node, ...]) -> list[Schema] | None:
        """These and all that must hold with them, whatever the choices; None where one of them is `false`."""
        found: dict[int, Schema] = {}
        waiting = list(reversed(nodes))
        while waiting:
            node = waiting.pop()
            if node is False:
                return None
            if isinstance(node, dict) and id(node) not in found:
                found[id(node)] = node
                waiting += reversed(self._beside(node))
        return list(found.values())

    def choice(self, node: Schema) -> tuple[Node, ...] | None:
        """The alternatives of a part that says nothing else."""
        if node.keys() not in ({"anyOf"}, {"oneOf"}):
            return None
        return self._forks(node)[0].nodes or None

    def refers(self, node: Node) -> bool:
        """Whether a part, or any that stands in its place, refers to another."""
        waiting = [node]
        while waiting:
            each = waiting.pop()
            if isinstance(each, dict):
                if "$ref" in each:
                    return True
                waiting += [inner for keyword in _LISTS for inner in each.get(keyword, ())]
                waiting += [each[keyword] for keyword in _SINGLE if keyword in each]
                waiting += each.get("dependentSchemas", {}).values()
        return False

    def of(self, nodes: tuple[Node, ...]) -> list[Case]:
        """The cases; none where nothing can match."""
        flat = self.together(nodes)
        if flat is None:
            return []
        done: list[Case] = []
        waiting = deque([(tuple(flat), tuple(fork for node in flat for fork in self._forks(node)))])
        while waiting:
            case, forks = waiting.popleft()
            count = len(done) + len(waiting)
            for index, fork in enumerate(forks):
                is_spent = count > MOST or self._steps > _STEPS
                ways = [] if is_spent else list(self._ways(case, fork))
                self._steps += len(ways) * len(case)
                if is_spent or (count and count + len(ways) > MOST):
                    self._say(fork.origin, fork.keyword, "it and its neighbours make too many combinations")
                    continue
                rest = forks[index + 1 :]
                waiting += [(way, (*rest, *more)) for way, more in ways]
                break
            else:
                done.append(case)
        return done

    def _ways(self, case: Case, fork: Fork) -> Iterator[tuple[Case, tuple[Fork, ...]]]:
        if any(node is True or node == {} for node in fork.nodes):
            yield case, ()
            return
        for node in fork.nodes:
            added = self.together((node,))
            if added is None:
                continue
            known = {id(each) for each in case}
            new = [each for each in added if id(each) not in known]
            if types((*case, *new)) and not told_apart(case, new):
                yield (*case, *new), tuple(more for each in new for more in self._forks(each))

    def _beside(self, node: Schema) -> list[Node]:
        """What must hold with a part, whatever is chosen."""
        if id(node) not in self._besides:
            # What it takes to tell may ask of the same part; nothing said of it is never too strict.
            self._besides[id(node)] = []
            beside: list[Node] = [self.target(node["$ref"])] if "$ref" in node else []
            beside += node.get("allOf", [])
            if "not" in node and (opposite := self._opposite(node, "not")) is not None:
                beside.append(opposite)
            if node.get("propertyNames", True) is not True:
                beside.append(self._named(node))
            self._besides[id(node)] = beside
        return self._besides[id(node)]

    def _forks(self, node: Schema) -> list[Fork]:
        """The choices that a part leaves."""
        if id(node) not in self._choices:
            self._choices[id(node)] = []
            self._choices[id(node)] = list(self._chosen(node))
        return self._choices[id(node)]

    def _chosen(self, node: Schema) -> Iterator[Fork]:
        if "anyOf" in node:
            yield Fork(tuple(node["anyOf"]), node, "anyOf")
        if "oneOf" in node:
            yield Fork(tuple(self._one_of(node)), node, "oneOf")
        if "if" in node and ("then" in node or "else" in node):
            yield Fork(tuple(self._if(node)), node, "if")
        for name, needed in node.get("dependentRequired", {}).items():
            present: Schema = {"required": list(dict.fromkeys((name, *needed)))}
            yield self._dependent(node, name, "dependentRequired", present)
        for name, needed in node.get("dependentSchemas", {}).items():
            yield self._dependent(node, name, "dependentSchemas", {"required": [name], "allOf": [needed]})

    def _named(self, node: Schema) -> Node:
        """What `propertyNames` says, in the words of `properties` and `patternProperties`."""
        if self._naming > _FEW:
            self._say(node, "propertyNames", "it stands in others of its kind")
            return True
        self._naming += 1
        cases = self.of((node["propertyNames"],))
        self._naming -= 1
        held: Schema = {"properties": {}, "patternProperties": {}, "additionalProperties": False}
        for case in cases:
            if "string" not in types(case):
                continue
            literal, patterns, sizes = names(case)
            if literal is not None:
                validator = jsonschema_rs.validator_for(self.canonicals.standing(*case))
                held["properties"] |= {name: True for name in literal if validator.is_valid(name)}
            elif len(patterns) + (sizes is not None) == 1:
                held["patternProperties"][patterns[0] if patterns else sizes] = True
            elif patterns or sizes:
                self._say(node, "propertyNames", "a grammar holds a name to one expression, or to a length")
                return True
            else:
                return True
        return self.derived(held, node)

    def _dependent(self, node: Schema, name: str, keyword: str, present: Schema) -> Fork:
        # Of what is no object nothing is demanded: both say so.
        absent = self.derived({"properties": {name: False}}, node)
        return Fork((absent, self.derived(present, node)), node, keyword)

    def _if(self, node: Schema) -> list[Node]:
        held = self.derived({"allOf": [node["if"], node.get("then", True)]}, node)
        opposite = self._opposite(node, "if")
        if opposite is None:
            return [held, node.get("else", True)]
        return [held, self.derived({"allOf": [node.get("else", True), opposite]}, node)]

    def _one_of(self, node: Schema) -> list[Node]:
        nodes: list[Node] = [each for each in node["oneOf"] if each is not False]
        if self._all_differ(nodes):
            return nodes
        clashing = self._clashing(nodes) if len(nodes) <= _MANY else []
        if clashing and not any(clashing):
            return nodes
        if len(nodes) <= _FEW:
            opposites = {id(each): self._turned(each, node) for each in nodes}
            if all(opposites[id(each)] is not None for others in clashing for each in others):
                return [
                    self.derived({"allOf": [each, *(opposites[id(other)] for other in others)]}, node)
                    for each, others in zip(nodes, clashing, strict=True)
                ]
        self._say(node, "oneOf", "nothing tells its alternatives apart, so it is read as anyOf")
        return nodes

    def _all_differ(self, nodes: list[Node]) -> bool:
        """Whether each is a list of values, and no value stands in two of them."""
        values = [limits(each) for each in nodes]
        listed = [each for each in values if each is not None]
        return len(listed) == len(nodes) and len(set[Any]().union(*listed)) == sum(map(len, listed))

    def _clashing(self, nodes: list[Node]) -> list[list[Node]]:
        """The others that each may match together with."""
        closely = len(nodes) <= _COMPARED
        # By their places: two alternatives may be the same `true`.
        clashing = [list[Node]() for _ in nodes]
        for (here, one), (there, other) in combinations(enumerate(nodes), 2):
            if not self._apart(one, other, closely):
                clashing[here].append(other)
                clashing[there].append(one)
        return clashing

    def _apart(self, first: Node, second: Node, closely: bool) -> bool:
        """Whether it is known that no value matches both."""
        one, other = self.together((first,)), self.together((second,))
        if one is None or other is None or not types((*one, *other)) or told_apart(one, other):
            return True
        return closely and self.canonicals.disjoint(first, second)

    def _opposite(self, node: Schema, keyword: str) -> Node | None:
        """What matches whenever `node[keyword]` does not; None, and told, where it cannot be written."""
        opposite = None if self.is_made(node) else self._turned(node[keyword], node)
        if opposite is None:
            self._say(node, keyword, "its opposite cannot be written as a grammar")
        return opposite

    def _turned(self, part: Node, node: Schema) -> Node | None:
        """The opposite of a part, as one that was made."""
        opposite = self.canonicals.opposite(part)
        if not isinstance(opposite, dict):
            return opposite
        waiting: list[Any] = [opposite]
        while waiting:
            each = waiting.pop()
            if isinstance(each, dict):
                # What is left of `not` in an opposite would only be turned round again.
                self._made_ids.add(id(each))
                self._places[id(each)] = self._places.get(id(node), "#")
            waiting += inner(each)
        return self.derived(opposite, node)
