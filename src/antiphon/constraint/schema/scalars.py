"""Numbers and strings of a lowered schema."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from antiphon.constraint.numerals import COUNTABLE
from antiphon.constraint.schema import formats
from antiphon.constraint.schema.case import Case, is_integer
from antiphon.constraint.schema.modern import Schema
from antiphon.constraint.schema.parts import Dead, Lowering, Part
from antiphon.constraint.schema.patterns import NOTHING, counts, problem

_LARGEST = Fraction(repr(sys.float_info.max))
"""No number that is written goes beyond."""
_COUNTED = 64
"""Multiples between two bounds that are written out."""
_MOST = 2**32 - 1
"""The largest factor that a grammar counts in, in the smallest decimal place that it has."""


def number(lowering: Lowering, case: Case) -> Part:
    """A number, or an integer."""
    integer = is_integer(case)
    lower, open_below = _bound(case, "minimum", "exclusiveMinimum", max)
    upper, open_above = _bound(case, "maximum", "exclusiveMaximum", min)
    step = _step(case, integer)
    whole = integer or (step is not None and step.denominator == 1)
    if (step is not None and step != 1) or whole:
        unit = step or Fraction(1)
        lower, open_below = _onto(lower, open_below, unit, math.ceil, 1)
        upper, open_above = _onto(upper, open_above, unit, math.floor, -1)
    if lower is not None and upper is not None and (lower > upper or (lower == upper and (open_below or open_above))):
        return Dead(
            _place(lowering, case, "number"),
            "no number lies between the bounds" + (" that is such a multiple" if step else ""),
        )
    held: Schema = {"type": "integer" if whole else "number"}
    if (step is not None and step != 1) or (step == 1 and not whole):
        count = (upper - lower) / step + 1 if lower is not None and upper is not None else None
        if count is not None and count <= _COUNTED:
            return (
                {"enum": [_plain(lower + index * step) for index in range(int(count))]} if lower is not None else held
            )
        if lowering.holds("multipleOf") and _is_countable(step) and counts(_plain(step)):
            held["multipleOf"] = _plain(step)
        else:
            _leave(lowering, case, "multipleOf", "the grammar cannot count in this step")
    for keyword, bound, is_open in (("inimum", lower, open_below), ("aximum", upper, open_above)):
        if bound is None or (-bound if keyword == "inimum" else bound) >= _LARGEST:
            continue
        if abs(bound) > (COUNTABLE if "multipleOf" in held else lowering.capability.bound):
            _leave(lowering, case, f"m{keyword}", "a bound of this size is not exact in a grammar")
        else:
            held[f"exclusiveM{keyword}" if is_open else f"m{keyword}"] = _plain(bound)
    return held


def _bound(case: Case, closed: str, opened: str, choose: Callable[..., Any]) -> tuple[Fraction | None, bool]:
    bounds = [(_fraction(node[key]), key == opened) for node in case for key in (closed, opened) if key in node]
    if not bounds:
        return None, False
    best = choose(value for value, _ in bounds)
    return best, any(is_open for value, is_open in bounds if value == best)


def _onto(
    bound: Fraction | None, is_open: bool, unit: Fraction, towards: Callable[[Fraction], int], inward: int
) -> tuple[Fraction | None, bool]:
    """The bound moved inward onto a multiple, which is allowed itself."""
    if bound is None:
        return None, False
    steps = towards(bound / unit)
    if is_open and steps * unit == bound:
        steps += inward
    return steps * unit, False


def _step(case: Case, integer: bool) -> Fraction | None:
    """The least number of which every allowed one is a multiple."""
    steps = [_fraction(node["multipleOf"]) for node in case if "multipleOf" in node]
    if not steps:
        return None
    whole = Fraction(1) if integer else steps[0]
    for step in steps:
        whole = Fraction(math.lcm(whole.numerator, step.numerator), math.gcd(whole.denominator, step.denominator))
    return whole


def _is_countable(step: Fraction) -> bool:
    written = Decimal(step.numerator) / Decimal(step.denominator)
    digits = -int(min(0, written.as_tuple().exponent))
    return Fraction(written) == step and digits <= 9 and step * 10**digits <= _MOST


def _fraction(value: float) -> Fraction:
    return Fraction(repr(value)) if isinstance(value, float) else Fraction(value)


def _plain(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


def string(lowering: Lowering, case: Case) -> Part:
    """A string. Its expressions are tried here, so that those which cannot be held are left out alone."""
    least = max((int(node["minLength"]) for node in case if "minLength" in node), default=0)
    most = min((int(node["maxLength"]) for node in case if "maxLength" in node), default=None)
    if most is not None and least > most:
        return Dead(
            _place(lowering, case, "minLength"), f"no string has at least {least} and at most {most} characters"
        )
    held = _expressions(lowering, case)
    if isinstance(held, Dead):
        return held
    if len(held) > 1 and not lowering.capability.length_beside_pattern and (least or most is not None):
        _leave(
            lowering, case, "minLength" if least else "maxLength", "the grammar holds no length beside an expression"
        )
        return held
    sized = {**held, **_lengths(lowering, case, least, most)}
    if len(held) > 1 and (wrong := problem(json.dumps(sized))):
        if wrong == NOTHING:
            return Dead(_place(lowering, case, "pattern"), "no string of the allowed lengths matches the expression")
        _leave(
            lowering, case, "minLength" if least else "maxLength", f"beside its expression it costs too much: {wrong}"
        )
        return held
    if least > lowering.capability.length:
        lowering.least[id(sized)] = least
    return sized


def _lengths(lowering: Lowering, case: Case, least: int, most: int | None) -> Schema:
    held: Schema = {}
    if least:
        held["minLength"] = min(least, lowering.capability.length)
    if most is not None and most <= lowering.capability.length:
        held["maxLength"] = most
    if least > lowering.capability.length or (most or 0) > lowering.capability.length:
        keyword = "minLength" if least > lowering.capability.length else "maxLength"
        _leave(lowering, case, keyword, f"a grammar counts up to {lowering.capability.length} characters")
    return held


def _expressions(lowering: Lowering, case: Case) -> Part:
    """A string with all its patterns and formats, as far as they can be held together."""
    held: Schema = {"type": "string"}
    for node in case:
        for keyword in ("pattern", "format"):
            if keyword not in node or (keyword == "format" and node["format"] not in formats.CHECKED):
                continue
            if not lowering.holds(keyword):
                lowering.say(node, keyword, "the grammar knows no expressions")
                continue
            more = (
                lowering.capability.formats.get(node["format"]) if keyword == "format" else {"pattern": node["pattern"]}
            )
            if more is None:
                lowering.say(node, keyword, "the grammar does not know this format")
                continue
            tried = _joined(held, more)
            wrong = problem(json.dumps(tried))
            if wrong == NOTHING:
                return Dead(f"{lowering.place(node)}/{keyword}", f"no string matches {node[keyword]!r}")
            if wrong or ("allOf" in tried and not lowering.holds("patternProperties")):
                lowering.say(
                    node, keyword, f"it cannot be held as a grammar: {wrong}" if wrong else "one expression is held"
                )
            else:
                held = tried
    return held


def _joined(held: Schema, more: Schema) -> Schema:
    if not held.keys() & more.keys():
        return {**held, **more}
    if any(held.get(key) == value for key, value in more.items()):
        return held
    return {**held, "allOf": [*held.get("allOf", []), {"type": "string", **more}]}


def _place(lowering: Lowering, case: Case, keyword: str) -> str:
    return next((lowering.place(node) for node in case if keyword in node), lowering.place(case[0]))


def _leave(lowering: Lowering, case: Case, keyword: str, reason: str) -> None:
    lowering.say(next((node for node in case if keyword in node), case[0]), keyword, reason)
