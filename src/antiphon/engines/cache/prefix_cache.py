"""What is computed already of a prompt: in a slot of the engine, or on disk (`prefix_store.py`).

A prompt gets a slot (`slots.py`). What the slot holds is written to disk first where it would be lost, and computing
it again would take longer than writing it; what the disk has is read into it where that is clearly more. The beginning
that a prompt shares with other conversations, an agent's instructions, is computed first and kept by itself, since it
is what a new conversation begins with. Otherwise slots are written while they rest: soon when the engine is quiet,
later beside others at work, because the engine computes nothing while it writes; and only when they have grown by a
part, because all of a slot is written each time. Nothing waits for the disk itself: the engine writes into the page
cache, and checksum and index follow on a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence

import msgspec

from antiphon.api.errors import BadRequest, Failure, Overloaded
from antiphon.engines.answers import Restored, Written
from antiphon.engines.attached import Attached
from antiphon.engines.cache.errands import Errands
from antiphon.engines.cache.pages import HASH, PAGE, Pages, common, shared
from antiphon.engines.cache.prefix_store import Found, Prefix, PrefixStore
from antiphon.engines.cache.slots import Slot, Slots, Taken, due, ours
from antiphon.engines.upstream import Answered

log = logging.getLogger("antiphon")

ANY = -1
"""No slot is given: the engine's slots are not ours to give."""

_LEAST = 128
"""Tokens that are worth a file, or reading one."""
_GROWN = 8
"""A slot that rests is written when this part of it is not on disk."""
_LOOK = 0.5
_TURN = 0.01
_PAUSE = 60.0
"""Seconds without another try after the engine could not write."""
_FAREWELL = 10.0
_MOST_MISSES = 2


class Seat:
    """A prompt's slot. `beginning` tokens of the prompt are to be computed first, and then kept with `PrefixCache.keep`
    (0: none). `restored` of the prompt's tokens were read from disk. Where it is `fresh`, what the slot held before may
    not be re-used; where that is `lost`, the slot may hold something else by now. Where the engine was `waited` for in
    vain, it is not waited for again. Whoever generates notes in `read` how many tokens of the prompt the engine has
    (None: it was never asked), and in `sampled` the ids that followed."""

    def __init__(self, taken: Taken | None = None, pages: Pages | None = None) -> None:
        self.slot = taken.index if taken else ANY
        self.taken = taken
        self.pages = pages
        self.prefix: Prefix | None = None
        self.beginning = self.restored = 0
        self.read: int | None = None
        self.fresh = self.lost = self.waited = False
        self.sampled: list[int] = []


