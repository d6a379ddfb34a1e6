"""Which slot a prompt goes to: a conversation finds its cache again, whatever came in between."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.engines.cache.pages import PAGE, Pages, shared
from antiphon.engines.cache.slots import Process, Slot, Slots, Taken, forget
from antiphon.process.worker_state import slots_name
from antiphon.process.worker_state_owner import WorkerStateOwner
from tests.faults.disk import ERRORS, Disk

INSTRUCTIONS = list(range(40 * PAGE))


@contextlib.contextmanager
def taken(slots: Slots, prompt: list[int], conversation: str = "", domain: bytes = b"") -> Iterator[Taken | None]:
    """A slot that holds the prompt afterwards."""
    pages = Pages(domain, prompt)
    slot = slots.take(pages, conversation, domain)
    try:
        yield slot
    finally:
        if slot is not None:
            slots.leave(slot, pages)


class Engine:
    """What an engine's slots hold: each the last prompt that it was given."""

    def __init__(self, slots: Slots, count: int) -> None:
        self._slots = slots
        self.held: list[list[int]] = [[] for _ in range(count)]

    @contextlib.contextmanager
    def ask(self, prompt: list[int], conversation: str) -> Iterator[int]:
        """Gives how many tokens are re-used."""
        with taken(self._slots, prompt, conversation) as slot:
            assert slot is not None
            before, self.held[slot.index] = self.held[slot.index], prompt
            yield next((i for i, (a, b) in enumerate(zip(before, prompt, strict=False)) if a != b), len(before))

    def asked(self, prompt: list[int], conversation: str) -> int:
        with self.ask(prompt, conversation) as reused:
            return reused


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def tokens(seed: int, pages: int) -> list[int]:
    source = random.Random(seed)
    return [source.randrange(2**31) for _ in range(pages * PAGE)]


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("file", [True, False])
def test_a_main_conversation_keeps_its_slot(same: bool, file: bool, tmp_path: Path) -> None:
    """Between the turns of a main conversation come many side requests, three at once, with its instructions or with
    others: each turn re-uses the whole one before it. The same when what is known is shared in a file."""
    name = str(tmp_path / "slots") if file else ""
    engine = Engine(Slots(4, name, Clock()), 4)
    main = [*INSTRUCTIONS, *tokens(0, 20)]
    engine.asked(main, "main")
    for turn in range(1, 5):
        grown = [*main, *tokens(turn, 1)]
        assert engine.asked(grown, "main") == len(main)
        main = grown
        for each in range(5):
            with contextlib.ExitStack() as busy:
                for number in range(3):
                    seed = 1000 * turn + 10 * each + number
                    busy.enter_context(engine.ask([*INSTRUCTIONS * same, *tokens(seed, 12)], f"side {seed}"))


def test_a_conversation_that_goes_back_takes_its_own_slot() -> None:
    """A conversation whose history was changed, so that it shares little, replaces itself and nobody else; a sub-agent
    of the same session, which is another conversation, does not."""
    engine = Engine(Slots(3, clock=Clock()), 3)
    engine.asked([*INSTRUCTIONS, *tokens(1, 60)], "main")
    other = tokens(2, 30)
    engine.asked(other, "other")
    engine.asked([*INSTRUCTIONS, *tokens(3, 9)], "sub-agent")
    assert engine.asked([*INSTRUCTIONS, *tokens(4, 60)], "main") == len(INSTRUCTIONS)
    assert engine.asked([*other, 1], "other") == len(other)


def test_no_slot_twice() -> None:
    """A slot in use is given to nobody else; when all are, none is."""
    slots = Slots(2)
    with taken(slots, INSTRUCTIONS, "a") as one, taken(slots, INSTRUCTIONS, "a") as other:
        assert one is not None
        assert other is not None
        assert {one.index, other.index} == {0, 1}
        with taken(slots, INSTRUCTIONS, "a") as none:
            assert none is None


