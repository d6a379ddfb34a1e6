"""The composition root: what a place without a supervisor brings along is what the application works with."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from antiphon.accounts.keyring import Keyring
from antiphon.batches.worker import Worker
from antiphon.engines import Description, Prefixes, Reach
from antiphon.engines.scripted import Script, Scripted
from antiphon.process import reloading
from antiphon.process.app import Application
from antiphon.process.reloading import WorkerReloader
from antiphon.process.worker_config import ModelEndpoint, WorkerConfig
from antiphon.process.worker_state import Reloaded
from antiphon.process.worker_state_owner import WorkerStateOwner
from antiphon.settings.sources import Settings
from tests.faults.processes import eventually


class Kept:
    """A shelf in memory."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    async def first(self, names: Sequence[bytes]) -> tuple[int, bytes] | None:
        return next(((at, self.values[name]) for at, name in enumerate(names) if name in self.values), None)

    async def put(self, name: bytes, value: bytes) -> None:
        self.values[name] = value


async def asked(application: Application, messages: list[dict[str, str]]) -> dict[str, Any]:
    """The reply to these messages, by the application's own interface."""
    body = json.dumps({"model": "m", "max_tokens": 9, "messages": messages}).encode()
    taken, sent = asyncio.Queue[dict[str, Any]](), []
    taken.put_nowait({"type": "http.request", "body": body})
    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "query_string": b""}
    scope |= {
        "server": ("127.0.0.1", 80),
        "headers": [(b"host", b"localhost"), (b"anthropic-version", b"1"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 2),
    }

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, taken.get, send)
    reply: dict[str, Any] = json.loads(b"".join(message.get("body", b"") for message in sent))
    return reply


async def test_two_applications_with_one_shelf(tmp_path: Path) -> None:
    """Two that share nothing but a shelf for each model: the second turn, which comes to the other one, begins with
    what the first one sampled; and nothing is written to the state folder."""
    shelves: dict[str, Kept] = {}
    engine = Scripted(Script())
    runtime = WorkerConfig(
        settings=Settings(state_dir=str(tmp_path)), models=(ModelEndpoint(settings=Settings(), engine="", name="m"),)
    )

    def attach(place: ModelEndpoint, reach: Reach) -> Scripted:
        return engine

    applications = [
        Application(runtime, attach=attach, transcripts=lambda name: shelves.setdefault(name, Kept()), seal=b"s" * 32)
        for _ in range(2)
    ]
    async with living(applications[0]), living(applications[1]):
        messages = [{"role": "user", "content": "Hi"}]
        first = await asked(applications[0], messages)
        messages += [{"role": "assistant", "content": first["content"]}, {"role": "user", "content": "Go on"}]
        await asked(applications[1], messages)
        before = [*engine.jobs[0].prompt, *engine.sampled[0]]
        assert list(engine.jobs[1].prompt[: len(before)]) == before
        assert sorted(shelves) == ["m", "messages"]
        assert not os.listdir(tmp_path)


async def test_a_worker_that_is_started_after_a_reload_knows_of_it(tmp_path: Path) -> None:
    """It looks for what the others look for that have followed the reload, and for nothing that the weights computed
    which were there when the server began; and it has nothing to follow."""
    owner, seen = WorkerStateOwner(tmp_path), list[bytes]()
    prefixes = Prefixes(folder=str(tmp_path / "prefixes"), capacity=1, engine=b"the first file")
    place = ModelEndpoint(settings=Settings(), engine="", name="m", gguf="x", prefixes=prefixes)
    config = WorkerConfig(settings=Settings(state_dir=str(tmp_path)), models=(place,), shared=owner.folder)

    def attach(place: ModelEndpoint, reach: Reach) -> Scripted:
        assert reach.prefixes is not None
        seen.append(reach.prefixes.engine)
        return Scripted(Script())

    async with living(Application(config, attach=attach)):
        owner.note_reloaded("m", Reloaded(time.time() - 3600))
        await eventually(lambda: len(seen) == 2)
        async with living(Application(config, attach=attach)):
            await asyncio.sleep(2 * reloading._BETWEEN)
    owner.close()
    assert seen == [b"the first file", seen[1], seen[1]]
    assert seen[1] != seen[0]


async def test_work_beside_the_requests_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever keys, reloads or a surface's own work fail of, it is a line of the log with a traceback, and they are
    tended again."""
    failed = Counter[str]()

    def failing_once(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        async def tended(*arguments: Any) -> None:
            failed[name] += 1
            if failed[name] == 1:
                raise RuntimeError(f"a fault of {name}")
            await work(*arguments)

        return tended

    for owner, name in ((Keyring, "follow"), (WorkerReloader, "follow"), (Worker, "run")):
        monkeypatch.setattr(owner, name, failing_once(owner.__name__, getattr(owner, name)))
    owner = WorkerStateOwner(tmp_path)
    place = ModelEndpoint(settings=Settings(), engine="", name="m")
    config = WorkerConfig(settings=Settings(state_dir=str(tmp_path)), models=(place,), shared=owner.folder)
    async with living(Application(config, attach=lambda place, reach: Scripted(Script()))):
        await eventually(lambda: sorted(failed.values()) == [2, 2, 2])
    owner.close()
    assert sorted(failed) == ["Keyring", "Worker", "WorkerReloader"]
    for name in failed:
        assert caplog.text.count(f"RuntimeError: a fault of {name}\n") == 1


async def test_a_worker_that_waits_for_its_engine_stops_at_once(tmp_path: Path) -> None:
    """A server that is asked to stop before its engine has answered does not wait for that, and lets go of it."""
    waiting, released = asyncio.Event(), asyncio.Event()

    class Silent(Scripted):
        async def describe(self) -> Description:
            waiting.set()
            await asyncio.Event().wait()
            raise AssertionError

        async def close(self) -> None:
            released.set()

    owner = WorkerStateOwner(tmp_path)
    place = ModelEndpoint(settings=Settings(), engine="", name="m")
    config = WorkerConfig(settings=Settings(state_dir=str(tmp_path)), models=(place,), shared=owner.folder)
    application = Application(config, attach=lambda place, reach: Silent(Script()))
    asked, told = asyncio.Queue[dict[str, Any]](), asyncio.Queue[Any]()
    life = asyncio.ensure_future(application({"type": "lifespan"}, asked.get, told.put))
    asked.put_nowait({"type": "lifespan.startup"})
    await waiting.wait()
    owner.stop()
    await asyncio.wait_for(life, 60)
    assert told.get_nowait()["type"] == "lifespan.startup.failed"
    assert released.is_set()
    owner.close()


@asynccontextmanager
async def living(application: Application) -> AsyncIterator[None]:
    """The application, started, and stopped afterwards."""
    asked, told = asyncio.Queue[dict[str, Any]](), asyncio.Queue[Any]()
    life = asyncio.ensure_future(application({"type": "lifespan"}, asked.get, told.put))
    asked.put_nowait({"type": "lifespan.startup"})
    assert (await told.get())["type"] == "lifespan.startup.complete"
    yield
    asked.put_nowait({"type": "lifespan.shutdown"})
    await life
