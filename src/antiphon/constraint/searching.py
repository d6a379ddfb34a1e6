"""Regular expressions of JSON Schema, which match anywhere in a text, as those of grammars, which match all of it."""

from __future__ import annotations

import re

_ASCII = {r"\d": "[0-9]", r"\D": "[^0-9]", r"\w": "[a-zA-Z0-9_]", r"\W": "[^a-zA-Z0-9_]"}


def searched(pattern: str) -> str | None:
    """The expression as one that matches whole texts; None where it does not begin and end in one way."""
    branches, index, depth, group = [""], 0, 0, False
    while index < len(pattern):
        step = pattern[index : index + 2] if pattern[index] == "\\" else pattern[index]
        index += len(step)
        if step in (r"\b", r"\B"):
            return None
        if not group and step == "|" and depth == 0:
            branches.append("")
            continue
        group = step == "[" or (group and step != "]")
        depth += 0 if group else (step == "(") - (step == ")")
        branches[-1] += _ASCII.get(step, step)
    anchored = [_anchored(branch) for branch in branches]
    return None if None in anchored else "|".join(each or "" for each in anchored)


def _anchored(branch: str) -> str | None:
    start = "" if branch.startswith("^") else "(?s:.*)"
    body = branch.removeprefix("^")
    ends = re.search(r"(?<!\\)(\\\\)*\$$", body) is not None
    body = body[:-1] if ends else body
    bare = re.sub(r"\\.|\[(\\.|[^\]\\])*\]", "", body)
    if "^" in bare or "$" in bare:
        return None
    return f"{start}({body}){'' if ends else '(?s:.*)'}"
