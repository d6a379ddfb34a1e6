"""Schemas in a canonical form, in which they can be compared and turned round."""

from __future__ import annotations

import json

import jsonschema_rs
from jsonschema_rs import canonical

from antiphon.constraint.schema.case import Node
from antiphon.constraint.schema.modern import Schema
from antiphon.constraint.vocabulary import definition, references

_LONGEST = 6_000
"""Characters of a schema that is brought into this form."""


class Canonicals:
    """The canonical forms of the parts of one document, which may refer to its `definitions`."""

    def __init__(self, definitions: dict[str, Node]) -> None:
        self._definitions = definitions
        self._known: dict[int, jsonschema_rs.CanonicalSchema | None] = {}

    def disjoint(self, first: Node, second: Node) -> bool:
        """Whether it is certain that no value matches both."""
        one, other = self._of(first), self._of(second)
        if one is None or other is None:
            return False
        try:
            both = one.intersect(other)
        except ValueError:
            return False
        return bool(both.satisfiability() == canonical.Satisfiability.NO)

    def opposite(self, node: Node) -> Node | None:
        """What matches whenever a part does not; None where that cannot be written."""
        if isinstance(node, bool):
            return not node
        form = self._of(node)
        try:
            opposite = None if form is None else form.negate().to_json_schema()
        except ValueError:
            return None
        # Definitions of its own would need names; a part that goes on for ever has no opposite of a known size.
        return opposite if isinstance(opposite, dict) and "$ref" not in json.dumps(opposite) else None

    def _of(self, node: Node) -> jsonschema_rs.CanonicalSchema | None:
        """The form of a part; None for one that is too large for that."""
        if id(node) not in self._known:
            whole = self.standing(node)
            form = None
            try:
                if len(json.dumps(whole)) <= _LONGEST:
                    form = jsonschema_rs.canonicalize(whole, offline=True, validate_formats=False)
            except (ValueError, RecursionError, jsonschema_rs.ValidationError):
                form = None
            self._known[id(node)] = form
        return self._known[id(node)]

    def standing(self, *nodes: Node) -> Schema:
        """A schema that says all that these say, with the definitions that they refer to."""
        definitions: dict[str, Node] = {}
        waiting = list(references(*nodes))
        while waiting:
            name = definition(waiting.pop())
            if name not in definitions:
                definitions[name] = self._definitions[name]
                waiting += references(definitions[name])
        root: Schema = {**nodes[0]} if len(nodes) == 1 and isinstance(nodes[0], dict) else {"allOf": list(nodes)}
        return {**root, "$defs": definitions} if definitions else root
