"""A schema of any draft in the words of the newest one, standing alone.

Every reference points to `#/$defs/…`, keywords that no draft knows or whose value is broken are gone, and no part is
nested deeply. What it allows is what the client's schema allows by the draft that it names; one that names none is read
by the newest, and by an older one where only that gives a keyword a meaning.
"""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import msgspec

from antiphon.api.errors import BadRequest
from antiphon.constraint.schema.references import OfMeta, References, Unresolved
from antiphon.constraint.vocabulary import LIST, ONE, PLAIN, RECORD

Schema = dict[str, Any]

_DEEP = 40
"""Parts that are nested deeper become definitions: readers of schemas, ours too, recurse."""
_ALONE = ("draft-03", "draft-04", "draft-06", "draft-07")
"""Drafts by which a reference has no siblings."""

_APPLYING = frozenset(
    {"$ref", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"}
)
_RESTS = (
    ("unevaluatedProperties", "additionalProperties", _APPLYING),
    ("unevaluatedItems", "items", _APPLYING | {"contains"}),
)
"""What is said of the rest, the keyword that says it of all that are not listed, and those that may leave less."""


class Unheld(msgspec.Struct, frozen=True):
    """A keyword that the grammar does not hold the model to, so that a value must be checked. `path` is a JSON pointer
    into the client's schema."""

    path: str
    keyword: str
    reason: str


class Modern(msgspec.Struct, frozen=True):
    """`schema` stands alone; `places` are the JSON pointers into the client's own schema by the identity of each part;
    `broken` are the keywords that say nothing that could be understood, and are in it no more."""

    schema: Schema
    places: dict[int, str]
    broken: tuple[Unheld, ...]


def modern(schema: Schema, at: str = "") -> Modern:
    """The schema in the words of the newest draft. Raises BadRequest where a reference leads nowhere or elsewhere."""
    reading = _Reading(schema, at)
    root = reading.whole()
    return Modern(root, reading.places, tuple(reading.broken))


class _Reading:
    def __init__(self, schema: Schema, at: str) -> None:
        self._document = schema
        self._path = at
        self._references = References(schema)
        self._alone = any(draft in str(schema.get("$schema", "")) for draft in _ALONE)
        self._names: dict[int, str] = {}
        self._waiting: list[tuple[str, Any, str]] = []
        self.places: dict[int, str] = {}
        self.broken: list[Unheld] = []

    def whole(self) -> Schema:
        definitions: Schema = {}
        root = self._named(self._document, "#")
        while self._waiting:
            name, node, place = self._waiting.pop()
            definitions[name] = self._read(node, place, 0)
        return {**root, "$defs": definitions}

    def _named(self, node: Any, place: str) -> Schema:
        """A reference to a part that is read later, by itself."""
        if id(node) not in self._names:
            self._names[id(node)] = name = f"d{len(self._names)}"
            self._waiting.append((name, node, place))
        return {"$ref": f"#/$defs/{self._names[id(node)]}"}

    def _read(self, node: Any, place: str, depth: int) -> Any:
        if isinstance(node, bool):
            return node
        if not isinstance(node, dict):
            self.broken.append(Unheld(place, place.rpartition("/")[2], "it is not a schema"))
            return True
        if depth > _DEEP:
            return self._named(node, place)
        read: Schema = {}
        self.places[id(read)] = place
        for keyword, value in _renamed(node).items():
            if keyword == "$ref" or not (self._alone and "$ref" in node):
                self._keyword(read, keyword, value, node, f"{place}/{step(keyword)}", depth + 1)
        return read

    def _keyword(self, read: Schema, keyword: str, value: Any, node: Schema, place: str, depth: int) -> None:
        if keyword == "$ref":
            read |= self._referred(node, value, place)
        elif keyword in ONE:
            read[keyword] = self._read(value, place, depth)
        elif keyword in LIST and isinstance(value, list) and value:
            read[keyword] = [self._read(each, f"{place}/{index}", depth) for index, each in enumerate(value)]
        elif keyword in RECORD and isinstance(value, dict):
            named = {name: self._read(each, f"{place}/{step(name)}", depth) for name, each in value.items()}
            wrong = [name for name in named if keyword == "patternProperties" and not _is_pattern(name)]
            self._say(wrong, place, keyword)
            read[keyword] = {name: each for name, each in named.items() if name not in wrong}
            if wrong and "additionalProperties" in node:
                # Which members such a pattern speaks of cannot be known, so nothing holds for those that are not named.
                read["additionalProperties"] = True
        elif keyword in PLAIN and PLAIN[keyword](value) and (keyword != "pattern" or _is_pattern(value)):
            read[keyword] = _once(value) if keyword in ("required", "type") else value
        elif keyword in PLAIN or keyword in LIST or keyword in RECORD:
            self._say([str(value)], place, keyword)

    def _say(self, wrong: list[str], place: str, keyword: str) -> None:
        for value in wrong:
            kind = "a regular expression" if "attern" in keyword else "a value that this keyword can have"
            self.broken.append(Unheld(place.rpartition("/")[0], keyword, f"{value[:80]!r} is not {kind}"))

    def _referred(self, node: Schema, reference: Any, place: str) -> Schema:
        try:
            if not isinstance(reference, str):
                raise Unresolved("a reference must be a string")
            return self._named(self._references.target(node, reference), reference)
        except OfMeta as reason:
            self.broken.append(Unheld(place.rpartition("/")[0], "$ref", str(reason)))
            return {}
        except Unresolved as reason:
            raise BadRequest(f"{self._path or 'schema'} at {place}: {reason}") from None


def _renamed(node: Schema) -> Schema:
    """The keywords of older drafts by their newest names."""
    renamed = dict(node)
    for old in ("$recursiveRef", "$dynamicRef"):
        if old in renamed:
            renamed.setdefault("$ref", renamed.pop(old))
    if isinstance(renamed.get("items"), list):
        renamed["prefixItems"] = renamed.pop("items")
        if "additionalItems" in renamed:
            renamed["items"] = renamed["additionalItems"]
    renamed.pop("additionalItems", None)
    for rest, others, looking in _RESTS:
        # Where nothing beside it looks at members or items, too, the rest are all that are not listed.
        if rest in renamed and looking.isdisjoint(renamed):
            renamed.setdefault(others, renamed.pop(rest))
    for bound in ("inimum", "aximum"):
        exclusive = renamed.get(f"exclusiveM{bound}")
        if isinstance(exclusive, bool):
            del renamed[f"exclusiveM{bound}"]
            if exclusive and f"m{bound}" in renamed:
                renamed[f"exclusiveM{bound}"] = renamed.pop(f"m{bound}")
    dependencies = renamed.pop("dependencies", None)
    if isinstance(dependencies, dict):
        for keyword, kind in (("dependentRequired", list), ("dependentSchemas", dict | bool)):
            found = {name: needed for name, needed in dependencies.items() if isinstance(needed, kind)}
            if found:
                renamed.setdefault(keyword, found)
    needs = renamed.get("dependentRequired")
    if isinstance(needs, dict) and PLAIN["dependentRequired"](needs):
        renamed["dependentRequired"] = {name: _once(needed) for name, needed in needs.items()}
    return renamed


def _once(value: Any) -> Any:
    return list(dict.fromkeys(value)) if isinstance(value, list) else value


def step(name: str) -> str:
    """A name as a step of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def _is_pattern(pattern: str) -> bool:
    try:
        jsonschema_rs.validator_for({"pattern": pattern})
    except (ValueError, jsonschema_rs.ValidationError):
        return False
    return True
