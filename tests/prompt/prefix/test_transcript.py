"""The memory of conversations: bounded, shared between processes, never seen half written."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import stat
import time
from pathlib import Path

import msgspec

from antiphon.api.conversation import Conversation, Text, Turn
from antiphon.process.transcript_store import TranscriptFolder
from antiphon.prompt.prefix.hashes import beginning, chained
from antiphon.prompt.prefix.predecessors import Predecessors, record
from antiphon.prompt.prefix.transcript import Transcript

TURNS = tuple(Turn(role="assistant" if number % 2 else "user", parts=(Text(f"turn {number}"),)) for number in range(5))
CHAIN = chained(TURNS)
HEAD = beginning(Conversation(), {})


def _remember(folder: str, turns: int, count: int) -> None:
    asyncio.run(
        Transcript(transcripts=TranscriptFolder(folder)).remember(HEAD.key, CHAIN[: turns + 1], range(count), (1,))
    )


def _write_for_ever(folder: str) -> None:
    transcripts = TranscriptFolder(folder, capacity=3_000_000)
    while True:
        for number in range(256):
            asyncio.run(transcripts.put(bytes([number]), bytes([number]) * 100_000))


async def test_processes_recall_what_others_remember(tmp_path: Path) -> None:
    """What one process remembers another recalls: the longest beginning, its ids and its thoughts."""
    processes = multiprocessing.get_context("spawn")
    other = Transcript(transcripts=TranscriptFolder(str(tmp_path)))
    assert await other.recall(HEAD.key, CHAIN, TURNS) is None
    for turns, count in ((2, 70), (4, 200_000)):
        process = processes.Process(target=_remember, args=(str(tmp_path), turns, count))
        process.start()
        process.join(60)
        known = await other.recall(HEAD.key, CHAIN, TURNS)
        assert known is not None
        assert (known.turns, list(known.ids), known.thoughts) == (turns, list(range(count)), (1,))
    assert await other.recall(b"another system prompt", CHAIN, TURNS) is None


async def test_files_are_private_whole_and_bounded(tmp_path: Path) -> None:
    """The files are for their owner only; a killed writer leaves no value that is not whole, and the folder keeps to
    its bound."""
    folder = tmp_path / "shelf"
    process = multiprocessing.get_context("spawn").Process(target=_write_for_ever, args=(str(folder),))
    process.start()
    reader = TranscriptFolder(str(folder))
    seen = 0
    deadline = time.monotonic() + 60
    while seen < 2000 and time.monotonic() < deadline:
        for number in range(256):
            found = await reader.first([bytes([number])])
            if found is not None:
                seen += 1
                assert found == (0, bytes([number]) * 100_000)
    process.kill()
    process.join()
    assert seen >= 2000
    values = [path for path in folder.iterdir() if not path.name.startswith("new-")]
    assert all(path.stat().st_size == 4 + 100_000 and len(set(path.read_bytes()[4:])) == 1 for path in values)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in values)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3_000_000 * 1.2


async def test_what_cannot_be_read(tmp_path: Path) -> None:
    """A file that is no memory, and a folder that is gone, are nothing remembered: never an error."""
    transcripts = TranscriptFolder(str(tmp_path / "shelf"))
    await Transcript(transcripts=transcripts).remember(HEAD.key, CHAIN[:3], [1, 2, 3])
    for path in (tmp_path / "shelf").iterdir():
        path.write_bytes(path.read_bytes()[:-7])
    assert await Transcript(transcripts=transcripts).recall(HEAD.key, CHAIN, TURNS) is None
    for path in (tmp_path / "shelf").iterdir():
        path.unlink()
    os.rmdir(tmp_path / "shelf")
    transcript = Transcript(transcripts=transcripts)
    await transcript.remember(HEAD.key, CHAIN[:3], [1, 2, 3])
    known = await transcript.recall(HEAD.key, CHAIN, TURNS)
    assert known is not None
    assert list(known.ids) == [1, 2, 3]


async def test_the_least_recently_used_is_forgotten() -> None:
    """The least recently used beginnings are forgotten when there are too many tokens, or too many of them."""
    for transcript in (Transcript(capacity=100), Transcript(most=2)):
        for number in range(5):
            await transcript.remember(bytes([number]), CHAIN[:3], range(40))
            await transcript.recall(bytes([0]), CHAIN, TURNS)
        found = [await transcript.recall(bytes([number]), CHAIN, TURNS) is not None for number in range(5)]
        assert found == [True, False, False, False, True]


async def test_predecessors_in_two_workers(tmp_path: Path) -> None:
    """A message that another worker answered is found by its id; one that never was is not; the memory is bounded."""
    one, two = (Predecessors(transcripts=TranscriptFolder(str(tmp_path))) for _ in range(2))
    first = record("m", HEAD, CHAIN[:2], range(100), opening=2)
    await one.follow(first, session="s", message="msg_1", previous=None)
    grown = record("m", HEAD, CHAIN[:4], [*range(98), *range(500, 520)], opening=2)
    changed = record("m", HEAD, [b"", b"x", b"y"], range(50), opening=2)
    assert (await two.follow(grown, session="s", message="msg_2", previous="msg_1")).miss is None
    told = (await two.follow(changed, session="s", message=None, previous="msg_1")).miss
    assert told is not None
    assert (told.reason, told.tokens) == ("messages_changed", 50)
    gone = (await two.follow(changed, session="s", message=None, previous="msg_9")).miss
    assert gone is not None
    assert gone.reason == "previous_message_not_found"
    other = msgspec.structs.replace(grown, model="n")
    moved = (await two.follow(other, session="s", message=None, previous="msg_1")).miss
    assert moved is not None
    assert (moved.reason, moved.tokens) == ("model_changed", 100)
    thinking = record("m", beginning(Conversation(), {"enable_thinking": True}), CHAIN[:4], range(60), opening=2)
    unexplained = (await two.follow(thinking, session="s", message=None, previous="msg_1")).miss
    assert unexplained is not None
    assert unexplained.reason == "unavailable"
    for small in (Predecessors(capacity=250), Predecessors(most=3)):
        for number in range(5):
            await small.follow(first, session=str(number), message=f"msg_{number}", previous=None)
        assert (await small.follow(first, session=None, message=None, previous="msg_4")).miss is None
        assert (await small.follow(first, session=None, message=None, previous="msg_0")).miss is not None


def _damage(folder: Path) -> None:
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"x")


async def test_what_lasts_is_checked_and_apart(tmp_path: Path) -> None:
    """A value that was damaged on disk is not there any more; shelves of two owners share a folder and nothing else."""
    one, other = TranscriptFolder(str(tmp_path), owner=b"one"), TranscriptFolder(str(tmp_path), owner=b"other")
    await one.put(b"name", b"value")
    assert await one.first([b"none", b"name"]) == (1, b"value")
    assert await other.first([b"name"]) is None
    _damage(tmp_path)
    assert await one.first([b"name"]) is None
