"""The thread that looks after an engine, with a child of this file's own in the engine's place."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from antiphon.engines.embedded import Launch
from antiphon.process import engine_process
from antiphon.process.engine_process import EngineProcess
from antiphon.process.worker_state import slots_name
from antiphon.process.worker_state_owner import WorkerStateOwner
from tests.faults.disk import ERRORS, Disk
from tests.process.test_supervisor import eventually

READY = """'{"ready":true,"port":1}'"""
CHILD = "import sys; sys.stdin.readline(); print({line}, flush=True); sys.stdin.read()"


class Children:
    """What is started in the engine's place: each says the next of `lines` (and all others that they are ready), and
    lives until it is let go of."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.started = 0

    def popen(self, command: list[str], **named: Any) -> subprocess.Popen[bytes]:
        self.started += 1
        line = self.lines.pop(0) if self.lines else READY
        return self._popen([sys.executable, "-c", CHILD.format(line=line)], **named)

    _popen = staticmethod(subprocess.Popen)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Children:
    played = Children()
    monkeypatch.setattr(engine_process.subprocess, "Popen", played.popen)
    return played


@pytest.fixture
def engine(children: Children) -> Iterator[Callable[..., EngineProcess]]:
    """Makes engines, and stops them in the end."""
    made: list[EngineProcess] = []

    def make(log: str = "", **named: Any) -> EngineProcess:
        launch = Launch(model="m", window=1, log=log)
        made.append(EngineProcess(launch, **{"say": lambda sentence: None, "pause": 0.05} | named))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def killed(engine: EngineProcess) -> None:
    """End the child as the system would."""
    assert engine._child
    engine._child.kill()


def test_an_engine_is_started_until_it_comes(engine: Callable[..., EngineProcess], children: Children) -> None:
    """What goes wrong before a start, or in a child's answer, is told, and tried again."""
    said: list[str] = []
    trouble = [None, OSError(errno.EROFS, "nothing can be written"), ValueError("another thing")]

    def starting() -> None:
        if trouble and (error := trouble.pop(0)):
            raise error

    children.lines = [READY, "'no answer'"]
    looked_after = engine(say=said.append, starting=starting)
    looked_after.start()
    killed(looked_after)
    eventually(lambda: said[-1:] == ["the engine answers again"])
    reasons = [sentence.partition("died (")[2] for sentence in said[:-1]]
    assert len(reasons) == 4
    for reason, words in zip(
        reasons, ("signal 9", "nothing can be written", "another thing", "malformed"), strict=True
    ):
        assert words in reason


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_restart_during_a_start_is_answered(
    engine: Callable[..., EngineProcess], children: Children, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Asked for while the engine is started after a death, before there is a child or when there is one, it is answered
    with a child that was started afterwards."""
    answers: Queue[str] = Queue()
    popen = children.popen

    def ask() -> None:
        threading.Thread(target=lambda: answers.put(looked_after.restart()), daemon=True).start()
        eventually(lambda: looked_after._renewed)

    def starting() -> None:
        if moment == "before" and children.started == 1:
            ask()

    def played(*arguments: Any, **named: Any) -> subprocess.Popen[bytes]:
        child = popen(*arguments, **named)
        if moment == "after" and children.started == 2:
            ask()
        return child

    monkeypatch.setattr(engine_process.subprocess, "Popen", played)
    looked_after = engine(starting=starting)
    looked_after.start()
    killed(looked_after)
    assert answers.get(timeout=60) == ""
    assert children.started == 3
    assert looked_after.pid


def test_a_restart_of_an_engine_that_was_stopped_is_answered(engine: Callable[..., EngineProcess]) -> None:
    """It says so instead of waiting."""
    looked_after = engine()
    looked_after.start()
    looked_after.stop()
    assert looked_after.restart()


@pytest.mark.parametrize("earlier", [True, False])
def test_an_engines_log_is_for_its_owner(engine: Callable[..., EngineProcess], tmp_path: Path, earlier: bool) -> None:
    """Whatever the mask, and when everybody could read the one of an earlier start, too; what that had is gone."""
    log = tmp_path / "log"
    if earlier:
        log.write_text("earlier")
        log.chmod(0o644)
    mask = os.umask(0o022)
    try:
        engine(str(log)).start()
    finally:
        os.umask(mask)
    assert log.stat().st_mode & 0o777 == 0o600
    assert log.read_bytes() == b""


@pytest.mark.parametrize("long", [True, False])
def test_a_long_log_is_cut_at_a_restart(
    engine: Callable[..., EngineProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long: bool
) -> None:
    """To its end, which is told with the death of the engine; a short one stays as it is."""
    monkeypatch.setattr(engine_process, "_LONGEST_LOG", 5000)
    monkeypatch.setattr(engine_process, "_END_OF_LOG", 1000)
    log, said = tmp_path / "log", list[str]()
    looked_after = engine(str(log), say=said.append)
    looked_after.start()
    written = b"a line\n" * (1000 if long else 100) + b"its last word\n"
    log.write_bytes(written)
    killed(looked_after)
    eventually(lambda: said[-1:] == ["the engine answers again"])
    assert log.read_bytes() == (written[-1000:] if long else written)
    assert "\n    a line\n    its last word\n" in said[0]
    assert log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_an_engine_starts_where_its_slots_cannot_be_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """Whichever call fails when the workers are to know that its slots are empty."""
    owner = WorkerStateOwner(tmp_path)
    slots = Path(owner.folder) / slots_name("m")
    slots.write_bytes(b"what was in them")
    with monkeypatch.context() as patch:
        disk = Disk(tmp_path, patch)
        for n in range(4):
            disk.fail(n, error=error)
            owner.forget_slots("m")
    owner.forget_slots("m")
    assert slots.read_bytes() != b"what was in them"
    owner.close()