class PrefixCache:
    """The slots of one engine, and what of them is on disk (no `store`: nothing)."""

    def __init__(self, server: Attached, slots: Slots, store: PrefixStore | None = None) -> None:
        self._server = server
        self._slots = slots
        self._store = store
        self._tending: asyncio.Task[None] | None = None
        self._errands = Errands()
        self._pause = 0.0
        # Seconds that a token takes: to be computed (a guess, until it was measured), and to be written.
        self._computing, self._writing = 0.01, 0.0
        self._branches = True
        self._misses = 0

    @contextlib.asynccontextmanager
    async def seat(self, prompt: Sequence[int], conversation: str | None, domain: bytes) -> AsyncIterator[Seat]:
        """A slot for this prompt, ready for it (an empty prompt is one that nothing is known of). Waits for one."""
        if not self._slots.count:
            yield Seat()
            return
        pages, conversation = Pages(domain, prompt), conversation or ""
        # Other processes let go of slots, too, and nobody tells of it.
        while (taken := self._slots.take(pages, conversation, domain)) is None:  # noqa: ASYNC110
            await asyncio.sleep(_TURN)
        seat = Seat(taken, pages)
        try:
            await self._prepare(seat, taken, pages)
            # The engine may have computed some of the prompt before it tells of it.
            seat.lost |= seat.fresh
            yield seat
        finally:
            if seat.lost:
                taken.before = Slot()
            self._slots.leave(taken, _content(seat, prompt, domain))
            if self._store is not None and self._tending is None:
                self._tending = asyncio.create_task(self._tend())

    async def _prepare(self, seat: Seat, taken: Taken, pages: Pages) -> None:
        before, store = taken.before, self._store
        hashes, have = pages.hashes, common(before.pages, pages.hashes)
        # One of which nothing is known may hold anything: what ran in it may have outlived what was noted of it.
        seat.fresh = before.domain != taken.slot.domain
        if store is None:
            return
        if self._worth_writing(before, have):
            await self._errands.run(self._save(taken.index, before, taken.slot.turn))
        found = await asyncio.to_thread(store.find, taken.slot.domain, hashes)
        prefix, tokens = self._best(found)
        if prefix is not None and tokens >= have + _LEAST and await self._restore(seat, prefix):
            seat.prefix, seat.restored, seat.fresh, have = prefix, tokens, False, tokens
            taken.slot.stored = tokens
        seat.beginning = _beginning(taken, found, have)

    def _best(self, found: Found) -> tuple[Prefix | None, int]:
        """What to restore, and how many of the prompt's tokens that is expected to bring. Some models can go on only
        from the end of what was stored: a branch must bring clearly more."""
        whole = found.whole.tokens if found.whole else 0
        if self._branches and found.branch and found.shared >= whole + _LEAST:
            return found.branch, found.shared
        return found.whole, whole

    def _worth_writing(self, slot: Slot, kept: int = 0) -> bool:
        """Whether what a slot holds is better written than lost, when so many tokens are `kept` in any case."""
        lost = slot.tokens - max(slot.stored, kept)
        known = bool(slot.pages) and not slot.busy
        return known and lost >= PAGE and lost * self._computing >= slot.tokens * self._writing

    def progress(self, seat: Seat, cached: int, read: int, seconds: float) -> None:
        """The engine has `read` so many tokens of the prompt in so many seconds, of which it had `cached` some. Where
        it restores less than it said, it is not asked again."""
        seat.read, seat.waited = read, False
        if read - cached >= _LEAST:
            self._computing = seconds / (read - cached)
        if seat.prefix is None or self._store is None:
            return
        prefix, seat.prefix = seat.prefix, None
        if cached >= seat.restored - max(_LEAST, seat.restored // 4):
            self._misses = 0
            return
        log.info("of %d tokens that were restored from disk the engine re-uses %d", seat.restored, cached)
        if prefix.tokens > seat.restored + PAGE:
            self._branches = False
            return
        self._misses += 1
        if self._misses >= _MOST_MISSES:
            self._give_up("this engine does not go on from what it restores")

    def _give_up(self, why: str) -> None:
        log.warning("computed prefixes are not kept on disk: %s", why)
        if self._store is not None:
            self._store.close()
        self._store = None

    async def keep(self, seat: Seat) -> None:
        """The slot holds the beginning, and no more: keep it."""
        taken, tokens, seat.beginning = seat.taken, seat.beginning, 0
        seat.sampled.clear()
        if taken is None:
            return
        slot = taken.slot
        begun = msgspec.structs.replace(slot, pages=slot.pages[: tokens // PAGE * HASH], tokens=tokens, conversation="")
        if await self._errands.run(self._save(taken.index, begun, slot.turn)):
            slot.stored = max(slot.stored, tokens)

    async def _save(self, index: int, slot: Slot, turn: int) -> bool:
        """Write what the slot holds, which is this, if it is still the same `turn`. Gives whether the engine has
        written it; the rest goes on by itself."""
        store = self._store
        if store is None or time.monotonic() < self._pause:
            return False
        draft, began = store.draft(), time.monotonic()
        try:
            written = await self._server.ask("POST", f"/slots/{index}?action=save", Written, {"filename": draft})
        except BaseException as error:
            # An engine that writes it yet has it open: the space is free when it has done so.
            store.discard(draft)
            if not isinstance(error, Failure):
                raise
            self._not_written(error)
            return False
        same = self._slots.known()[index].turn == turn
        if not same or written.n_saved + PAGE < slot.tokens:
            store.discard(draft)
            return same
        took = time.monotonic() - began
        self._writing = took / slot.tokens
        log.debug("slot %d: %d tokens were written in %.2f s", index, slot.tokens, took)
        kept = asyncio.to_thread(store.keep, draft, slot.domain, slot.pages, slot.tokens, slot.conversation)
        self._errands.start(kept)
        return True

    def _not_written(self, failure: Failure) -> None:
        if isinstance(failure, BadRequest):
            self._give_up(failure.message)
        else:
            log.warning("the engine could not write what it computed: %s", failure.message)
            self._pause = time.monotonic() + _PAUSE

    async def _restore(self, seat: Seat, prefix: Prefix) -> bool:
        store = self._store
        if store is None or not await asyncio.to_thread(store.intact, prefix):
            return False
        began, seat.lost = time.monotonic(), True
        try:
            await self._server.ask("POST", f"/slots/{seat.slot}?action=restore", Restored, {"filename": prefix.name})
        except Failure as failure:
            log.info("the engine does not restore %s: %s", prefix.name, failure.message)
            seat.waited = isinstance(failure, Overloaded)
            if _refused(failure):
                await asyncio.to_thread(store.drop, prefix)
            return False
        log.debug("slot %d: %d tokens were restored in %.2f s", seat.slot, prefix.tokens, time.monotonic() - began)
        return True

    async def _tend(self) -> None:
        """Write the slots that rest, until there is none left to write."""
        try:
            while True:
                await asyncio.sleep(_LOOK)
                slots = self._slots.known()
                waiting = [
                    index
                    for index in ours(slots)
                    if slots[index].unstored >= max(_LEAST, slots[index].tokens // _GROWN)
                ]
                if not waiting or self._store is None:
                    return
                for index in waiting:
                    if due(slots, index, self._slots.now()):
                        await self._errands.run(self._save_resting(index, slots[index]))
                        break
        finally:
            self._tending = None

    async def _save_resting(self, at: int, slot: Slot) -> bool:
        if written := await self._save(at, slot, slot.turn):
            self._slots.stored(at, slot)
        return written

    async def _keep_all(self) -> None:
        await self._errands.done()
        slots = self._slots.known() if self._store is not None else []
        for at in ours(slots):
            if self._worth_writing(slots[at]):
                await self._errands.run(self._save_resting(at, slots[at]))
        await self._errands.done()

    async def close(self) -> None:
        """Write what is not on disk yet."""
        if self._tending is not None:
            self._tending.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await self._keep_all()
        await self._errands.stop()
        if self._store is not None:
            self._store.close()


def _refused(failure: Failure) -> bool:
    """Whether the engine has said that a file is of no use to it. One that is away, or whose key or route is another,
    says nothing of the file."""
    return isinstance(failure, BadRequest) or (isinstance(failure, Answered) and failure.status == 500)


def _content(seat: Seat, prompt: Sequence[int], domain: bytes) -> Pages | None:
    """What the slot holds afterwards; None where it is what it held before."""
    if seat.read is None:
        return Pages(domain, prompt[: seat.restored]) if seat.restored else None
    if not prompt or seat.pages is None or seat.read < len(prompt):
        return Pages(domain, prompt[: seat.read])
    # The last token was sampled, but nothing was computed of it.
    seat.pages.extend(seat.sampled[:-1])
    return seat.pages


def _beginning(taken: Taken, found: Found, have: int) -> int:
    """How many tokens the prompt has in common with other conversations, where that is worth a file of its own: there
    is none yet, and the slot does not go beyond."""
    mine, hashes = taken.slot, taken.slot.pages
    both = [
        common(slot.pages, hashes)
        for slot in (taken.before if at == taken.index else slot for at, slot in enumerate(taken.slots))
        if slot.conversation != mine.conversation or not mine.conversation
        if shared(slot.pages, hashes) < min(len(slot.pages), len(hashes))
    ]
    if found.branch and (found.branch.conversation != mine.conversation or not mine.conversation):
        both.append(found.shared)
    most = max(both, default=0)
    there = found.whole.tokens if found.whole else 0
    return most if have <= most and most >= there + _LEAST else 0
