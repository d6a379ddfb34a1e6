"""Remembers what was prompted and sampled, so that a growing conversation stays a prefix of its own tokens.

Rendering a reply anew rarely gives the ids that were sampled: spacing in JSON changes, thinking is dropped, a word is
cut into other tokens. The engine then computes again what it had. So after a reply its ids are kept, under a hash of
the turns as a client sees them (thinking, ids of calls, spacing of JSON and outer white space do not count). When a
conversation comes that begins with those turns, the kept ids stand for them, and only what follows the seam
(`seams.py`) behind the remembered turn is tokenised.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from antiphon.api.conversation import Turn
from antiphon.prompt.prefix.hashes import hashed


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
            name = hashed(head, chain[count])
            known = self._known.get(name)
            if known is not None and known.turns == count and fits(known):
                self._known.move_to_end(name)
                return await self._fetched(longer, fits) or known
            longer[name] = count
        return await self._fetched(longer, fits)

    async def _fetched(self, turns: dict[bytes, int], fits: Callable[[Remembered], bool]) -> Remembered | None:
        """The first in the store of these names, each with its number of turns, that fits."""
        names, start = list(turns), 0
        while (
            self._transcripts is not None
            and names[start:]
            and (stored := await self._transcripts.first(names[start:])) is not None
        ):
            start += stored[0]
            known = _read(stored[1])
            if known is not None and known.turns == turns[names[start]] and fits(known):
                self._keep(names[start], known)
                return known
            start += 1
        return None

    async def remember(
        self, head: bytes, chain: Sequence[bytes], ids: Sequence[int], thoughts: tuple[int, ...] = ()
    ) -> None:
        """Keep the ids of the turns of this chain, the last of which was just sampled, without the token that closed
        it."""
        name, known = hashed(head, chain[-1]), Remembered(len(chain) - 1, array("i", ids), thoughts)
        self._keep(name, known)
        if self._transcripts is not None:
            await self._transcripts.put(name, msgspec.msgpack.encode((known.turns, known.ids.tobytes(), thoughts)))

    def _keep(self, name: bytes, known: Remembered) -> None:
        replaced = self._known.pop(name, None)
        self._known[name] = known
        self._size += len(known.ids) - (len(replaced.ids) if replaced else 0)
        while len(self._known) > (1 if self._size > self._capacity else self._most):
            self._size -= len(self._known.popitem(last=False)[1].ids)


_remembered = msgspec.msgpack.Decoder(tuple[int, bytes, tuple[int, ...]])


def _read(value: bytes) -> Remembered | None:
    """What was put into the store; None when it is something else."""
    try:
        turns, ids, thoughts = _remembered.decode(value)
        return Remembered(turns, array("i", ids), thoughts)
    except (msgspec.MsgspecError, ValueError):
        return None
