"""What is wrong with a request, in the API's own form: a dotted path, a colon, a sentence."""

from __future__ import annotations

import re

from antiphon.api.errors import BadRequest

_MISSING = re.compile(r"^Object missing required field `(.+)`$")
_TYPE = re.compile(r"^Expected `(\w+)(?: \| \w+)*`(?:, got `.*`)?$")
_BOUND = re.compile(r"^Expected `\w+(?: \| \w+)*` (>=|<=|>|<) (\S+)$")
_LENGTH = re.compile(r"^Expected `(\w+)(?: \| \w+)*` of length (>=|<=) (\d+)$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[\.\.\.\]")

_KINDS = {
    "int": "a valid integer",
    "float": "a valid number",
    "str": "a valid string",
    "bool": "a valid boolean",
    "array": "a valid list",
    "object": "a valid dictionary",
}
_BOUNDS = {">=": "greater than or equal to", "<=": "less than or equal to", ">": "greater than", "<": "less than"}


def complaint(trouble: str, where: str = "") -> str:
    """A decoder's complaint in the API's form. `where` is the dotted path of what was decoded."""
    message, _, path = trouble.partition(" - at `$")
    steps = [where] if where else []
    steps += [name or number for name, number in _STEP.findall(path.rstrip("`")) if name or number]
    if missing := _MISSING.match(message):
        return ".".join([*steps, missing[1]]) + ": Field required"
    sentence = _sentence(message)
    return f"{'.'.join(steps)}: {sentence}" if steps else sentence


def _sentence(message: str) -> str:
    if match := _LENGTH.match(message):
        kind, side, length = match.groups()
        what = "String" if kind == "str" else "List"
        unit = ("character" if kind == "str" else "item") + ("" if length == "1" else "s")
        return f"{what} should have {'at least' if side == '>=' else 'at most'} {length} {unit}"
    if match := _BOUND.match(message):
        return f"Input should be {_BOUNDS[match[1]]} {match[2].removesuffix('.0')}"
    if (match := _TYPE.match(message)) and match[1] in _KINDS:
        return f"Input should be {_KINDS[match[1]]}"
    return message


def malformed(trouble: Exception, text: bytes) -> str:
    """What keeps a text from being JSON, and where it is."""
    if isinstance(trouble, RecursionError):
        return "The request body is nested too deeply"
    said = str(trouble).removeprefix("JSON is malformed: ")
    if "truncated" in said:
        said = f"unexpected end of data (byte {len(text)})"
    return f"The request body is not valid JSON: {said}"


def whole_number(text: str, field: str, least: int, most: int, *, meant: str = "") -> int:
    """The number that a query or a form gives for a field. `meant` says what the bounds are for, where that is not
    plain. Raises BadRequest."""
    digits = text.lstrip("0") or "0"
    if not text.isdecimal() or len(digits) > len(str(most)) or not least <= int(digits) <= most:
        raise BadRequest(f"{field}: Input should be a valid integer between {least} and {most}{meant}")
    return int(digits)
