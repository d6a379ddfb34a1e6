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
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Any, Protocol

import msgspec

from antiphon.api.conversation import (
    Conversation,
    Image,
    Part,
    Text,
    Thinking,
    ThinkingPolicy,
    ToolResult,
    ToolUse,
    Turn,
)
from antiphon.api.errors import BadRequest
from antiphon.prompt.render import Renderer

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
        said = _between(renderer, Text(_NEEDLE), Text(_SEAM), _NEEDLE)
        with_value = _between(renderer, _call("needle", {"value": _NEEDLE}), _answered, _NEEDLE)
        # What stands behind every call, whatever it says.
        bare = _between(renderer, _call("needle", {}), _answered, "needle")
        called = _common_end(with_value, bare)
        self.text = _closing(said, tokens, end)
        self.call = _same_closing(said, self.text, called) or _closing(called, tokens, end)

    def of(self, turn: Turn) -> str:
        """The text, beginning with a control token, that closes this turn."""
        return self.call if any(isinstance(part, ToolUse) for part in turn.parts) else self.text


_answered = ToolResult(tool_use_id="toolu_probe", parts=(Text(_SEAM),))


def _call(name: str, value: dict[str, str]) -> ToolUse:
    return ToolUse(id="toolu_probe", name=name, input=msgspec.json.encode(value).decode())


def _between(renderer: Renderer, said: Part, then: Part, needle: str) -> str:
    """What the template puts between the end of what the assistant said, where the needle is, and what the user says
    then."""
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


def _same_closing(said: str, closing: str, called: str) -> str:
    """What closes plain answers, with as much of what follows it as makes it unique behind calls; empty where calls are
    closed otherwise."""
    at = said.find(closing)
    ends = range(at + len(closing), len(said) + 1) if closing else ()
    return next((said[at:end] for end in ends if called.count(said[at:end]) == 1), "")


class TranscriptStore(Protocol):
    """Where what is remembered is kept for the other workers too. Names are bytes; a value may be gone at any time.
    Nothing here raises."""

    async def first(self, names: Sequence[bytes]) -> tuple[int, bytes] | None:
        """Which of the names is the first that has a value, and the value."""

    async def put(self, name: bytes, value: bytes) -> None:
        """Keep the value, for a while."""


class Remembered(msgspec.Struct, frozen=True):
    """A beginning of a conversation whose ids are known: how many turns it has, and the ids up to the closing token.
    `thoughts` are the turns whose thinking is in the ids."""

    turns: int
    ids: array[int]
    thoughts: tuple[int, ...] = ()


class Transcript:
    """The memory, bounded by `capacity` in tokens and, as each takes more than its tokens, to the `most` beginnings.
    The least recently used are forgotten first; what another worker sampled is looked up in the `transcripts`."""

    def __init__(
        self, capacity: int = 4_000_000, most: int = 10_000, transcripts: TranscriptStore | None = None
    ) -> None:
        self._capacity = capacity
        self._most = most
        self._transcripts = transcripts
        self._size = 0
        self._known: OrderedDict[bytes, Remembered] = OrderedDict()

    async def recall(
        self,
        head: bytes,
        chain: Sequence[bytes],
        turns: Sequence[Turn],
        fits: Callable[[Remembered], bool] = lambda known: True,
    ) -> Remembered | None:
        """The longest remembered beginning that ends with a turn of the assistant, is not all of these turns and
        `fits`. `chain` is `chained(turns)`."""
        longer: dict[bytes, int] = {}
        for count in range(len(turns) - 1, 0, -1):
            if turns[count - 1].role != "assistant":
                continue
            name = _hash(head, chain[count])
            known = self._known.get(name)
            if known is not None and known.turns == count and fits(known):
                self._known.move_to_end(name)
                return await self._fetched(longer, fits) or known
            longer[name] = count
        return await self._fetched(longer, fits)

    async def _fetched(self, turns: dict[bytes, int], fits: Callable[[Remembered], bool]) -> Remembered | None:
        """The first in the store of these names, each with its number of turns, that fits."""
        names, at = list(turns), 0
        while (
            self._transcripts is not None
            and names[at:]
            and (found := await self._transcripts.first(names[at:])) is not None
        ):
            at += found[0]
            known = _read(found[1])
            if known is not None and known.turns == turns[names[at]] and fits(known):
                self._keep(names[at], known)
                return known
            at += 1
        return None

    async def remember(
        self, head: bytes, chain: Sequence[bytes], ids: Sequence[int], thoughts: tuple[int, ...] = ()
    ) -> None:
        """Keep the ids of the turns of this chain, the last of which was just sampled, without the token that closed
        it."""
        name, known = _hash(head, chain[-1]), Remembered(len(chain) - 1, array("i", ids), thoughts)
        self._keep(name, known)
        if self._transcripts is not None:
            await self._transcripts.put(name, msgspec.msgpack.encode((known.turns, known.ids.tobytes(), thoughts)))

    def _keep(self, name: bytes, known: Remembered) -> None:
        replaced = self._known.pop(name, None)
        self._known[name] = known
        self._size += len(known.ids) - (len(replaced.ids) if replaced else 0)
        while len(self._known) > (1 if self._size > self._capacity else self._most):
            self._size -= len(self._known.popitem(last=False)[1].ids)


_kept = msgspec.msgpack.Decoder(tuple[int, bytes, tuple[int, ...]])


def _read(kept: bytes) -> Remembered | None:
    """What was put into the store; None when it is something else."""
    try:
        turns, ids, thoughts = _kept.decode(kept)
        return Remembered(turns, array("i", ids), thoughts)
    except (msgspec.MsgspecError, ValueError):
        return None


class Beginning(msgspec.Struct, frozen=True):
    """Hashes of what a prompt begins with: the system prompt, the tools, the template's switches."""

    system: bytes
    tools: bytes
    switches: bytes

    @property
    def key(self) -> bytes:
        """All of it."""
        return self.system + self.tools + self.switches


def beginning(conversation: Conversation, switches: dict[str, Any]) -> Beginning:
    """What the prompt of a conversation begins with."""
    tools = [(tool.name, tool.description, tool.schema) for tool in conversation.first_tools]
    parts = (conversation.system, tools, switches)
    return Beginning(*(_hash(b"", msgspec.json.encode(part)) for part in parts))


def chained(turns: Sequence[Turn], before: Sequence[bytes] = (b"",)) -> list[bytes]:
    """A hash for each number of turns, beginning with none; of these turns, or of what `before` stands for and
    these."""
    chain = list(before)
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
