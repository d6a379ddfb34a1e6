"""Remembers what recent prompts were made of, so that a prompt which shares less with the one before it than it could
can say why. Comparing is of hashes and ids; the texts are kept only where somebody wants to read them.
"""

from __future__ import annotations

import asyncio
import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from itertools import takewhile
from operator import eq
from typing import Literal

import msgspec

from antiphon.prompt.prefix.hashes import Beginning
from antiphon.prompt.prefix.transcript import TranscriptStore

Reason = Literal[
    "model_changed", "system_changed", "tools_changed", "messages_changed", "previous_message_not_found", "unavailable"
]
_AROUND = 40


class CacheMiss(msgspec.Struct, frozen=True):
    """Why a prompt does not begin with the one it is compared with, and how many tokens of that are lost by it."""

    reason: Reason
    tokens: int = 0


class PromptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a prompt was made of: the model, the hashes of its beginning and of its turns (`chained`), its ids as 32-bit
    numbers, the last `opening` of which only open the reply, and perhaps its text."""

    model: str
    beginning: Beginning
    chain: tuple[bytes, ...]
    ids: bytes
    opening: int
    text: str = ""

    @property
    def numbers(self) -> Sequence[int]:
        """The ids."""
        return memoryview(self.ids).cast("i")


def record(
    model: str, beginning: Beginning, chain: Sequence[bytes], ids: Sequence[int], opening: int, text: str = ""
) -> PromptRecord:
    """The record of a prompt."""
    packed = array("i", ids).tobytes()
    return PromptRecord(model=model, beginning=beginning, chain=tuple(chain), ids=packed, opening=opening, text=text)


class CacheLoss(msgspec.Struct, frozen=True):
    """So many tokens of the prompt before were computed again: the prompt `changed`, or the engine had `evicted` them.
    The sentence says where."""

    cause: Literal["changed", "evicted"]
    tokens: int
    sentence: str


class Continuation(msgspec.Struct, frozen=True, kw_only=True):
    """What a prompt goes on from: the one `before` it in its conversation, if there was one, and why it does not go on
    from the one that the client named."""

    now: PromptRecord
    before: PromptRecord | None
    miss: CacheMiss | None

    def lost(self, cached: int) -> CacheLoss | None:
        """What was lost where fewer tokens were re-used than the prompt before this one had."""
        before, now = self.before, self.now
        if before is None or cached >= (length := len(before.numbers)) - before.opening - 1:
            return None
        same = shared(before, now)
        sentence = f"{cached} tokens were re-used of the {length} that the prompt before this one had; "
        if same >= length - before.opening:
            why = "this one begins with all of them, but the engine no longer held them"
            return CacheLoss("evicted", length - cached, sentence + why)
        why = f"the two have {same} in common and part {parting(before, now)}"
        return CacheLoss("changed", length - cached, sentence + why)


class Predecessors:
    """The memory, bounded by `capacity` in tokens and, as each takes more than its tokens, to the `most` records."""

    def __init__(
        self, capacity: int = 2_000_000, most: int = 10_000, transcripts: TranscriptStore | None = None
    ) -> None:
        self._capacity = capacity
        self._most = most
        self._transcripts = transcripts
        self._size = 0
        self._known: OrderedDict[bytes, PromptRecord] = OrderedDict()

    async def follow(
        self, now: PromptRecord, *, session: str | None, message: str | None, previous: str | None
    ) -> Continuation:
        """What a prompt goes on from; it is remembered as the latest of its conversation (which is the model, the
        session and the first turn) and under the id of the `message` that will be the reply to it."""
        name = _name_in(session, now)
        before = await self.get(name, latest=True)
        miss = missed(await self.get(_name_of(previous)), now) if previous else None
        names = [name, _name_of(message)] if message else [name]
        await asyncio.gather(*(self.put(each, now, shared=True) for each in names))
        return Continuation(now=now, before=before, miss=miss)

    async def before(self, now: PromptRecord, *, session: str | None, previous: str | None) -> PromptRecord | None:
        """What a prompt would go on from: the record of the `previous` message where one is named, else the latest of
        its conversation. Nothing is remembered."""
        return await self.get(_name_of(previous) if previous else _name_in(session, now))

    async def put(self, name: bytes, record: PromptRecord, *, shared: bool = False) -> None:
        """Keep a record under a name; `shared` for the other workers too."""
        self._size -= _size(self._known.pop(name, None))
        self._known[name] = record
        self._size += _size(record)
        while len(self._known) > (1 if self._size > self._capacity else self._most):
            self._size -= _size(self._known.popitem(last=False)[1])
        if shared and self._transcripts is not None:
            await self._transcripts.put(name, msgspec.msgpack.encode(msgspec.structs.replace(record, text="")))

    async def get(self, name: bytes, *, latest: bool = False) -> PromptRecord | None:
        """The record of this name; the `latest` one where another worker may have put a newer there."""
        known = self._known.get(name)
        if (
            (latest or known is None)
            and self._transcripts is not None
            and (stored := await self._transcripts.first([name]))
        ):
            try:
                record = _record.decode(stored[1])
            except msgspec.MsgspecError:
                return known
            # What this worker made itself has its text, too.
            return known if known is not None and known.ids == record.ids else record
        return known


_record = msgspec.msgpack.Decoder(PromptRecord)


def conversation_name(session: str | None, chain: Sequence[bytes]) -> str:
    """What tells a conversation from others: the session and the first turn, for sub-agents share their session."""
    return _digest(session or "", b"".join(chain[1:2]).hex()).hex()


def _name_in(session: str | None, record: PromptRecord) -> bytes:
    return b"s" + _digest(record.model, conversation_name(session, record.chain))


def _name_of(message: str) -> bytes:
    return b"m" + _digest(message)


def _digest(*texts: str) -> bytes:
    return hashlib.blake2b("\0".join(texts).encode("utf-8", "replace"), digest_size=16).digest()


def _size(record: PromptRecord | None) -> int:
    return len(record.ids) // 4 if record else 0


def missed(before: PromptRecord | None, now: PromptRecord) -> CacheMiss | None:
    """Why the prompt `now` does not go on from the one `before` it; None where it does."""
    if before is None:
        return CacheMiss("previous_message_not_found")
    length = len(before.numbers)
    lost = length if before.model != now.model else length - shared(before, now)
    # What opens the reply is not part of the conversation, and need not stand in the next prompt.
    if lost <= before.opening:
        return None
    if before.model != now.model:
        return CacheMiss("model_changed", lost)
    if before.beginning.system != now.beginning.system:
        return CacheMiss("system_changed", lost)
    if before.beginning.tools != now.beginning.tools:
        return CacheMiss("tools_changed", lost)
    if before.chain != now.chain[: len(before.chain)]:
        return CacheMiss("messages_changed", lost)
    return CacheMiss("unavailable", lost)


def shared(before: PromptRecord, now: PromptRecord) -> int:
    """How many leading tokens two prompts have in common."""
    return common(before.numbers, now.numbers)


def parting(before: PromptRecord, now: PromptRecord) -> str:
    """Where two prompts part, for people: the turn, and the texts around the place."""
    same = common(before.chain, now.chain)
    turn = f"in turn {same}" if same < len(before.chain) else "in how the same turns are rendered"
    if before.beginning != now.beginning:
        turn = "before the first turn"
    at = common(before.text, now.text)
    was, became = (text[max(at - _AROUND, 0) : at + _AROUND] for text in (before.text, now.text))
    return f"{turn}: {was!r} became {became!r}" if before.text else turn


def common(one: Sequence[object], other: Sequence[object]) -> int:
    """How many of the first members two sequences have in common."""
    if one == other[: len(one)]:
        return len(one)
    return sum(1 for _ in takewhile(bool, map(eq, one, other)))
