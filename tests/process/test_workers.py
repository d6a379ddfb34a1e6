"""How signals reach the HTTP server."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest
import uvloop

from antiphon.process import workers
from antiphon.process.workers import Signals


class Server:
    """Granian, as far as signals are about it: one worker, and how often it was told to end."""

    def __init__(self) -> None:
        self.interrupted = threading.Semaphore(0)
        self.killed = threading.Event()
        self.interrupt_by_parent = False

    @property
    def wrks(self) -> list[Server]:
        return [self]

    def kill(self) -> None:
        self.killed.set()

    def signal_handler_interrupt(self) -> None:
        self.interrupted.release()


def test_the_first_signal_drains_and_the_second_forces() -> None:
    """The first one ends the server in its own time, the second one kills what still runs."""
    server, said = Server(), list[str]()
    signals = Signals(server, 10.0, said.append, lambda: None)
    signals.on_signal(15, None)
    assert signals.received
    assert server.interrupt_by_parent
    assert server.interrupted.acquire(timeout=60)
    assert "stopping" in said[0]
    assert not server.killed.is_set()
    signals.on_signal(15, None)
    assert server.killed.wait(60)
    assert len(said) == 1


def test_signals_wait_for_nobody() -> None:
    """They come while others are dealt with, on the same thread; what they have done takes as long as it likes."""
    may_say, server = threading.Event(), Server()
    signals = Signals(server, 10.0, lambda sentence: None, lambda: may_say.wait(60) and None)
    for _ in range(20):
        signals.on_signal(15, None)
    assert not server.killed.is_set()
    may_say.set()
    assert server.killed.wait(60)


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals reach the main thread")
def test_a_worker_hears_signals_while_its_loop_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's loop runs for the application's start, pauses, and runs again to serve. A signal that comes in the
    pause ends the worker, too."""
    monkeypatch.setattr(workers, "WorkerSignal", threading.Event)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    loop = uvloop.new_event_loop()
    try:
        stop = workers.stop_by_signals(loop)
        loop.run_until_complete(asyncio.sleep(0))
        os.kill(os.getpid(), signal.SIGTERM)
        loop.run_until_complete(asyncio.sleep(0))
        assert stop.is_set()
    finally:
        loop.close()
        for number, handler in before.items():
            signal.signal(number, handler)