def test_a_domain_has_slots_of_its_own() -> None:
    """The same conversation with another adapter, or of another key, takes another slot, and finds its own again."""
    slots, found = Slots(2), list[int]()
    for domain in (b"", b"sea", b"", b"sea"):
        with taken(slots, INSTRUCTIONS, "a", domain) as one:
            assert one is not None
            found.append(one.index)
    assert found[:2] == found[2:]
    assert found[0] != found[1]


def _take_and_die(file: str) -> None:
    Slots(2, file).take(Pages(b"", INSTRUCTIONS), "a")
    os._exit(0)


def test_processes_share_what_they_know_of_slots(tmp_path: Path) -> None:
    """What one process gave another knows; the slots of one that died are free again, and a file that is no such file
    is nothing known."""
    file = tmp_path / "slots"
    file.write_bytes(b"no slots")
    process = multiprocessing.get_context("spawn").Process(target=_take_and_die, args=(str(file),))
    process.start()
    process.join(60)
    mine, yours = Slots(2, str(file)), Slots(2, str(file))
    with taken(mine, [*INSTRUCTIONS, *tokens(1, 1)], "a") as one, taken(yours, tokens(2, 9), "b") as other:
        assert one is not None
        assert other is not None
        assert {one.index, other.index} == {0, 1}
    with taken(yours, [*INSTRUCTIONS, *tokens(1, 2)]) as again:
        assert again is not None
        assert again.index == one.index


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell when a process began")
def test_a_number_that_is_used_again_keeps_no_slot(tmp_path: Path) -> None:
    """A slot of a worker that died is free again, also where another process has its number by now."""
    file, busy = tmp_path / "slots", Slot(busy=True, user=Process(os.getppid(), began=1))
    file.write_bytes(msgspec.msgpack.encode([busy, busy]))
    slots = Slots(2, str(file))
    with taken(slots, INSTRUCTIONS, "a") as one, taken(slots, tokens(1, 9), "b") as other:
        assert one is not None
        assert other is not None
    file.write_bytes(msgspec.msgpack.encode([busy, busy]))
    forget(file)
    assert [slot.busy for slot in slots.known()] == [False, False]


def test_an_engine_that_started_again_holds_nothing(tmp_path: Path) -> None:
    """Nothing is taken to be in its slots, also not what was at work when it died."""
    file = tmp_path / "slots"
    slots = Slots(2, str(file))
    with taken(slots, INSTRUCTIONS, "a"):
        forget(file)
    assert [slot.tokens for slot in slots.known()] == [0, 0]
    with taken(slots, INSTRUCTIONS, "a"):
        pass
    assert sorted(slot.tokens for slot in slots.known()) == [0, len(INSTRUCTIONS)]


def test_a_slot_knows_what_of_it_is_on_disk() -> None:
    """What a prompt goes on from stays on disk; what it adds, or has in place of it, does not."""
    slots = Slots(1)
    with taken(slots, INSTRUCTIONS, "a") as one:
        assert one is not None
    slots.stored(0, one.slot)
    assert slots.known()[0].unstored == 0
    with taken(slots, [*INSTRUCTIONS, *tokens(1, 3)], "a"):
        pass
    assert slots.known()[0].unstored == 3 * PAGE
    with taken(slots, [*INSTRUCTIONS[: 10 * PAGE], *tokens(2, 3)], "b"):
        pass
    assert slots.known()[0].unstored == 3 * PAGE
    with taken(slots, tokens(3, 3), "c"):
        pass
    slots.stored(0, one.slot)
    assert slots.known()[0].unstored == 3 * PAGE, "another turn of the slot was written"


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, PAGE - 1))
def test_hashes_tell_what_is_shared(same: int, one: int, other: int, rest: int) -> None:
    """Two prompts share as many pages as they have whole ones in common."""
    begin = tokens(1, same)
    first, second = [*begin, *tokens(2, one)], [*begin, *tokens(3, other), *tokens(4, 1)[:rest]]
    common = shared(Pages(b"", first).hashes, Pages(b"", second).hashes)
    assert common == len(Pages(b"", begin).hashes)


