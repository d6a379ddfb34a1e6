"""Any schema for one dialect: the largest grammar that holds no value back, and what is left to check."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import jsonschema_rs
import msgspec

from antiphon.api.errors import BadRequest
from antiphon.constraint import Json, lark
from antiphon.constraint.schema import containers, scalars
from antiphon.constraint.schema.capabilities import CAPABILITIES, Capability
from antiphon.constraint.schema.case import TYPE_OF, Case, Node, is_integer, speaks_of, types
from antiphon.constraint.schema.cases import FOLLOWED, Cases
from antiphon.constraint.schema.containers import either
from antiphon.constraint.schema.modern import Modern, Schema, Unheld, modern
from antiphon.constraint.schema.parts import Dead, Lowering, Part
from antiphon.constraint.schema.trimming import Trimming, depth, spread
from antiphon.constraint.vocabulary import TYPES

_SHAPES: dict[str, Callable[[Lowering, Case], Part]] = {
    "number": scalars.number,
    "string": scalars.string,
    "array": containers.array,
    "object": containers.object_,
}
_LITERAL = frozenset({"enum", "const", "type", "format"})
"""Keywords beside which the values of an enumeration need no check but that of their type."""
_DOUBLE = 2**53
_DEEPEST = 300
"""Parts within parts. Engines go down them on their stack, and one that is too deep ends their process."""
_SPREAD = 10
"""How often a part may stand in a schema, on average."""
_HOPS = 32
"""References that are followed from one to the next."""


class Lowered(msgspec.Struct, frozen=True):
    """What the grammar is made of, and what it lets pass. Where `unheld` is empty, all that the grammar allows matches
    the client's schema."""

    schema: Schema
    unheld: tuple[Unheld, ...] = ()


def lower(
    schema: Schema,
    dialect: str,
    *,
    path: str = "",
    window: int | None = None,
    closing: bool = True,
    compiled: bool = True,
) -> Lowered:
    """The schema for a dialect (by the name that engines describe themselves with). `path` is where it stands in the
    request, for errors; `window` is the room for a value in tokens, where it is known. With `closing`, objects that
    list their members have no others. Where it is `compiled`, less is held of a schema whose parts can all be held and
    which cannot as a whole; parts are tried in any case. Raises BadRequest, with the path, for a schema that refers to
    another host or to nothing, or that no value can match. May take some 10 ms; the same schema costs nothing the
    second time."""
    try:
        written = json.dumps(schema)
    except RecursionError:
        raise BadRequest(f"{path or 'schema'}: it is nested too deeply to be read") from None
    return lowered(written, dialect, path, window, closing, compiled)


@lru_cache(maxsize=512)
def lowered(schema: str, dialect: str, path: str, window: int | None, closing: bool, compiled: bool) -> Lowered:
    """What `lower` gives for a schema as JSON, remembered."""
    read = modern(json.loads(schema), path)
    left: tuple[Unheld, ...] = ()
    for capability in _rungs(CAPABILITIES[dialect]):
        whole = _Lowering(read, capability, closing)
        try:
            held = whole.whole(window)
            if isinstance(held, Dead):
                raise BadRequest(f"{path or 'schema'} at {held.place}: no value can match: {held.reason}")
            if not (problem := _problem(held, dialect, compiled)):
                return Lowered(held, (*whole.unheld.values(), *left))
        except _TooLarge as reason:
            problem = str(reason)
        left = (Unheld("#", "*", f"a grammar of all of it costs too much: {problem.partition(chr(10))[0]}"),)
    return Lowered({}, left)


def _problem(held: Schema, dialect: str, compiled: bool) -> str:
    """Why the whole cannot be given to an engine, though each part can; empty where it can."""
    if depth(held) > _DEEPEST:
        return "its parts stand too deep within one another"
    return lark.problem(lark.lower(Json(held), lambda text: None)) if compiled and dialect == "llguidance" else ""


