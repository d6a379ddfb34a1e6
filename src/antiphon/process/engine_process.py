"""The embedded engine as seen by its parent: start it, start it again when it dies, stop it.

All of it happens on one thread, because Linux ties "die with your parent" to the thread that started the child.
The port stays the same across restarts, so whoever talks to the engine needs no news of them.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Queue

import msgspec

from antiphon.engines.embedded import Answer, Launch

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
# An engine that has run for this long was not killed by its own start: the next pause is short again.
_STEADY = 60.0
# So many deaths in a row, none of them after a steady run, are no accident.
_LOOP = 3
_PATIENCE_AT_STOP = 5.0
_STOPPED = "it was stopped"
# A log that has grown beyond this is cut before the next start, to its last bytes, which alone are ever looked at.
_LONGEST_LOG = 10 << 20
_END_OF_LOG = 64 << 10
# A line of llama.cpp's log: time, level, place and what happened.
_ERROR = re.compile(r"^[\d.]+ E [^:\n]*: (.*)$", re.MULTILINE)
_SHORT_OF_MEMORY = (
    "\n  The memory is too small: ask for less with --context-length or --parallel, or serve a smaller model."
)


class EngineUnavailable(Exception):
    """The engine did not start. The message says why, as far as it is known, for whoever reads the log, `reason` in one
    line for clients."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class EngineProcess:
    """A child process that runs the engine. `say` is told in a sentence of every death and return, `report` when it
    dies again and again (and, with nothing, when that is over), `starting` before each start. `pause` is what the first
    restart waits, in seconds."""

    def __init__(
        self,
        launch: Launch,
        say: Callable[[str], None],
        pause: float = _FIRST_PAUSE,
        report: Callable[[str], None] = lambda sentence: None,
        starting: Callable[[], None] = lambda: None,
    ) -> None:
        self.launch = launch
        self._say = say
        self._report = report
        self._starting = starting
        self._who = f"the engine of {launch.name}" if launch.name else "the engine"
        self._deaths = 0
        self._first_pause = self._pause = pause
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._first: Queue[Answer] = Queue()
        self._renewed: Queue[str] | None = None
        """Where somebody waits for the next child, on purpose."""
        self._over = False
        # Held while one thread says that it wants the next child, and while the other begins to start it.
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    @property
    def pid(self) -> int | None:
        """The child's process id, None while there is none."""
        child = self._child
        return child.pid if child and child.poll() is None else None

    def start(self) -> int:
        """Start it and wait until it answers; gives its port. Raises EngineUnavailable."""
        if self.launch.log:
            # Where it cannot be written, the engine's own words go to standard error.
            with contextlib.suppress(OSError):
                Path(self.launch.log).parent.mkdir(parents=True, exist_ok=True)
                _begin_log(self.launch.log)
        self._thread.start()
        answer = self._first.get()
        if not answer.ready:
            message = f"{self._who} does not start: {answer.error}"
            raise EngineUnavailable(message + self._last_words(), self._first_error() or answer.error)
        return answer.port

    def restart(self) -> str:
        """Start the child again, from its files as they are now, and wait until it answers; gives why it does not."""
        with self._turn:
            if self._over:
                return _STOPPED
            self._renewed = renewed = Queue[str]()
            child = self._child
        self._let_go(child)
        return renewed.get()

    def stop(self) -> None:
        """End the child and the thread. May be called at any time, and twice."""
        self._stopping.set()
        self._let_go(self._child)
        while self._thread.is_alive():
            # The thread may just have started another one.
            self._thread.join(0.1)
            self._let_go(self._child)
        self._forget_cause()
        if self._deaths >= _LOOP:
            self._report("")

    def _let_go(self, child: subprocess.Popen[bytes] | None) -> None:
        """Close the child's input, which is its sign to leave; insist when it does not."""
        if child is None:
            return
        if child.stdin:
            with contextlib.suppress(OSError):  # it may have died with our words unread
                child.stdin.close()
        try:
            child.wait(_PATIENCE_AT_STOP)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _run(self) -> None:
        started_once = False
        while not self._stopping.is_set():
            begun, renewed = time.monotonic(), self._begin()
            answer = self._attempt()
            if not started_once:
                if not answer.ready:
                    # All of its log is there when it has ended.
                    self._let_go(self._child)
                self._first.put(answer)
                if not answer.ready:
                    break
                started_once = True
                self.launch = msgspec.structs.replace(self.launch, port=answer.port)
            elif answer.ready:
                self._say(f"{self._who} answers again")
            if renewed:
                self._renewed = None
                renewed.put(answer.error)
            elif self._renewed:
                # It was asked for while this child was started, which may have read files that have changed since.
                self._let_go(self._child)
                continue
            code = self._outlived()
            self._let_go(self._child)
            if not self._stopping.is_set() and not self._renewed:
                self._mourn(answer.error or self._cause() or _how(code), time.monotonic() - begun)
        self._let_go(self._child)
        # For one that was stopped while it was being started.
        self._first.put(Answer(ready=False, error=_STOPPED))
        with self._turn:
            self._over = True
        if self._renewed:
            self._renewed.put(_STOPPED)

    def _begin(self) -> Queue[str] | None:
        """Begin a start: where somebody waits for the child, whose files are read from now on."""
        with self._turn:
            self._child = None
            return self._renewed

    def _mourn(self, reason: str, lived: float) -> None:
        """Tell of a death, and pause."""
        if lived > _STEADY:
            self._pause = self._first_pause
        self._deaths += 1
        if self._deaths >= _LOOP:
            self._report(f"{self._who} keeps dying: {self._deaths} times in a row, last with: {reason}")
        self._say(f"{self._who} died ({reason}); starting it again in {self._pause:g} s{self._last_words()}")
        self._stopping.wait(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _outlived(self) -> int:
        """How the child ended. One that runs for a while has ended a row of deaths."""
        if not self._child:
            return -1
        try:
            return self._child.wait(_STEADY)
        except subprocess.TimeoutExpired:
            if self._deaths >= _LOOP:
                self._report("")
            self._deaths = 0
        return self._child.wait()

    def _attempt(self) -> Answer:
        """Start the child. Whatever goes wrong is an answer, too: with this thread, all further starts would end."""
        try:
            return self._spawn()
        except Exception as error:
            self._let_go(self._child)
            return Answer(ready=False, error=str(error) or repr(error))

    def _spawn(self) -> Answer:
        """Start the child and hear its answer. One that dies before it answers has answered with its death."""
        self._forget_cause()
        self._starting()
        with contextlib.suppress(OSError):
            _cut_log(self.launch.log)
        command = [sys.executable, "-m", "antiphon.engines.embedded"]
        try:
            self._child = child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            return Answer(ready=False, error=f"the system gives no process for it: {error.strerror or error}")
        assert child.stdin
        assert child.stdout
        with contextlib.suppress(OSError):  # when it is dead already, how it died is told below
            child.stdin.write(msgspec.json.encode(self.launch) + b"\n")
            child.stdin.flush()
        line = child.stdout.readline()
        child.stdout.close()
        if line:
            return msgspec.json.decode(line, type=Answer)
        how = _how(child.wait())
        return Answer(ready=False, error=self._cause() or f"it ended by itself ({how})")

    def _cause(self) -> str:
        """Why the child ended, if it said so."""
        try:
            return Path(self.launch.cause).read_text("utf-8") if self.launch.cause else ""
        except OSError:
            return ""

    def _forget_cause(self) -> None:
        with contextlib.suppress(OSError):
            if self.launch.cause:
                Path(self.launch.cause).unlink(missing_ok=True)

    def _first_error(self) -> str:
        """What the engine's log has of the first thing that went wrong."""
        try:
            return next(iter(_ERROR.findall(Path(self.launch.log).read_text("utf-8", "replace"))), "")
        except OSError:
            return ""

    def _last_words(self) -> str:
        """Where the engine's own log is, and how it ends."""
        if not self.launch.log:
            return ""
        try:
            lines = _end_of_log(self.launch.log).decode("utf-8", "replace").splitlines()[-5:]
        except OSError:
            return ""
        hint = _SHORT_OF_MEMORY if any("failed to allocate" in line for line in lines) else ""
        return "".join(f"\n    {line}" for line in lines) + f"\n  (its log: {self.launch.log}){hint}"


def _begin_log(path: str) -> None:
    """Empty it, for its owner's eyes only: it may tell what was said. Raises OSError."""
    handle = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    try:
        # One that an earlier version made may be for everybody.
        os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def _end_of_log(path: str) -> bytes:
    """What a log ends with. Raises OSError."""
    with open(path, "rb") as log:
        log.seek(max(os.fstat(log.fileno()).st_size - _END_OF_LOG, 0))
        return log.read(_END_OF_LOG)


def _cut_log(path: str) -> None:
    """Keep the end of a log that is too long. The engine, which is not there now, appends to it. Raises OSError."""
    if path and os.stat(path).st_size > _LONGEST_LOG:
        end = _end_of_log(path)
        with open(path, "r+b") as log:
            log.truncate(0)
            log.write(end)


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit status {code}"
