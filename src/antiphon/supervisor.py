"""`antiphon serve`: starts the engine, then HTTP workers that share the port; restarts both; drains.

Theory of operation. The supervisor's main thread runs Granian, which starts the workers, starts them again when
they die, and on a signal lets them drain (`workers.py`). The engine is another child, looked after by a thread
(`engine_process.py`); it is stopped last, because draining streams need it. Every child also ends by itself when
the supervisor disappears.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import secrets
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from antiphon import announce, models_store, workers
from antiphon.config import Runtime, Settings
from antiphon.engine_process import EngineProcess
from antiphon.engines import connect, gguf, machine, memory
from antiphon.engines.embedded import Launch
from antiphon.shared import Sharing

APPLICATION = "antiphon.app:create"
# What prometheus-client reads when `telemetry.py` is imported in a worker; importing it here would be too early.
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
# Idle conversations that llama.cpp keeps aside in memory, at most, and as a share of what is free.
_MOST_CACHE_MB, _CACHE_SHARE = 8192, 0.1


class CannotServe(Exception):
    """The server cannot start. The message says why, and what to do."""


def serve(settings: Settings, *, application: str = APPLICATION) -> int:
    """Serve until a signal says stop; gives the exit status. `application` names an ASGI factory.
    Raises CannotServe, ModelUnavailable and EngineUnavailable, all before anything listens."""
    refuse_port_in_use(settings)
    if settings.attached:
        try:
            connect(settings.model)
        except (ValueError, OSError) as error:
            raise CannotServe(str(error)) from None
    # Until the workers run there is nothing to drain: leave at once, through the clean-up below.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sharing = Sharing(Path(settings.state_dir))
    engine, runtime, note = None, Runtime(settings=settings, engine=settings.model, shared=sharing.folder), ""
    try:
        if not settings.attached:
            launch, note = plan(settings)
            engine = EngineProcess(launch, say, report=sharing.crashes)
            say(f"loading {Path(engine.launch.model).name} …")
            target = f"llama.cpp+http://127.0.0.1:{engine.start()}"
            runtime = Runtime(
                settings=settings,
                engine=target,
                engine_key=engine.launch.key,
                name=engine.launch.name,
                gguf=engine.launch.model,
                shared=sharing.folder,
            )
        os.environ.update(runtime.environment())
        if settings.workers > 1:
            os.environ[METRICS_VARIABLE] = sharing.metrics
        banner = Banner(runtime, note, sharing)
        return workers.run(settings, application, say=say, started=banner.start, stopping=banner.stop)
    except KeyboardInterrupt:
        return 130
    finally:
        if engine:
            engine.stop()
        sharing.close()


def say(sentence: str) -> None:
    """Tell the person at the terminal."""
    print(f"antiphon: {sentence}", file=sys.stderr, flush=True)


def refuse_port_in_use(settings: Settings) -> None:
    """Raise CannotServe when the address cannot be listened on. The workers share the port in a way that would let
    two servers have it at once, each with a part of the connections, so it is tried here first."""
    host = settings.host.strip("[]")
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            probe.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotServe(
                f"port {settings.port} on {host} is in use; stop what uses it, or choose another with --port"
            ) from None
        raise CannotServe(f"cannot listen on {host}, port {settings.port}: {error.strerror or error}") from None


def plan(settings: Settings) -> tuple[Launch, str]:
    """How to run the embedded engine, and a sentence when that is less than asked. Fetches the model if needed."""
    path = models_store.resolve(settings.model, Path(settings.cache_dir))
    try:
        file = gguf.read(path)
    except ValueError as error:
        raise CannotServe(str(error)) from None
    free = machine.free_bytes()
    room = memory.fit(
        window=settings.context_length or file.window or 4096,
        fixed=settings.context_length > 0,
        parallel=settings.parallel,
        token_bytes=memory.cache_bytes_per_token(file.values),
        free=max(0, free - path.stat().st_size),
    )
    launch = Launch(
        model=str(path),
        # Other users of the machine reach the engine's port too, and ours is not the only key that must hold.
        key=secrets.token_urlsafe(24),
        name=path.stem if settings.model else models_store.DEFAULT.name,
        window=room.window,
        parallel=room.parallel,
        threads=settings.threads,
        mmproj=settings.mmproj,
        gpu_layers=settings.gpu_layers,
        cache_mb=min(_MOST_CACHE_MB, int(free * _CACHE_SHARE) >> 20),
        log="" if settings.log_level == "debug" else str(Path(settings.state_dir) / f"engine-{settings.port}.log"),
    )
    return launch, room.note


class Banner:
    """Waits on a thread until the server answers, then prints where and what it is. Tells the workers of the end."""

    def __init__(self, runtime: Runtime, note: str, sharing: Sharing) -> None:
        self._runtime = runtime
        self._note = note
        self._sharing = sharing
        self._over = threading.Event()

    def start(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._watch, name="banner", daemon=True).start()

    def stop(self) -> None:
        """Stop asking; the server is to end."""
        self._over.set()
        self._sharing.stop()

    def _watch(self) -> None:
        settings = self._runtime.settings
        while not self._over.wait(0.1):
            health = ask_health(settings)
            if health is not None:
                model = announce.served(health) or announce.Served(name=self._runtime.name or settings.model)
                source = self._runtime.gguf or self._runtime.engine
                print(announce.banner(settings, model, source=source, note=self._note), flush=True)
                return


def ask_health(settings: Settings) -> Any | None:
    """What the server says of itself: None while it does not answer, an empty dictionary when it says nothing."""
    place = announce.address(settings).removeprefix("http://")
    connection = http.client.HTTPConnection(place, timeout=5)
    try:
        connection.request("GET", "/health", headers={"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    if answer.status >= 500:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return {}
