"""JSON values as rules of llguidance's Lark, from lowered schemas.

llguidance's own `%json` is used for all that it holds as well: strings, and whatever has no numbers and no expressions
for names in it. Numbers run on there without end, and names that match an expression may be none that is left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from antiphon.constraint import Json, numerals
from antiphon.constraint.legible import escapes, legible
from antiphon.constraint.searching import searched
from antiphon.constraint.vocabulary import definition, references

Part = dict[str, Any]
_json = json.JSONEncoder(ensure_ascii=False).encode
_RAW = r'[^"\\\x00-\x1F\x7F]'
_STRING = rf'"({_RAW}|\\(["\\bfnrt]|u00[01][0-9a-fA-F]|u007[fF]))*"'
_LONG = 100
"""Items that are listed one by one; they nest."""
_KEYWORDS = {
    "object": frozenset(
        {"properties", "required", "patternProperties", "additionalProperties", "minProperties", "maxProperties"}
    ),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "integer": frozenset({"minimum", "maximum", "multipleOf"}),
}


class JsonRules:
    """The rules of one schema. `rule` adds a rule and says its name, `named` adds one by a name that was promised."""

    def __init__(self, node: Json, rule: Callable[[str], str], named: Callable[[str, str], None], prefix: str) -> None:
        self._schema = node.schema
        # A model that was trained on JSON without blanks is not made to write them.
        item, key = (text.replace(" ", " ?") for text in (node.item_separator, node.key_separator))
        self._item, self._key = f"/{item}/", f"/{key}/"
        self._guidance = {
            # Left free, a weak model fills its budget with blanks.
            "whitespace_flexible": False,
            # Here no patterns: the llguidance within llama.cpp takes them to the letter, and writes the question mark.
            "item_separator": node.item_separator,
            "key_separator": node.key_separator,
        }
        self._rule = rule
        self._named = named
        self._prefix = prefix
        self._definitions: dict[str, Any] = node.schema.get("$defs", {})
        self._ready: dict[str, str] = {}
        self._terminals: dict[str, str] = {}
        self._any = ""
        self._owned: dict[str, str] = {}
        self._waiting: list[str] = []
        self._plain: dict[int, bool] = {}
        self._specials: set[str] = set()
        self._specials = self._special()

    def own(self) -> str:
        """An expression for a value that matches the schema, as llguidance makes it by itself."""
        return self._own({key: value for key, value in self._schema.items() if key != "$defs"})

    def whole(self) -> str:
        """An expression for a value that matches the schema."""
        rule = self._value({key: value for key, value in self._schema.items() if key != "$defs"})
        while self._waiting:
            name = self._waiting.pop()
            self._named(self._ready[name], self._value(self._definitions[name]))
        return rule

    def _special(self) -> set[str]:
        """The definitions that are not plain, by themselves or by what they refer to."""
        users: dict[str, list[str]] = {}
        for name, part in self._definitions.items():
            for reference in references(part):
                users.setdefault(definition(reference), []).append(name)
        waiting = [name for name, part in self._definitions.items() if not self._is_plain(part)]
        special: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in special:
                special.add(name)
                waiting += users.get(name, ())
        self._plain.clear()
        return special

    def _is_plain(self, part: Any) -> bool:
        """Whether llguidance holds this part as well by itself. So it does what is not lowered: nobody else can."""
        if not isinstance(part, dict):
            return part is not True
        if id(part) not in self._plain:
            self._plain[id(part)] = self._looks_plain(part)
        return self._plain[id(part)]

    def _looks_plain(self, part: Part) -> bool:
        if part.keys() == {"$ref"}:
            return definition(part["$ref"]) not in self._specials
        if part.keys() == {"anyOf"}:
            return all(map(self._is_plain, part["anyOf"]))
        if "enum" in part:
            return not any(map(escapes, part["enum"]))
        kind = part.get("type")
        if not isinstance(kind, str) or not _KEYWORDS.get(kind, frozenset()) >= part.keys() - {"type"}:
            return part != {}
        if kind == "object":
            inner = [*part.get("properties", {}).values(), part.get("additionalProperties", {})]
            return not part.get("patternProperties") and all(map(self._is_plain, inner))
        if kind == "array":
            listed = part.get("prefixItems", [])
            return len(listed) > _LONG or all(map(self._is_plain, [*listed, part.get("items", {})]))
        return kind not in ("number", "integer")

    def _value(self, part: Any) -> str:
        if part is True:
            return self._anything()
        if self._is_plain(part):
            return self._own(part)
        if "$ref" in part:
            return self._reference(definition(part["$ref"]))
        if "anyOf" in part:
            return self._rule(" | ".join(map(self._value, part["anyOf"])))
        if "enum" in part:
            return self._rule(self._terminal(" | ".join(_quoted(_json(value)) for value in part["enum"])))
        match part.get("type"):
            case "number" | "integer":
                return self._number(part)
            case "array":
                return self._array(part)
            case "object":
                return self._object(part)
        return self._anything()

    def _own(self, part: Part) -> str:
        needed: dict[str, Any] = {}
        if (written := _json(part)) in self._owned:
            return self._owned[written]
        waiting = [part] if '"$ref"' in written else []
        while waiting:
            for name in map(definition, references(waiting.pop())):
                if name not in needed and name in self._definitions:
                    needed[name] = self._definitions[name]
                    waiting.append(needed[name])
        whole = {"x-guidance": self._guidance, **legible(part)}
        if needed:
            whole["$defs"] = {name: legible(each) for name, each in needed.items()}
        return self._owned.setdefault(written, self._rule(f"%json {_json(whole)}"))

    def _reference(self, name: str) -> str:
        """The rule of a definition, which is written later: definitions may follow one another without end."""
        if name not in self._ready:
            self._ready[name] = f"{self._prefix}{len(self._ready)}"
            self._waiting.append(name)
        return self._ready[name]

    def _terminal(self, body: str) -> str:
        """The name of a terminal with this body; the same body is written once."""
        if body not in self._terminals:
            name = self._terminals[body] = f"{self._prefix.upper()}T{len(self._terminals)}"
            self._named(name, body)
        return self._terminals[body]

    def _number(self, part: Part) -> str:
        if "multipleOf" in part:
            return self._rule(" | ".join(self._steps(part)))
        alternatives = (numerals.integer if part["type"] == "integer" else numerals.number)(part)
        return self._rule(self._terminal(" | ".join(" & ".join(map(_slashed, each)) for each in alternatives)))

    def _steps(self, part: Part) -> Iterator[str]:
        """Numbers in steps, on which their bounds stand. Those below 0 have a sign of their own: the llguidance within
        llama.cpp counts none there."""
        lower, upper = part.get("minimum", -numerals.COUNTABLE), part.get("maximum", numerals.COUNTABLE)
        if upper >= 0:
            yield self._own({**part, "minimum": max(lower, 0), "maximum": upper})
        if lower < 0:
            yield f'"-" {self._own({**part, "minimum": max(-upper, part["multipleOf"]), "maximum": -lower})}'

    def _anything(self) -> str:
        if not self._any:
            self._any = f"{self._prefix}any"
            number = self._number({"type": "number"})
            string = self._own({"type": "string"})
            plain = self._own({"enum": [None, True, False]})
            array = f'"[" ({self._any} ({self._item} {self._any})*)? "]"'
            member = self._rule(f"{string} {self._key} {self._any}")
            self._named(
                self._any, f'{plain} | {number} | {string} | {array} | "{{" ({member} ({self._item} {member})*)? "}}"'
            )
        return self._any

    def _array(self, part: Part) -> str:
        least, most = part.get("minItems", 0), part.get("maxItems")
        prefix = part.get("prefixItems", [])[:most]
        rest = part.get("items", {})
        members = [(self._value(each), index < least) for index, each in enumerate(prefix)]
        if rest is not False and (most is None or most > len(prefix)):
            more = None if most is None else most - len(prefix)
            members.append((self._times(self._value(rest), least - len(prefix), more), least > len(prefix)))
        return self._rule(f'"[" {self._listed(members, nested=True)} "]"')

    def _object(self, part: Part) -> str:
        required = part.get("required", [])
        names = list(dict.fromkeys([*part.get("properties", {}), *required]))
        members = []
        for name in names:
            value = part.get("properties", {}).get(name, part.get("additionalProperties", {}))
            if value is not False:
                members.append((self._member(_quoted(_json(name)), value), name in required))
        others = self._others(part, names)
        counted = {"minProperties", "maxProperties"} & part.keys()
        if others is None or ((counted and not all(needed for _, needed in members)) or (counted and not others)):
            return self._own(part)
        if others:
            fewest = part.get("minProperties", 0) - len(members)
            most = part["maxProperties"] - len(members) if "maxProperties" in part else None
            if most is None or most > 0:
                members.append((self._times(self._rule(" | ".join(others)), fewest, most), fewest > 0))
        return self._rule(f'"{{" {self._listed(members)} "}}"')

    def _times(self, item: str, fewest: int, most: int | None) -> str:
        """The item at least once, with separators between."""
        if most == 1:
            return item
        upper = "" if most is None else str(most - 1)
        return self._rule(f"{item} ({self._item} {item}){{{max(fewest - 1, 0)},{upper}}}")

    def _member(self, key: str, value: Part) -> str:
        return self._rule(f"{key} {self._key} {self._value(value)}")

    def _others(self, part: Part, names: list[str]) -> list[str] | None:
        """The members that are not listed, by kind; None where a name's expression can only be left to `%json`."""
        matching = {each: searched(each) for each in part.get("patternProperties", {})}
        if None in matching.values():
            return None
        listed = f"({'|'.join(map(re.escape, names))})"
        taken = f" & ~{_slashed(listed)}" if names else ""
        members = []
        for each, value in part.get("patternProperties", {}).items():
            if value is not False:
                members.append(self._member(self._name(f"{_slashed(matching[each] or '')} & /{_RAW}*/{taken}"), value))
        value = part.get("additionalProperties", {})
        if value is not False and matching:
            none = "".join(f" & ~{_slashed(each or '')}" for each in matching.values())
            members.append(self._member(self._name(f"/{_RAW}*/{none}{taken}"), value))
        elif value is not False:
            quoted = "|".join(re.escape(_json(name)) for name in names)
            name = self._terminal(_slashed(_STRING) + (f" & ~{_slashed(quoted)}" if names else ""))
            members.append(self._member(name, value))
        return members

    def _name(self, body: str) -> str:
        """A quoted name whose letters match. Those that need an escape are left out."""
        return f'"\\"" {self._terminal(body)} "\\""'

    def _listed(self, members: list[tuple[str, bool]], *, nested: bool = False) -> str:
        """Members in order with separators, those that are not required left out or not. With `nested`, one that is
        left out leaves out all behind it."""
        if not members:
            return ""
        if nested:
            rule = ""
            for index, (member, needed) in reversed(list(enumerate(members))):
                rule = f"{self._item} {member} {rule}" if index else f"{member} {rule}"
                rule = rule if needed else f"({rule})?"
            return rule
        first = self._first(members)
        return first if any(needed for _, needed in members) else f"({first})?"

    def _first(self, members: list[tuple[str, bool]]) -> str:
        """At least one of the members. Halved, and not one after the other: rules nest only so deep."""
        if len(members) == 1:
            return members[0][0]
        half = len(members) // 2
        left, right = members[:half], members[half:]
        both = f"{self._first(left)} {self._rest(right)}"
        return self._rule(both if any(needed for _, needed in left) else f"{both} | {self._first(right)}")

    def _rest(self, members: list[tuple[str, bool]]) -> str:
        """The members behind another."""
        if len(members) == 1:
            member, needed = members[0]
            return f"{self._item} {member}" if needed else f"({self._item} {member})?"
        half = len(members) // 2
        return self._rule(f"{self._rest(members[:half])} {self._rest(members[half:])}")


def _quoted(text: str) -> str:
    return _json(text) if text else '""'


def _slashed(regex: str) -> str:
    return "/" + re.sub(r"\\.|/", lambda found: "\\/" if found[0] == "/" else found[0], regex, flags=re.DOTALL) + "/"
