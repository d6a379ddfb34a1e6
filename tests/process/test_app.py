"""The composition root: what a place without a supervisor brings along is what the application works with."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from antiphon.engines import Reach
from antiphon.engines.scripted import Script, Scripted
from antiphon.process.app import Application
from antiphon.process.worker_config import ModelEndpoint, WorkerConfig
from antiphon.settings.sources import Settings


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
    engine, ends = Scripted(Script()), []
    runtime = WorkerConfig(
        settings=Settings(state_dir=str(tmp_path)), models=(ModelEndpoint(settings=Settings(), engine="", name="m"),)
    )

    def attach(place: ModelEndpoint, reach: Reach) -> Scripted:
        return engine

    applications = [
        Application(runtime, attach=attach, transcripts=lambda name: shelves.setdefault(name, Kept()), seal=b"s" * 32)
        for _ in range(2)
    ]
    for application in applications:
        lifespan, told = asyncio.Queue[dict[str, Any]](), asyncio.Queue[Any]()
        lifespan.put_nowait({"type": "lifespan.startup"})
        ends.append((lifespan, asyncio.ensure_future(application({"type": "lifespan"}, lifespan.get, told.put))))
        assert (await told.get())["type"] == "lifespan.startup.complete"
    messages = [{"role": "user", "content": "Hi"}]
    first = await asked(applications[0], messages)
    messages += [{"role": "assistant", "content": first["content"]}, {"role": "user", "content": "Go on"}]
    await asked(applications[1], messages)
    before = [*engine.jobs[0].prompt, *engine.sampled[0]]
    assert list(engine.jobs[1].prompt[: len(before)]) == before
    assert sorted(shelves) == ["m", "messages"]
    assert not os.listdir(tmp_path)
    for lifespan, running in ends:
        lifespan.put_nowait({"type": "lifespan.shutdown"})
        await running
