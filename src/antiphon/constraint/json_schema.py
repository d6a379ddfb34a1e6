"""Constraints as one JSON schema, for engines that can be held to that and to nothing else."""

from __future__ import annotations

import json

from antiphon.constraint import Inexpressible, Json, Node
from antiphon.constraint.markers import TokenId


def lower(node: Node, token_id: TokenId) -> str:
    """The schema. Raises Inexpressible where more than a value of JSON is demanded."""
    if isinstance(node, Json):
        return json.dumps(node.schema, ensure_ascii=False)
    raise Inexpressible("this engine can enforce a JSON schema only, not the form of a tool call or of thinking")


def problem(schema: str) -> str:
    """Nothing is known of what the engine compiles."""
    return ""
