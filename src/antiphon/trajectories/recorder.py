"""Adds samples to a folder, whichever worker they come from."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from antiphon.storage import files
from antiphon.storage.lines import Lines, whole_lines
from antiphon.trajectories.sample import Reward, Sampled, StoredSample
from antiphon.trajectories.tree import ENDED_OTHERWISE, Node, Tree

log = logging.getLogger("antiphon")

REWARDS = "rewards.jsonl"
_LOCK = "lock"
_SUFFIX = ".jsonl"
_MOST_HELD = 1 << 24
"""Bytes of the files whose trees are held, of which the latest always is. In memory they are some five times that."""
_BETWEEN_LOOKS = 256
"""The size of the folder is looked at once in so many samples."""

_line = msgspec.json.Decoder(StoredSample)
_reward = msgspec.json.Decoder(Reward)


class _Known(msgspec.Struct):
    """A conversation's tree, as far as its file was read."""

    tree: Tree
    size: int


class Recorder:
    """The writing end of a folder, which is made for its owner's eyes only. It holds at most `capacity` bytes: beyond
    that, the conversations that were quiet longest go, and one that alone is larger begins anew. Raises OSError where
    the folder cannot be made."""

    def __init__(
        self, folder: Path, capacity: int, clock: Callable[[], float] = time.time, *, text: bool = False
    ) -> None:
        self.text = text
        """Whether the text of samples is wanted, too."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        self._folder = folder
        self._capacity = capacity
        self._clock = clock
        self._begun = clock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._written = 0

    async def record(self, sample: Sampled) -> None:
        """Add a sample to its conversation. A disk that takes nothing more costs the record, and no reply."""
        try:
            await asyncio.to_thread(self._record, sample)
        except OSError as error:
            log.warning("%s", files.refusal("the trajectory", error, self._folder, "--record"))

    def _record(self, sample: Sampled) -> None:
        path = self._folder / (hashlib.sha256(sample.conversation.encode()).hexdigest()[:32] + _SUFFIX)
        with self._alone():
            known = self._read(path)
            line = self._line(sample, known.tree)
            data = msgspec.json.encode(line)
            _add(path, data)
            known.tree.add(line)
            known.size = path.stat().st_size
            if self._written % _BETWEEN_LOOKS == 0:
                self._shrink(path)
            self._written += 1

    def reward(self, label: str, reward: float) -> None:
        """Put a number on a rollout; the last one counts. Raises OSError."""
        with self._alone():
            _add(self._folder / REWARDS, msgspec.json.encode(Reward(label, reward, self._clock())))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        import fcntl  # not on every system, and needed for records only

        handle = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _read(self, path: Path) -> _Known:
        """The tree of a file, read anew where another worker has written to it."""
        size = path.stat().st_size if path.exists() else 0
        known = self._known.pop(path.name, None)
        if known is None or known.size != size:
            known = _Known(read(path) if size else Tree(), size)
        self._known[path.name] = known
        held = sum(each.size for each in self._known.values())
        while held > _MOST_HELD and len(self._known) > 1:
            held -= self._known.popitem(last=False)[1].size
        return known

    def _line(self, sample: Sampled, tree: Tree) -> StoredSample:
        parent, shared = tree.nearest(sample.prompt)
        return StoredSample(
            model=sample.model,
            more=list(sample.prompt[shared:]),
            output=list(sample.output),
            sampled=list(sample.sampled),
            logprobs=list(sample.logprobs),
            sampling=sample.sampling,
            stop=sample.stop,
            at=self._clock(),
            begun=self._begun if sample.loaded is None else sample.loaded,
            parent=parent.number if parent else None,
            shared=shared,
            broken=_broken(sample, parent, shared) if parent else "",
            grammar=sample.grammar,
            label=sample.label,
            request=sample.request,
            message=sample.message,
            more_text=_text(sample.spelled[shared : len(sample.prompt)]),
            output_text=_text(sample.spelled[len(sample.prompt) :]),
        )

    def _shrink(self, current: Path) -> None:
        found = [(each.stat(), each) for each in self._folder.glob("*" + _SUFFIX) if each.name != REWARDS]
        size = sum(stat.st_size for stat, _ in found)
        for stat, path in sorted(found, key=lambda one: (one[1] == current, one[0].st_mtime)):
            if size <= self._capacity:
                return
            path.unlink(missing_ok=True)
            self._known.pop(path.name, None)
            size -= stat.st_size


def _broken(sample: Sampled, parent: Node, shared: int) -> str:
    """Why a sample does not go on from all of its parent's sequence; empty where it does."""
    if shared == parent.length:
        return ""
    if shared == len(sample.prompt) == parent.prompt:
        return "retry"
    if sample.changed:
        return sample.changed
    if parent.length - 1 == shared < len(sample.prompt) and parent.line.stop in ("end_turn", "tool_use"):
        return ENDED_OTHERWISE
    return "rendered_anew" if shared >= parent.prompt else "messages_changed"


def _text(spelled: Sequence[bytes]) -> str:
    return b"".join(spelled).decode("utf-8", "replace")


def _add(path: Path, line: bytes) -> None:
    lines = Lines(path)
    try:
        lines.add(line)
    finally:
        lines.close()


def read(path: Path) -> Tree:
    """The tree of a conversation's file. Raises OSError, and ValueError where it is none."""
    return Tree(_line.decode(line) for line in whole_lines(path))


class _Conversations(Mapping[str, Tree]):
    def __init__(self, folder: Path) -> None:
        paths = [path for path in folder.glob("*" + _SUFFIX) if path.name != REWARDS]
        self._paths = {path.stem: path for path in sorted(paths, key=lambda path: path.stat().st_mtime)}

    def __getitem__(self, name: str) -> Tree:
        return read(self._paths[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def conversations(folder: Path) -> Mapping[str, Tree]:
    """All conversations of a folder by their names, the oldest first. Each is read when it is asked for, which raises
    as `read` does. Raises OSError."""
    return _Conversations(folder)


def rewards(folder: Path) -> dict[str, float]:
    """The reward of each label, the last that it was given. Raises OSError and ValueError."""
    path = folder / REWARDS
    given = (_reward.decode(line) for line in whole_lines(path)) if path.exists() else ()
    return {each.label: each.reward for each in given}
