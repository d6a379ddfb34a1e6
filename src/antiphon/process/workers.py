"""The HTTP workers: processes that share the port, run by Granian from the supervisor's main thread.

How Granian stops (2.8, tried 2026-11): each worker closes its listening socket at once, idle connections too, goes on
with its running responses, and shuts the application down when the last one has ended; what is left after
`workers_kill_timeout` is killed. That is a drain as we want it. What it lacks is added here: a second signal that
forces, workers that end when the supervisor disappears, listening sockets that outlive them, a server that outlives
them, too, and an end of connections whose clients take nothing.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import importlib
import logging
import math
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import granian._signals
from granian import Granian
from granian._granian import ListenerSpec, SocketHolder, WorkerSignal
from granian.constants import Interfaces
from granian.log import LogLevels

from antiphon.process.worker_state import reserve_metrics
from antiphon.settings.sources import Settings

_PR_SET_PDEATHSIG = 1
_BACKLOG = 4096
# A worker that dies earlier than this after its start may not have got through it.
_BRIEF = 5.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0
# A connection is cheap, and the engine's queue is the place to refuse work with a proper answer.
_CONNECTIONS = 65536
_NAMES = {"console": "generic", "access": "access"}
_HANDLERS = {
    name: {"formatter": form, "class": "logging.StreamHandler", "stream": "ext://sys.stderr"}
    for name, form in _NAMES.items()
}
_JSON = {form: {"()": "antiphon.observability.request_log.JsonLines"} for form in _NAMES.values()}


def run(
    settings: Settings,
    application: str,
    *,
    say: Callable[[str], None],
    started: Callable[[], None] = lambda: None,
    stopping: Callable[[], None] = lambda: None,
) -> int:
    """Run the workers until SIGTERM, SIGINT or SIGHUP; gives the exit status. `application` is `module:factory`.
    `started` is called just before the workers are, `stopping` at the first signal. Must run on the main thread."""
    # A forked worker would inherit locks that the supervisor's threads hold, and the pipe that keeps the engine alive.
    multiprocessing.set_start_method("spawn", force=True)
    server = _Server(
        application,
        address=str(socket.getaddrinfo(settings.host.strip("[]"), None, type=socket.SOCK_STREAM)[0][4][0]),
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        websockets=False,
        backlog=_BACKLOG,
        backpressure=_CONNECTIONS,
        send_timeout=settings.send_timeout,
        respawn_failed_workers=True,
        # Granian counts whole seconds, and takes 0 for "for ever".
        workers_kill_timeout=max(1, math.ceil(settings.grace_period)),
        log_level=LogLevels.debug if settings.log_level == "debug" else LogLevels.error,
        log_dictconfig={"handlers": _HANDLERS} | ({"formatters": _JSON} if settings.log_format == "json" else {}),
    )
    signals = Signals(server, settings.grace_period, say, stopping)
    server.on_startup(signals.take)
    server.on_startup(started)
    try:
        server.serve(target_loader=load)
    except SystemExit as ending:
        # Granian ends so when a worker gave up again and again, or on the way out when one died by itself.
        return 0 if signals.received else ending.code if isinstance(ending.code, int) else 1
    return 0


class _Server(Granian):  # type: ignore[misc, valid-type]
    """Each worker has a listening socket of its own, among which the kernel divides the connections, and the supervisor
    has them all: those of a worker that died wait for the one that is started in its place instead of being refused. On
    Linux a connection breaks whose client takes nothing of what it is sent for `send_timeout` seconds."""

    def __init__(self, *arguments: Any, send_timeout: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._send_timeout = send_timeout

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        """In the place of Granian's (2.8), which ends the server when a worker dies within seconds of being started
        again, whatever killed it, and misses a signal or a death that comes while it starts one. Here only a worker
        that twice ends by itself, because it cannot start, ends the server; one that was killed is started again for
        ever, as engines are."""
        pauses: dict[int, float] = {}
        while not self.interrupt_signal:
            self.main_loop_interrupt.wait()
            self.main_loop_interrupt.clear()
            while self.interrupt_children and not self.interrupt_signal:
                index = self.interrupt_children[0]
                worker = self.wrks[index]
                brief = time.monotonic() - worker.birth < _BRIEF
                if brief and index in pauses and worker.inner.exitcode >= 0:
                    return
                pause = pauses.get(index, 0.0) if brief else 0.0
                pauses[index] = min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
                self._rest(pause)
                if self.interrupt_signal:
                    return
                self.interrupt_children.pop(0)
                self._respawn_workers([index], spawn_target, target_loader)

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.interrupt_signal and time.monotonic() < until:
            time.sleep(0.05)

    def _init_shared_socket(self) -> None:
        self._listeners: list[tuple[SocketHolder, socket.socket]] = []
        if sys.platform != "linux":
            # Elsewhere the kernel does not divide connections, and Granian has the workers share one socket.
            super()._init_shared_socket()
            return
        self._ssp = None
        address = ListenerSpec(self.bind_addr, self.bind_port, self.backlog)
        holders = [address.build() for _ in range(self.workers)]
        self._listeners = [(holder, socket.socket(fileno=holder.get_fd())) for holder in holders]
        for _, listener in self._listeners:
            listener.set_inheritable(True)
            # Inherited by connections. The application could not do it: Granian leaves a connection open that it cannot
            # write to, and a write waits until a third of the kernel's buffer is free, however slowly it is read.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, math.ceil(self._send_timeout * 1000))

    def _spawn_worker(self, idx: int, *arguments: Any, **named: Any) -> Any:
        if self._listeners:
            self._shd, self._sso = self._listeners[idx]
        return super()._spawn_worker(idx, *arguments, **named)

    def _drop_shared_socket(self) -> None:
        for _, listener in self._listeners:
            listener.close()
        super()._drop_shared_socket()


class Signals:
    """The first signal drains, the second forces. SIGHUP, of a terminal that was closed, only drains, because it may
    come twice, and does nothing to a server that was started with `nohup`. All is done by a thread: a signal may come
    while Python deals with another (`make` passes on what its child was sent, too), and a lock that both want would
    stop everything."""

    def __init__(
        self, server: Any, grace_period: float, say: Callable[[str], None], stopping: Callable[[], None]
    ) -> None:
        self.received = False
        """Whether there was one."""
        self._server = server
        self._grace_period = grace_period
        self._say = say
        self._stopping = stopping
        self._stays = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._heard, self._tell = os.pipe()
        threading.Thread(target=self._heed, name="signals", daemon=True).start()

    def take(self) -> None:
        """Put this in the place of Granian's own handlers."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if self._stays else self.on_signal)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """What Python calls. It takes no lock."""
        if self.received and number == signal.SIGHUP:
            return
        self.received = True
        for worker in list(self._server.wrks):
            # Ctrl-C reaches the workers too; one that leaves by that is no accident.
            worker.interrupt_by_parent = True
        os.write(self._tell, b"!")

    def _heed(self) -> None:
        os.read(self._heard, 1)
        self._stopping()
        self._say(f"stopping; running requests have {self._grace_period:g} s to finish (once more to stop at once)")
        self._server.signal_handler_interrupt()
        while os.read(self._heard, 1):
            for worker in list(self._server.wrks):
                worker.kill()


def load(application: str) -> Any:
    """The application, made inside a worker. Before that, the worker is tied to the life of the supervisor."""
    # Until the server installs its own handlers, a signal to stop must not be lost.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # A terminal that is closed tells all processes; the supervisor lets this one finish.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid != os.getppid():
        sys.exit(1)
    granian._signals.set_loop_signals = stop_by_signals
    reserve_metrics()
    module, _, factory = application.partition(":")
    target = getattr(importlib.import_module(module), factory)()
    atexit.register(_leave, target)
    return target


def stop_by_signals(loop: asyncio.AbstractEventLoop) -> WorkerSignal:
    """As Granian's own (2.8, tried 2026-11), whose handlers are the loop's. That one runs, pauses and runs again while
    the worker starts, and uvloop loses a signal that comes in the pause: the worker would never end."""
    stop = WorkerSignal()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stop


def _leave(application: Any) -> None:
    """End a worker that has stopped as it was asked to. Left to itself, a thread of Granian 2.8 reaches for the
    interpreter while that is being taken down, and the process aborts."""
    if getattr(application, "stopped", False):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
