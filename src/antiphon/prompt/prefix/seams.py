"""Where a turn of the assistant ends in the rendered text, and the next one begins.

A seam is a closing control token, then the header of the next turn. It is found out by probes when a model is loaded; a
template in which it cannot be told is simply rendered anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

import msgspec

from antiphon.api.conversation import Conversation, Part, Text, ThinkingPolicy, ToolResult, ToolUse, Turn
from antiphon.api.errors import BadRequest
from antiphon.prompt.templates.render import Renderer

_NEEDLE = "probe needle"
_SEAM = "\ue200"
"""A private-use character that marks, in a trial rendering, where the turn after the remembered one begins."""
_LONGEST_CLOSING = 16
"""In tokens."""


class Seams:
    """How turns of the assistant are closed in one model's template: `text` after plain answers, `call` after tool
    calls; empty where it cannot be told. `tokens` are the control tokens, `end` the one that models end their turns
    with."""

    def __init__(self, renderer: Renderer, tokens: Iterable[str], end: str) -> None:
        tokens = tuple(tokens)
        plain = _between(renderer, Text(_NEEDLE), Text(_SEAM), _NEEDLE)
        with_value = _between(renderer, _call("needle", {"value": _NEEDLE}), _answered, _NEEDLE)
        # What stands behind every call, whatever it says.
        bare = _between(renderer, _call("needle", {}), _answered, "needle")
        called = _common_end(with_value, bare)
        self.text = _closing(plain, tokens, end)
        self.call = _same_closing(plain, self.text, called) or _closing(called, tokens, end)

    def of(self, turn: Turn) -> str:
        """The text, beginning with a control token, that closes this turn."""
        return self.call if any(isinstance(part, ToolUse) for part in turn.parts) else self.text


_answered = ToolResult(tool_use_id="toolu_probe", parts=(Text(_SEAM),))


def _call(name: str, value: dict[str, str]) -> ToolUse:
    return ToolUse(id="toolu_probe", name=name, input=msgspec.json.encode(value).decode())


def _between(renderer: Renderer, part: Part, then: Part, needle: str) -> str:
    """What the template puts between the end of what the assistant said, where the needle is, and what the user says
    then."""
    turns = (
        Turn(role="user", parts=(Text("probe"),)),
        Turn(role="assistant", parts=(part,)),
        Turn(role="user", parts=(then,)),
    )
    try:
        rendered = renderer.prompt(Conversation(turns=turns), ThinkingPolicy())
    except BadRequest:
        return ""
    before = rendered.partition(_SEAM)[0] if rendered.count(_SEAM) == 1 else ""
    return before.partition(needle)[2]


def _common_end(one: str, other: str) -> str:
    pairs = zip(reversed(one), reversed(other), strict=False)
    size = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return one[len(one) - size :]


def _closing(between: str, tokens: tuple[str, ...], end: str) -> str:
    """The control token that closes the turn: the usual one, or else the first there is (some families have none, and
    the next turn's header ends the one before). One that stands there twice cannot be found again from behind."""
    present = [end] if end and end in between else sorted((t for t in tokens if t in between), key=between.find)
    return next((token for token in present if between.count(token) == 1), "")


def _same_closing(plain: str, closing: str, called: str) -> str:
    """What closes plain answers, with as much of what follows it as makes it unique behind calls; empty where calls are
    closed otherwise."""
    at = plain.find(closing)
    ends = range(at + len(closing), len(plain) + 1) if closing else ()
    return next((plain[at:end] for end in ends if called.count(plain[at:end]) == 1), "")


def marked(turns: tuple[Turn, ...], index: int) -> tuple[Turn, ...]:
    """The turns with the seam's mark at the beginning of the one at `index`."""
    turn = turns[index]
    first = turn.parts[0]
    match first:
        case ToolResult():
            inside = (Text(_SEAM), *first.parts)
            if first.parts and isinstance(first.parts[0], Text):
                inside = (Text(_SEAM + first.parts[0].text), *first.parts[1:])
            parts: tuple[Part, ...] = (msgspec.structs.replace(first, parts=inside), *turn.parts[1:])
        case Text(text):
            parts = (Text(_SEAM + text), *turn.parts[1:])
        case _:
            parts = (Text(_SEAM), *turn.parts)
    return (*turns[:index], Turn(role=turn.role, parts=parts), *turns[index + 1 :])


def before_mark(prompt: str, trial: str) -> int:
    """How long a prompt is before the place of the seam's mark in the same prompt rendered with it."""
    before = trial.partition(_SEAM)[0]
    parted = (place for place, pair in enumerate(zip(prompt, before, strict=False)) if pair[0] != pair[1])
    return len(before) if prompt.startswith(before) else next(parted, len(prompt))


def rest(prompt: str, trial: str, closing: str) -> str | None:
    """What follows the remembered turn in a prompt, from the token that closes it on. `trial` is the same prompt
    rendered with the seam's mark; None when the mark changed anything else, or no closing token stands before it."""
    # The mark's own character may stand in what a client wrote; then the seam cannot be told.
    if not closing or trial.count(_SEAM) != 1 or trial.replace(_SEAM, "") != prompt:
        return None
    at = trial.rfind(closing, 0, trial.index(_SEAM))
    return None if at < 0 else prompt[at:]


def unsampled(known: Sequence[int], more: list[int]) -> list[int] | None:
    """The ids of `more`, which begin with a closing token, without those that were sampled already: some models write
    a part of what closes their turn themselves. None where they wrote it otherwise than the template."""
    for size in range(min(_LONGEST_CLOSING, len(more), len(known)), 0, -1):
        if list(known[-size:]) == more[:size]:
            return more[size:]
    return None if more[0] in known[-2:] else more
