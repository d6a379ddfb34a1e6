"""Schemas that were made to hurt come to a grammar of bounded size or to a refusal, and to nothing else."""

from __future__ import annotations

import json

import jsonschema_rs

from antiphon.api.errors import BadRequest
from antiphon.constraint import Json, lark
from antiphon.constraint.schema import lower
from antiphon.constraint.schema.modern import modern
from antiphon.constraint.schema.trimming import spread
from bench.hostile import outcome, schemas

NUMBER = 102
LARGEST = 4_000_000


def test_hostile_schemas_are_held_or_refused():
    """Each is held, held in part, or refused with a place."""
    told = {outcome(schema) for _, schema in schemas(NUMBER)}
    assert told == {"held", "in part", "refused"}


def test_no_grammar_is_out_of_proportion():
    """No grammar is out of proportion, whatever the schema asks for."""
    for kind, schema in schemas(NUMBER, seed=1):
        try:
            lowered = lower(schema, "llguidance", window=4096)
        except BadRequest:
            continue
        grammar = lark.lower(Json(lowered.schema), lambda text: None)
        assert len(grammar) < LARGEST, kind


def test_can_be_checked():
    """What is left of a schema in the words of the newest draft is one that values can be checked against."""
    for _, schema in schemas(NUMBER, seed=2):
        try:
            json.dumps(schema)
            read = modern(schema).schema
        except (BadRequest, RecursionError):
            continue
        jsonschema_rs.Draft202012Validator(read, offline=True)


def test_shared_parts_are_counted_where_they_stand():
    """How much would be written is known without writing it, where parts share others on every level."""
    part: dict[str, object] = {"type": "null"}
    for _ in range(60):
        part = {"anyOf": [part, part]}
    assert spread([part]) == 2**61 - 1
