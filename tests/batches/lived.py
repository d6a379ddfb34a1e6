"""A server's batches in processes that die, each at another change on disk.

    python -m tests.batches.lived FOLDER

Process N sends the batch in one of its spellings, works in FOLDER/N until it has ended, and kills itself at change N: a
call that changes a file, of which a half is written before, or a transaction. There is FOLDER/N.accepted once the batch
was. The last one lives to its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from antiphon import surfaces
from antiphon.batches.tables import BATCHES, SHARES, TABLES
from antiphon.engines.scripted import Rule
from antiphon.storage.records import Records
from antiphon.storage.store import Store, open_store
from tests.faults.disk import Disk
from tests.faults.processes import eventually
from tests.laws.spacing import spellings
from tests.serving.served import served
from tests.storage.places import local

CALL = "<tool_call>\n" + '{"name": "look", "arguments": {"place":\n  "here",\r\n "n": 1.50}}' + "\n</tool_call>"


TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}}}


def asked(id: str, text: str, **fields: Any) -> dict[str, Any]:
    """A request of a batch."""
    body = {"model": "claude-x", "max_tokens": 200, "messages": [{"role": "user", "content": text}], **fields}
    return {"custom_id": id, "params": body}


BATCH = {"requests": [asked("greet", "Hi"), asked("call", "Look\r\n here", tools=[TOOL]), asked("bad", "Hi", top_k=-1)]}


async def send(application: Any, body: bytes) -> int:
    """The status of the answer to a new batch."""
    statuses, coming = [], [{"type": "http.request", "body": body}]

    async def receive() -> Any:
        return coming.pop()

    async def sent(message: Any) -> None:
        statuses.append(message.get("status"))

    headers = [(b"host", b"localhost"), (b"anthropic-version", b"1"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/messages/batches", "query_string": b"", "headers": headers}
    await application(scope, receive, sent)
    return int(statuses[0])


async def live(folder: Path, body: bytes, accepted: Callable[[], None] = lambda: None) -> None:
    """Take the batch in, if there is one, and work until there is nothing left to do."""
    service, _ = await served(Rule(when="Look", text=CALL), Rule(text="Hello."))
    store = kept_in(folder)
    options = surfaces.Options(seal_key=b"k" * 32, store=store)
    application = surfaces.build(service, options)
    if body:
        assert await send(application, body) == 200
        accepted()
    tending = [asyncio.ensure_future(work) for work in surfaces.tending(service, application, options)]
    await eventually(lambda: not store.records.run(TABLES, unfinished, writes=False))
    for task in tending:
        task.cancel()
    await asyncio.gather(*tending, return_exceptions=True)
    store.close()


def kept_in(folder: Path) -> Store:
    """The store in a folder. Whoever had claimed anything there is no more."""
    place = local(folder)
    store = open_store(place.records, place.contents)
    store.records.run(TABLES, lambda one: one.execute(SHARES.update().values(until=0)))
    return store


def unfinished(connection: Connection) -> list[str]:
    """The batches that have not ended."""
    return list(connection.scalars(select(BATCHES.c.id).where(BATCHES.c.ended.is_(None))))


def strike_transactions(disk: Disk, *, afterwards: bool = False) -> None:
    """Count each transaction that writes as a change of a disk, which happens before it or when it is done."""
    run = Records.run

    def watched(self: Records, tables: Any, work: Any, *, writes: bool = True) -> Any:
        if writes and not afterwards:
            disk.change()
        found = run(self, tables, work, writes=writes)
        if writes and afterwards:
            disk.change()
        return found

    disk.patch.setattr(Records, "run", watched)


def die(folder: Path, fatal: int) -> None:
    """Live until the change of this number."""
    disk = Disk(folder / str(fatal), pytest.MonkeyPatch())
    strike_transactions(disk)
    disk.struck = lambda n: n == fatal
    disk.blow = lambda: os.kill(os.getpid(), signal.SIGKILL)
    bodies = list(spellings(BATCH, fatal).values())
    accepted = folder / f"{fatal}.accepted"
    asyncio.run(live(folder / str(fatal), bodies[fatal % len(bodies)], accepted.touch))


def main() -> None:
    """Let one process after another die, until one does not."""
    # What is loaded and compiled when it is first used, is so before the processes part.
    asyncio.run(live(Path(sys.argv[1]) / "first", spellings(BATCH)["compact"]))
    for fatal in count():
        if not (pid := os.fork()):
            die(Path(sys.argv[1]), fatal)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code != -signal.SIGKILL:
            sys.exit(code)


if __name__ == "__main__":
    main()
