"""`antiphon serve`: starts the engines, then HTTP workers that share the port; restarts all of them; drains.

Theory of operation. The supervisor's main thread runs Granian, which starts the workers, starts them again when
they die, and on a signal lets them drain (`workers.py`). Each embedded engine is another child, looked after by a
thread of its own (`engine_process.py`); engines are stopped last, because draining streams need them. Every child also
ends by itself when the supervisor disappears.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from antiphon.engines import connect
from antiphon.observability import request_log
from antiphon.parsing.formats import format_named, reasoning_named
from antiphon.process import banner, workers
from antiphon.process.engine_start import EngineStarter
from antiphon.process.managed_keys import managed_keys
from antiphon.process.worker_config import WorkerConfig
from antiphon.process.worker_state import METRICS_VARIABLE
from antiphon.process.worker_state_owner import WorkerStateOwner
from antiphon.settings.sources import ModelSettings, Settings
from antiphon.storage import files

log = logging.getLogger("antiphon")

APPLICATION = "antiphon.process.app:create"
# Read by now; engines and workers need not inherit it.
KEYS_VARIABLE = "ANTIPHON_API_KEY"


class CannotServe(Exception):
    """The server cannot start. The message says why, and what to do."""


def serve(settings: Settings, *, application: str = APPLICATION) -> int:
    """Serve until a signal says stop; gives the exit status. `application` names an ASGI factory.
    Raises CannotServe, ModelUnavailable and EngineUnavailable, all before anything listens."""
    with usable_port(settings) as port:
        return _serve(msgspec.structs.replace(settings, port=port), application)


def _serve(settings: Settings, application: str) -> int:
    refuse_open(settings)
    for model in settings.served.values():
        refuse_wrong_model(model)
    # Until the workers run there is nothing to drain: leave at once, through the clean-up below.
    signal.signal(signal.SIGTERM, _leave)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _leave)
    if settings.log_format == "json":
        request_log.configure("info", "json")
    os.environ.pop(KEYS_VARIABLE, None)
    sharing = share(settings)
    engines = EngineStarter(settings, sharing, say)
    try:
        places, notes = engines.start()
        config = WorkerConfig.of(settings, places, sharing.folder)
        os.environ.update(config.environment())
        if settings.workers > 1:
            os.environ[METRICS_VARIABLE] = sharing.metrics
        banner = Banner(settings, config, notes, sharing)
        return workers.run(settings, application, say=say, started=banner.start, stopping=banner.stop)
    except KeyboardInterrupt:
        return 130
    finally:
        engines.stop()
        sharing.close()


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def refuse_open(settings: Settings) -> None:
    """Raise CannotServe for a server that other machines reach and that no key guards."""
    if settings.loopback or settings.api_keys or settings.no_auth:
        return
    try:
        if managed_keys(settings):
            return
    except OSError as error:
        raise CannotServe(f"the keys of this server cannot be read: {error}") from None
    raise CannotServe(
        f"listening on {settings.host} lets other machines in, so it needs a key: add one with `antiphon keys add "
        "NAME`, give --api-key KEY (or --api-key-file FILE), or say --no-auth if everybody who can reach it may use it"
    )


def share(settings: Settings) -> WorkerStateOwner:
    """The folder that the supervisor and its workers share. Raises CannotServe where there is none to be had."""
    try:
        sharing = WorkerStateOwner(Path(settings.state_dir))
    except OSError as error:
        raise CannotServe(
            files.refusal("what workers share", error, settings.state_dir, "--state-dir")
            + "; no folder for temporary files can be written either"
        ) from None
    if sharing.trouble:
        say(files.refusal("what workers share", sharing.trouble, settings.state_dir, "--state-dir"))
        say(f"what workers share is kept in {sharing.folder} this time; nothing else is kept until there is room")
    return sharing


def say(sentence: str) -> None:
    """Tell the person at the terminal, or the program that reads the log."""
    if request_log.for_programs():
        log.info("%s", sentence)
    else:
        # A full disk behind it must not end the thread that looks after an engine.
        with contextlib.suppress(OSError):
            print(f"antiphon: {sentence}", file=sys.stderr, flush=True)


def refuse_wrong_model(model: ModelSettings) -> None:
    """Raise CannotServe for what can be known to be wrong of a model before anything is started for it."""
    files = {"--mmproj": model.mmproj, "--chat-template": model.chat_template, "--draft-model": model.draft_model}
    for flag, path in files.items():
        if path and not Path(path).is_file():
            raise CannotServe(f"{flag}: there is no file {path}")
    if model.speculate == "draft" and not model.draft_model:
        raise CannotServe(
            "--speculate draft: no draft model is named; give a small one with the same vocabulary (--draft-model)"
        )
    for name, path in model.adapters.items():
        if model.attached and not model.model.startswith("llama.cpp+"):
            raise CannotServe(f"--lora {name}=…: a running engine names its adapters itself; leave --lora out")
        if not model.attached and not Path(path).is_file():
            raise CannotServe(f"--lora {name}=…: there is no file {path}")
    try:
        if model.attached:
            connect(model.model)
        for name, named in ((model.tool_call_parser, format_named), (model.reasoning_parser, reasoning_named)):
            if name not in ("", "auto"):
                named(name)
    except (ValueError, OSError) as error:
        raise CannotServe(str(error)) from None


@contextlib.contextmanager
def usable_port(settings: Settings) -> Iterator[int]:
    """The port to listen on; where any will do, one that nothing uses. That one is held for the workers, who alone can
    share it: models may take minutes to load, and any other program might be given it meanwhile. Raises CannotServe."""
    refuse_port_in_use(settings)
    if settings.port:
        with _claimed(settings):
            yield settings.port
        return
    family, kind, _, _, place = socket.getaddrinfo(settings.host.strip("[]"), 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(place)
        yield holder.getsockname()[1]


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
            raise _in_use(settings) from None
        raise CannotServe(f"cannot listen on {host}, port {settings.port}: {error.strerror or error}") from None


@contextlib.contextmanager
def _claimed(settings: Settings) -> Iterator[None]:
    """Keep other servers off the port while models are loaded, when nobody listens on it yet. Raises CannotServe where
    another one does so. The claim is a name in the network namespace, which goes with the process: only Linux has such
    names."""
    if sys.platform != "linux":
        yield
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
        try:
            claim.bind(f"\0antiphon {settings.host}:{settings.port}")
        except OSError:
            raise _in_use(settings) from None
        yield


def _in_use(settings: Settings) -> CannotServe:
    host = settings.host.strip("[]")
    return CannotServe(f"port {settings.port} on {host} is in use; stop what uses it, or choose another with --port")


class Banner:
    """Waits on a thread until the server answers, then prints where and what it is. Tells the workers of the end."""

    def __init__(self, settings: Settings, config: WorkerConfig, notes: list[str], sharing: WorkerStateOwner) -> None:
        self._settings = settings
        self._runtime = config
        self._notes = notes
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
        settings = self._settings
        while not self._over.wait(0.1):
            health = ask_health(settings)
            if health is not None:
                sources = {place.name: place.gguf or place.engine for place in self._runtime.models}
                models = banner.served(health) or [banner.Served(name=place.name) for place in self._runtime.models]
                with contextlib.suppress(OSError):
                    print(banner.banner(settings, models, sources=sources, notes=self._notes), flush=True)
                return


def ask_health(settings: Settings) -> Any | None:
    """What the server says of itself: None while it does not answer, an empty dictionary when it says nothing."""
    place = banner.address(settings).removeprefix("http://")
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
