"""What regular expressions match, asked of the two engines that read them here: the checker's, which knows all of
ECMA 262, and the grammar's, which knows no look-around but can tell whether anything is left."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import jsonschema_rs
import llguidance

from antiphon.constraint import compiler

_BYTES = llguidance.LLTokenizer("byte")
_FUEL = 300_000
# The small vocabulary that is tried here costs less than a real one, by a third to a half where it matters.
_STEP_FUEL = compiler.STEP_FUEL // 3
_LIMITS = llguidance.LLParserLimits(initial_lexer_fuel=_FUEL, verbose_errors=False)
NOTHING = "nothing"
"""The problem of a string that can match, but not any text."""


def matches(pattern: str, text: str) -> bool:
    """Whether the expression matches somewhere in the text."""
    return bool(_matcher(pattern).is_valid(text))


@lru_cache(maxsize=256)
def _matcher(pattern: str) -> Any:
    return jsonschema_rs.validator_for({"pattern": pattern})


@lru_cache(maxsize=4096)
def problem(string: str) -> str:
    """Why a schema of a string, as JSON, cannot be held: NOTHING where no text matches, else why it does not compile;
    empty when it does."""
    said = compiler.problem_within("llguidance", _grammar(json.loads(string)), b'"', fuel=_FUEL, step_fuel=_STEP_FUEL)
    lines = said.strip().splitlines() or [""]
    # What is wrong with an expression is told below a drawing of where.
    told = (line.removeprefix("error: ") for line in lines if line.startswith("error: "))
    return NOTHING if "Unsatisfiable" in said else next(told, lines[0])


@lru_cache(maxsize=4096)
def counts(step: float) -> bool:
    """Whether a grammar can count in this step."""
    return not compiler.problem("llguidance", _grammar({"type": "number", "multipleOf": step}), fuel=_FUEL)


def apart(first: str, second: str) -> bool:
    """Whether it is known that no text matches both expressions."""
    both = {"type": "string", "allOf": [{"pattern": first}, {"pattern": second}]}
    return problem(json.dumps(both)) == NOTHING


@lru_cache(maxsize=1024)
def is_exhausted(names: tuple[str, ...], alive: tuple[str, ...], dead: tuple[str, ...], others: bool) -> bool:
    """Whether an object with members of all these names can have no other member: one whose name matches one of the
    `alive` expressions, or neither of any, where there may be `others`, is there none."""
    null = {"type": "null"}
    schema = {
        "type": "object",
        "properties": dict.fromkeys(names, null),
        "required": list(names),
        "patternProperties": {**dict.fromkeys(alive, null), **dict.fromkeys(dead, False)},
        "additionalProperties": null if others else False,
    }
    matcher = llguidance.LLMatcher(_BYTES, _grammar(schema), log_level=0, limits=_LIMITS)
    written = ",".join(f"{json.dumps(name, ensure_ascii=False)}:null" for name in names)
    text = f"{{{written}," if names else "{"
    if matcher.is_error() or matcher.try_consume_tokens(list(text.encode())) < len(text.encode()):
        return not matcher.is_error()
    mask = matcher.compute_bitmask()
    return matcher.is_error() or not mask[ord('"') // 8] >> (ord('"') % 8) & 1


def _grammar(schema: dict[str, Any]) -> str:
    whole = {"x-guidance": {"whitespace_flexible": False}, **schema}
    return json.dumps({"grammars": [{"json_schema": whole}]})