def test_what_is_held_is_given_to_nobody_else_after_a_restart(tmp_path: Path) -> None:
    """Who took a slot before the engine was started anew runs in it afterwards: nobody else is given it until then, and
    what it left there is not known."""
    file = tmp_path / "slots"
    slots = Slots(2, str(file))
    with taken(slots, INSTRUCTIONS, "a") as one:
        forget(file)
        with taken(slots, tokens(1, 9), "b") as other, taken(slots, tokens(2, 9), "c") as none:
            assert one is not None
            assert other is not None
            assert {one.index, other.index} == {0, 1}
            assert none is None
    assert slots.known()[one.index].tokens == 0


def test_what_two_workers_left_in_a_slot_without_their_file_is_not_known(tmp_path: Path) -> None:
    """One took the slot before the file failed, the other after: either may have been the last."""
    file = tmp_path / "slots"
    mine, yours = Slots(1, str(file)), Slots(1, str(file))
    with taken(mine, INSTRUCTIONS, "a", b"a"):
        file.unlink()
        with taken(yours, tokens(1, 9), "b", b"b"):
            pass
        assert mine.known()[0].domain == b"b"
    assert (mine.known()[0].domain, mine.known()[0].tokens) == (b"", 0)


@contextlib.contextmanager
def another_worker(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is done here another process that lives does."""
    with patch.context() as context:
        context.setattr(os, "getpid", os.getppid)
        yield


def test_a_slot_stays_with_its_worker_when_the_engine_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker holds while the engine is started anew no other worker is given, until it is let go of."""
    owner = WorkerStateOwner(tmp_path)
    file = str(Path(owner.folder) / slots_name("m"))
    mine, yours = Slots(2, file), Slots(2, file)
    with taken(mine, INSTRUCTIONS, "a") as one:
        owner.forget_slots("m")
        with (
            another_worker(monkeypatch),
            taken(yours, INSTRUCTIONS, "a") as other,
            taken(yours, tokens(1, 9), "b") as none,
        ):
            assert one is not None
            assert other is not None
            assert {one.index, other.index} == {0, 1}
            assert none is None
    assert [slot.busy for slot in mine.known()] == [False, False]
    assert mine.known()[one.index].tokens == 0
    owner.close()


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("change", [0, 1], ids=["not opened", "not written"])
def test_what_the_file_tells_from_before_it_failed_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, change: int
) -> None:
    """While a worker cannot use the file it gives slots all the same. Once it can again, what the file has from before
    is not taken to be in them, and no other worker is kept from them."""
    file = str(tmp_path / "slots")
    mine, yours = Slots(2, file), Slots(2, file)
    with taken(mine, INSTRUCTIONS, "a", b"a"), another_worker(monkeypatch), taken(yours, tokens(1, 9), "b", b"a"):
        pass
    with monkeypatch.context() as patch:
        Disk(tmp_path, patch).break_when(lambda n: n >= change, error)
        with taken(mine, INSTRUCTIONS, "c", b"c"), taken(mine, INSTRUCTIONS, "d", b"c"):
            assert [slot.tokens for slot in mine.known()] == [0, 0]
    assert [(slot.domain, slot.busy) for slot in mine.known()] == [(b"", False)] * 2
    with taken(mine, INSTRUCTIONS, "a", b"a"), another_worker(monkeypatch):
        assert sorted((slot.tokens, slot.busy) for slot in yours.known()) == [(0, False), (len(INSTRUCTIONS), True)]


def test_a_full_disk_takes_what_is_not_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The room that the file has is not given up before what is new is written: others may take it."""
    slots = Slots(1, str(tmp_path / "slots"))
    with taken(slots, INSTRUCTIONS, "a"):
        pass
    lengths, write = list[int](), os.write

    def written(handle: int, data: bytes) -> int:
        lengths.append(os.fstat(handle).st_size)
        return write(handle, data)

    monkeypatch.setattr(os, "write", written)
    assert slots.known()[0].tokens == len(INSTRUCTIONS)
    assert lengths == [(tmp_path / "slots").stat().st_size]
