"""Numbers of JSON as regular expressions, bounded in value and in digits.

A sampled number has no end by itself: what no double and no 64-bit integer could tell apart is not written.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

All = tuple[str, ...]
"""Regular expressions of which a text must match each."""

COUNTABLE = 10**18 - 1
"""Up to here a grammar counts in steps."""
_DIGITS = 17
"""Digits that a double tells apart."""
_PLACES = 25
"""Digits behind the point: more, since a small number begins with zeros there."""
_WORD = 19
"""Digits of a 64-bit integer."""
# With so many digits before the point, this is what a double holds of powers of ten.
_EXPONENT = r"\+?([01]?[0-9]{1,2}|2[0-8][0-9]|29[01])|-[0-9]{1,3}"
_FREE = rf"(0|[1-9][0-9]{{0,{_DIGITS - 1}}})(\.[0-9]{{1,{_DIGITS}}})?([eE]({_EXPONENT}))?"
_NOT_ZERO = r"[^1-9eE]*[1-9].*"


def integer(schema: dict[str, Any]) -> list[All]:
    """An integer between the bounds of a schema, as alternatives."""
    if "minimum" not in schema and "maximum" not in schema:
        return [(rf"-?(0|[1-9][0-9]{{0,{_WORD - 1}}})",)]
    return _between(_bound(schema, "inimum"), _bound(schema, "aximum"), is_whole=True)


def number(schema: dict[str, Any]) -> list[All]:
    """Any number between the bounds of a schema, as alternatives. Beside a bound other than 0 it has no exponent."""
    lower, upper = _bound(schema, "inimum"), _bound(schema, "aximum")
    bounds = [bound for bound in (lower, upper) if bound[0] is not None]
    if len(bounds) == 2 or any(value != 0 for value, _ in bounds):
        return _between(lower, upper, is_whole=False)
    sign = "-?" if not bounds else "" if upper[0] is None else "-"
    if any(is_open for _, is_open in bounds):
        return [(f"{sign}{_FREE}", f"-?{_NOT_ZERO}")]
    return [(f"{sign}{_FREE}",), *([("0",)] if sign == "-" else [])]


Bound = tuple[Decimal | None, bool]
"""A bound and whether it is open, that is, not itself allowed."""


def _bound(schema: dict[str, Any], name: str) -> Bound:
    for keyword, is_open in ((f"exclusiveM{name}", True), (f"m{name}", False)):
        if keyword in schema:
            return Decimal(repr(schema[keyword])), is_open
    return None, False


def _between(lower: Bound, upper: Bound, *, is_whole: bool) -> list[All]:
    alternatives: list[All] = []
    if upper[0] is None or upper[0] > 0 or (upper[0] == 0 and not upper[1]):
        least = lower if lower[0] is not None and lower[0] >= 0 else (Decimal(0), False)
        alternatives.append(_positive(least, upper, is_whole, ""))
    if lower[0] is None or lower[0] < 0:
        least = (-upper[0], upper[1]) if upper[0] is not None and upper[0] <= 0 else (Decimal(0), True)
        most = lower if lower[0] is None else (-lower[0], lower[1])
        alternatives.append(_positive(least, most, is_whole, "-"))
    return alternatives


def _positive(lower: Bound, upper: Bound, is_whole: bool, sign: str) -> All:
    """A number that is not negative, behind a sign."""
    parts = [_split(bound[0]) for bound in (lower, upper) if bound[0] is not None]
    digits = max(_WORD if upper[0] is None else 1, *(len(whole) for whole, _ in parts))
    places = max(_PLACES, *(len(places) + 2 for _, places in parts))
    tail = "" if is_whole else rf"(\.[0-9]{{1,{places}}})?"
    patterns = [f"{sign}(0|[1-9][0-9]{{0,{digits - 1}}}){tail}"]
    if lower[0] is not None and (lower[0] > 0 or lower[1]):
        patterns.append(f"{sign}({_at_least(*_split(lower[0]), lower[1], is_whole)})")
    if upper[0] is not None:
        patterns.append(f"{sign}({_at_most(*_split(upper[0]), upper[1], is_whole)})")
    return tuple(patterns)


def _split(bound: Decimal) -> tuple[str, str]:
    """The digits before and behind the point."""
    whole, _, places = format(bound, "f").partition(".")
    return whole, places.rstrip("0")


def _at_least(whole: str, places: str, is_open: bool, is_whole: bool) -> str:
    tail = "" if is_whole else r"(\..*)?"
    ways = [rf"[1-9][0-9]{{{len(whole)},}}{tail}"]
    for index, digit in enumerate(whole):
        if digit < "9":
            ways.append(f"{whole[:index]}[{int(digit) + 1}-9][0-9]{{{len(whole) - index - 1}}}{tail}")
    if is_whole:
        return "|".join([*ways, *([] if is_open else [whole])])
    if not places:
        return "|".join([*ways, whole + (r"\.[0-9]*[1-9].*" if is_open else tail)])
    more = [f"{places[:index]}[{int(digit) + 1}-9].*" for index, digit in enumerate(places) if digit < "9"]
    more.append(places + ("0*[1-9].*" if is_open else ".*"))
    return "|".join([*ways, rf"{whole}\.({'|'.join(more)})"])


def _at_most(whole: str, places: str, is_open: bool, is_whole: bool) -> str:
    tail = "" if is_whole else r"(\..*)?"
    ways = [rf"(0|[1-9][0-9]{{0,{len(whole) - 2}}}){tail}"] if len(whole) > 1 else []
    for index, digit in enumerate(whole):
        least = 1 if index == 0 and len(whole) > 1 else 0
        if int(digit) > least:
            ways.append(f"{whole[:index]}[{least}-{int(digit) - 1}][0-9]{{{len(whole) - index - 1}}}{tail}")
    if not places:
        ways += [] if is_open else [whole + ("" if is_whole else r"(\.0+)?")]
        return "|".join(ways)
    less = [f"{places[:index]}[0-{int(digit) - 1}].*" for index, digit in enumerate(places) if digit > "0"]
    less += [places[:index] for index in range(1, len(places))]
    less += [] if is_open else [places + "0*"]
    return "|".join([*ways, rf"{whole}(\.({'|'.join(less)}))?"])
