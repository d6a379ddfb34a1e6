"""Remembers what was prompted and sampled, so that a growing conversation stays a prefix of its own tokens.

Rendering a reply anew rarely gives the ids that were sampled: spacing in JSON changes, thinking is dropped, a word is
cut into other tokens. The engine then computes again what it had. So after a reply its ids are kept, under a hash of
the turns as a client sees them (thinking, ids of calls, spacing of JSON and outer white space do not count). When a
conversation comes that begins with those turns, the kept ids stand for them, and only what follows the control token
that closes the remembered turn is tokenised.

A seam is where a turn of the assistant ends in the rendered text: a closing control token, then the header of the next
turn. It is found out by probes when a model is loaded; a template in which it cannot be told is simply rendered anew.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from antiphon.conversation import Conversation, Image, Part, Text, Thinking, ThinkingPolicy, ToolResult, ToolUse, Turn
from antiphon.errors import BadRequest
from antiphon.prompt.render import Renderer

_NEEDLE = "probe needle"
_SEAM = "\ue200"
"""A private-use character that marks, in a trial rendering, where the turn after the remembered one begins."""


class Seams:
    """How turns of the assistant are closed in one model's template: `text` after plain answers, `call` after tool
    calls; empty where it cannot be told. `tokens` are the control tokens that are no markers of a call, `end` the one
    that models end their turns with."""

    def __init__(self, renderer: Renderer, tokens: Iterable[str], end: str) -> None:
        tokens = tuple(tokens)
        call = ToolUse(id="toolu_probe", name="probe", input=msgspec.json.encode({"value": _NEEDLE}).decode())
        answered = ToolResult(tool_use_id="toolu_probe", parts=(Text(_SEAM),))
        self.text = _closing(_between(renderer, Text(_NEEDLE), Text(_SEAM)), tokens, end)
        self.call = _closing(_between(renderer, call, answered), tokens, end)

    def of(self, turn: Turn) -> str:
        """The control token that closes this turn."""
        return self.call if any(isinstance(part, ToolUse) for part in turn.parts) else self.text


def _between(renderer: Renderer, said: Part, then: Part) -> str:
    """What the template puts between the end of what the assistant said and what the user says then."""
    turns = (
        Turn(role="user", parts=(Text("probe"),)),
        Turn(role="assistant", parts=(said,)),
        Turn(role="user", parts=(then,)),
    )
    try:
        rendered = renderer.prompt(Conversation(turns=turns), ThinkingPolicy())
    except BadRequest:
        return ""
    before = rendered.partition(_SEAM)[0] if rendered.count(_SEAM) == 1 else ""
    return before.rpartition(_NEEDLE)[2] if _NEEDLE in before else ""


def _closing(between: str, tokens: tuple[str, ...], end: str) -> str:
    """The control token that closes the turn: the usual one, or else the first there is (some families have none, and
    the next turn's header ends the one before). One that stands there twice cannot be found again from behind."""
    present = [end] if end and end in between else sorted((t for t in tokens if t in between), key=between.find)
    return present[0] if present and between.count(present[0]) == 1 else ""


class Remembered(msgspec.Struct, frozen=True):
    """A beginning of a conversation whose ids are known: how many turns it has, and the ids up to the closing token."""

    turns: int
    ids: array[int]


class Transcript:
    """The memory, bounded by `capacity` in tokens. The least recently used beginnings are forgotten first."""

    def __init__(self, capacity: int = 4_000_000) -> None:
        self._capacity = capacity
        self._size = 0
        self._known: OrderedDict[bytes, array[int]] = OrderedDict()

    def recall(self, head: bytes, turns: Sequence[Turn]) -> Remembered | None:
        """The longest remembered beginning that ends with a turn of the assistant and is not all of these turns."""
        chain = _chain(head, turns)
        for count in range(len(turns) - 1, 0, -1):
            ids = self._known.get(chain[count]) if turns[count - 1].role == "assistant" else None
            if ids is not None:
                self._known.move_to_end(chain[count])
                return Remembered(count, ids)
        return None

    def remember(self, head: bytes, turns: Sequence[Turn], ids: Sequence[int]) -> None:
        """Keep the ids of these turns, the last of which was just sampled, without the token that closed it."""
        key = _chain(head, turns)[-1]
        self._size -= len(self._known.pop(key, ()))
        self._known[key] = array("i", ids)
        self._size += len(ids)
        while self._size > self._capacity and len(self._known) > 1:
            self._size -= len(self._known.popitem(last=False)[1])


def beginning(conversation: Conversation, switches: dict[str, Any]) -> bytes:
    """A hash of what a prompt begins with: the system prompt, the tools, the template's switches."""
    tools = [(tool.name, tool.description, tool.schema) for tool in conversation.tools]
    return _hash(b"", msgspec.json.encode([conversation.system, tools, switches]))


def _chain(start: bytes, turns: Sequence[Turn]) -> list[bytes]:
    """A hash for each number of turns."""
    chain = [start]
    for turn in turns:
        chain.append(_hash(chain[-1], _visible(turn)))
    return chain


def _hash(before: bytes, more: bytes) -> bytes:
    return hashlib.blake2b(before + more, digest_size=16).digest()


def _visible(turn: Turn) -> bytes:
    """A turn as a client sees it and gives it back."""
    text = "".join(part.text for part in turn.parts if isinstance(part, Text)).strip()
    others = [_part(part) for part in turn.parts if not isinstance(part, Text | Thinking)]
    return json.dumps([turn.role, text, *others], sort_keys=True).encode()


def _part(part: Part) -> Any:
    match part:
        case ToolUse():
            return [part.name, msgspec.json.decode(part.input)]
        case ToolResult():
            text = "".join(inner.text for inner in part.parts if isinstance(inner, Text))
            return [part.is_error, text, *(_part(inner) for inner in part.parts if isinstance(inner, Image))]
        case Image():
            return hashlib.blake2b(part.data, digest_size=16).hexdigest()
        case _:
            return None


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


def rest(prompt: str, trial: str, closing: str) -> str | None:
    """What follows the remembered turn in a prompt, from the token that closes it on. `trial` is the same prompt
    rendered with the seam's mark; None when the mark changed anything else, or no closing token stands before it."""
    # The mark's own character may stand in what a client wrote; then the seam cannot be told.
    if not closing or trial.count(_SEAM) != 1 or trial.replace(_SEAM, "") != prompt:
        return None
    at = trial.rfind(closing, 0, trial.index(_SEAM))
    return None if at < 0 else prompt[at:]
