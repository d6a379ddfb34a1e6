"""Stretches of a prompt: a text cut into what the template wrote and what the client said, and the same cuts found
again in a text that differs from it here and there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from antiphon.prompt.prefix.predecessors import common

Source = Literal["system", "user", "assistant", "tool"]

_NAMES: dict[str, Source] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "ipython": "tool",
    "observation": "tool",
}
_NAME = re.compile(r"(?<![A-Za-z])(" + "|".join(_NAMES) + r")(?![A-Za-z])", re.IGNORECASE)
_HEADER = 60
_CONTEXT = 16


class Stretch(NamedTuple):
    """Text of one origin: the template's, the client's, or remembered from a reply; and whose turn it belongs to."""

    kind: Literal["template", "text", "remembered"]
    role: Source | Literal[""]
    text: str


def by_search(rendered: str, texts: Iterable[tuple[Source, str]]) -> list[Stretch]:
    """The stretches of a rendered prompt, by looking for the client's texts one after the other."""
    stretches: list[Stretch] = []
    position = 0
    for source, text in texts:
        core = text.strip()
        begin = rendered.find(core, position) if core else -1
        if begin >= 0:
            stretches += [Stretch("template", "", rendered[position:begin]), Stretch("text", source, core)]
            position = begin + len(core)
    return [*stretches, Stretch("template", "", rendered[position:])]


def with_roles(found: Sequence[Stretch], closings: set[str]) -> list[Stretch]:
    """The stretches with a role for what the template wrote: up to the token that closes a turn it belongs to the
    turn before, then to the one that follows."""
    closing = re.compile("|".join(map(re.escape, sorted(closings, key=len, reverse=True))) or r"(?!)")
    stretches: list[Stretch] = []
    for index, stretch in enumerate(found):
        if stretch.kind == "text":
            stretches.append(stretch)
        elif stretch.text:
            before = found[index - 1].role if index else ""
            after = found[index + 1].role if index + 1 < len(found) else ""
            stretches += _between(stretch.text, before, after, closing)
    return stretches


def _between(
    text: str, before: Source | Literal[""], after: Source | Literal[""], closing: re.Pattern[str]
) -> Iterator[Stretch]:
    parts = list(_closed(text, closing))
    role: Source | Literal[""]
    for index, part in enumerate(parts):
        if index == 0 and before and (len(parts) > 1 or not after):
            role = before
        elif index == len(parts) - 1 and after:
            role = after
        else:
            name = _NAME.search(part[:_HEADER])
            role = _NAMES[name[1].lower()] if name else ""
        yield Stretch("template", role, part)


def _closed(text: str, closing: re.Pattern[str]) -> Iterator[str]:
    """The text, cut after each closing token and the white space that follows it."""
    position = 0
    for found in closing.finditer(text):
        end = found.end()
        while end < len(text) and text[end].isspace():
            end += 1
        yield text[position:end]
        position = end
    if position < len(text):
        yield text[position:]


def aligned(found: Sequence[Stretch], text: str) -> list[Stretch]:
    """The same stretches in a text that mostly agrees with theirs. What only the text has is `remembered`, unless it
    is no more than white space; what only they have is left out. Joined, the result is the text."""
    if "".join(stretch.text for stretch in found) == text:
        return list(found)
    stretches: list[Stretch] = []
    waiting: list[Stretch] = []
    position = 0
    for stretch in found:
        begin = _find(text, position, waiting, stretch.text) if stretch.kind == "text" else -1
        if begin < 0:
            waiting.append(stretch)
            continue
        stretches += _fitted(waiting, text[position:begin])
        stretches.append(stretch)
        position, waiting = begin + len(stretch.text), []
    return [*stretches, *_fitted(waiting, text[position:])]


def _find(text: str, position: int, before: Sequence[Stretch], params: str) -> int:
    """Where the text continues with what is wanted: best after what stands before it, else wherever it is."""
    context = "".join(stretch.text for stretch in before)[-_CONTEXT:]
    begin = text.find(context + params, position)
    return begin + len(context) if begin >= 0 else text.find(params, position)


def _fitted(waiting: Sequence[Stretch], text: str) -> list[Stretch]:
    whole = "".join(stretch.text for stretch in waiting)
    if whole == text:
        return list(waiting)
    head = common(whole, text)
    tail = common(whole[head:][::-1], text[head:][::-1])
    middle = text[head : len(text) - tail]
    around = [*_part(waiting, max(head - 1, 0), head + 1)]
    role = around[0].role if around else ""
    kind: Literal["template", "remembered"] = "remembered" if middle.strip() else "template"
    return [*_part(waiting, 0, head), *[Stretch(kind, role, middle)] * bool(middle), *_part(waiting, len(whole) - tail)]


def _part(stretches: Sequence[Stretch], begin: int, end: int | None = None) -> Iterator[Stretch]:
    """What lies between two places of the joined text."""
    position = 0
    for stretch in stretches:
        stop = len(stretch.text) if end is None else min(end - position, len(stretch.text))
        inside = stretch.text[max(begin - position, 0) : max(stop, 0)]
        if inside:
            yield stretch._replace(text=inside)
        position += len(stretch.text)