def _rungs(capability: Capability) -> Iterator[Capability]:
    """What a dialect can hold, and less and less, for a schema of which each part can be held and the whole cannot."""
    yield capability
    keywords = capability.keywords - {"pattern", "patternProperties", "format", "multipleOf"}
    for share in (8, 64):
        yield msgspec.structs.replace(
            capability,
            keywords=keywords,
            parts=capability.parts // share,
            choices=capability.choices // share,
            members=capability.members // share,
            items=capability.items // share,
            references=capability.references // share,
        )


class _TooLarge(Exception):
    """What each part says is little, and all of it written out is not."""


class _Lowering:
    def __init__(self, read: Modern, capability: Capability, closing: bool) -> None:
        self.capability = capability
        self.closing = closing
        self.least: dict[int, int] = {}
        self._places = dict(read.places)
        self._root = read.schema
        self.cases = Cases(read.schema["$defs"], self._places, self.say)
        self.unheld: dict[tuple[str, str], Unheld] = {}
        for each in read.broken:
            self.unheld.setdefault((each.path, each.keyword), each)
        self._parts: dict[tuple[int, ...], Part] = {}
        self._validators: dict[tuple[int, bool], jsonschema_rs.Validator] = {}
        self._definitions: dict[str, Part] = {}
        self._waiting: deque[tuple[str, tuple[Node, ...], str, int]] = deque()
        self._level = 0
        self._count = 0

    def whole(self, window: int | None) -> Part:
        """The whole schema, with its definitions, without what no value fits."""
        root = self.part((self._root["$defs"]["d0"],), "#")
        while self._waiting:
            name, nodes, place, self._level = self._waiting.popleft()
            self._definitions[name] = self._part(nodes, place)
        if self._count > self.capability.parts:
            self.say(self._root, "*", f"a grammar has up to {self.capability.parts} parts")
        if (size := spread((root, *self._definitions.values()))) > self.capability.parts * _SPREAD:
            raise _TooLarge(f"it would have {size} parts")
        return Trimming(self._definitions, self.least, window).whole(root)

    def say(self, node: Schema, keyword: str, reason: str) -> None:
        place = self.place(node)
        self.unheld.setdefault((place, keyword), Unheld(place, keyword, reason))

    def place(self, node: Schema) -> str:
        return self._places.get(id(node), "#")

    def holds(self, keyword: str) -> bool:
        return keyword in self.capability.keywords

    def part(self, nodes: tuple[Node, ...], place: str) -> Part:
        held = tuple(
            {id(node): node for node in map(self._followed, nodes) if node is not True and node != {}}.values()
        )
        if not held:
            return {}
        key = tuple(map(id, held))
        if key not in self._parts:
            # What is referred to may refer back: it gets a name, and is made later.
            if any(map(self.cases.refers, nodes)):
                if self._level >= self.capability.references:
                    self._leave(held, "$ref", f"a grammar follows {self.capability.references} references")
                    return {}
                name = f"p{len(self._definitions)}"
                self._definitions[name] = {}
                self._parts[key] = {"$ref": f"#/$defs/{name}"}
                self._waiting.append((name, held, place, self._level + 1))
            else:
                self._parts[key] = self._part(held, place)
        return self._parts[key]

    def _leave(self, nodes: tuple[Node, ...], keyword: str, reason: str) -> None:
        for node in nodes:
            if isinstance(node, dict):
                self.say(node, keyword, reason)

    def _followed(self, node: Node) -> Node:
        """What a part that is a reference and nothing else refers to, so that all who do share it."""
        for _ in range(_HOPS):
            if not isinstance(node, dict) or node.keys() != {"$ref"}:
                break
            node = self.cases.target(node["$ref"])
        return node

    def _part(self, nodes: tuple[Node, ...], place: str) -> Part:
        flat = self.cases.together(nodes)
        if flat is None:
            return Dead(place, "`false` allows nothing")
        if self._count > self.capability.parts:
            return {}
        if (values := self._literal(flat)) is not None:
            return values
        if len(flat) == 1 and (choice := self.cases.choice(flat[0])) is not None:
            return either([self.part((each,), place) for each in choice])
        cases = self.cases.of(nodes)
        if not cases:
            return Dead(place, "what is demanded together excludes each other")
        return self._united([self._of_case(case, place) for case in cases])

    def _literal(self, flat: Sequence[Schema], *, chosen: bool = False) -> Part | None:
        """The values of an enumeration that match all else, too; None where there is none that a grammar can hold. What
        was `chosen` of the parts stands beside them, and their choices are not asked again."""
        literal = [node for node in flat if "enum" in node or "const" in node]
        if not literal:
            return None
        node = min(literal, key=lambda node: len(node.get("enum", ())))
        values = [node["const"]] if "const" in node else node["enum"]
        keyword = "const" if "const" in node else "enum"
        size = len(json.dumps(values))
        if len(values) > self.capability.choices or size > self.capability.choices_text:
            self.say(node, keyword, f"a grammar has up to {self.capability.choices} choices")
            return None
        if any(isinstance(value, int | float) and abs(value) > _DOUBLE for value in values):
            self.say(node, keyword, "a number of this size is not exact in a grammar")
            return None
        left_out = FOLLOWED if chosen else frozenset[str]()
        said_twice = len(literal) > 1 or {"const", "enum"} <= node.keys()
        if said_twice or not all(each.keys() <= _LITERAL | left_out for each in flat):
            validators = [self._validator(each, left_out) for each in flat]
            values = [value for value in values if all(each.is_valid(value) for each in validators)]
        else:
            allowed = types(tuple(flat))
            values = [value for value in values if TYPE_OF[type(value)] in allowed and self._is_whole(flat, value)]
        if not values:
            return Dead(self.place(node), f"none of the values of {keyword} fits what is said beside it")
        return {"enum": values}

    def _validator(self, node: Schema, left_out: frozenset[str]) -> jsonschema_rs.Validator:
        """What tells whether a value fits a part, but for these keywords. The same parts stand in many cases."""
        key = (id(node), bool(left_out))
        if key not in self._validators:
            said = {keyword: node[keyword] for keyword in node.keys() - left_out}
            standing = self.cases.canonicals.standing(said)
            self._validators[key] = jsonschema_rs.validator_for(standing, offline=True)
        return self._validators[key]

    def _is_whole(self, flat: Sequence[Schema], value: Any) -> bool:
        return not is_integer(tuple(flat)) or not isinstance(value, float) or value.is_integer()

    def _of_case(self, case: Case, place: str) -> list[Part | str]:
        """What a case allows of each type: a part, or the type's name where all of it is allowed."""
        if (values := self._literal(case, chosen=True)) is not None:
            return [values]
        held: list[Part | str] = []
        for kind in types(case):
            if speaks_of(case, kind) and self._count <= self.capability.parts:
                self._count += len(case) + sum(len(node.get("properties", ())) for node in case)
                held.append(_SHAPES[kind](self, case))
            else:
                held.append("integer" if kind == "number" and is_integer(case) else kind)
        return held or [Dead(place, "no type is allowed by all that is demanded together")]

    def _united(self, cases: list[list[Part | str]]) -> Part:
        plain = {each for case in cases for each in case if isinstance(each, str)}
        if plain >= set(TYPES):
            return {}
        if "number" in plain:
            plain.discard("integer")
        parts: list[Part] = []
        for case in cases:
            for each in case:
                if not isinstance(each, str):
                    if isinstance(each, Dead) or each.get("type") not in plain:
                        parts.append(each)
                elif each in plain:
                    plain.discard(each)
                    parts.append({"type": each})
                    plain.add(each)
        return either(parts)
