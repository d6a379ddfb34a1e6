"""A worker's usage in processes that die, each at another moment.

    python -m tests.accounts.lived FOLDER DEATHS

Each process answers requests one after another, writes the figures of each reply that it has seen whole into
FOLDER/seen, and is killed: at a change on disk, half of a write done, or at any time.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from antiphon import surfaces
from antiphon.accounts import ledger
from antiphon.accounts.accounts import open_accounts
from antiphon.engines.scripted import Rule
from antiphon.storage.records import Records
from tests.faults.disk import Disk
from tests.serving.served import served

INTERVAL = 0.002
REQUESTS = 60


async def ask(application: Any, number: int) -> bytes:
    """The body of the whole reply; each request has figures of its own."""
    body = {
        "model": "claude-x",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "word " * (1 + number % 7)}],
    }
    coming = [{"type": "http.request", "body": msgspec.json.encode(body)}]
    chunks = list[bytes]()

    async def receive() -> Any:
        if not coming:
            await asyncio.get_running_loop().create_future()
        return coming.pop()

    async def send(message: Any) -> None:
        chunks.append(message.get("body", b""))

    headers = [(b"host", b"localhost"), (b"anthropic-version", b"1"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "query_string": b"", "headers": headers}
    await application(scope, receive, send)
    return b"".join(chunks)


async def live(folder: Path, requests: int = REQUESTS) -> None:
    """Take over what others left, answer requests, and end properly."""
    records = Records(f"sqlite:///{folder / 'store.sqlite'}")
    accounts = await open_accounts(records, (), folder / "journals")
    service, _ = await served(Rule(when="word word word", text="One, two."), Rule(text="One."))
    application = surfaces.build(service, surfaces.Options(seal_key=b"k" * 32, accounts=accounts))
    tending = [asyncio.ensure_future(work) for work in accounts.tend()]
    seen = os.open(folder / "seen", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in range(requests):
        os.write(seen, await ask(application, number) + b"\n")
        await asyncio.sleep(0)
    for task in tending:
        task.cancel()
    await asyncio.gather(*tending, return_exceptions=True)
    await accounts.close()
    records.close()


def die(folder: Path, number: int) -> None:
    """Live until the change of this number in the journals."""
    disk = Disk(folder / "journals", pytest.MonkeyPatch())
    disk.struck = lambda n: n == number
    disk.blow = lambda: os.kill(os.getpid(), signal.SIGKILL)
    asyncio.run(live(folder))


def main() -> None:
    """Let one process after another die."""
    folder, deaths = Path(sys.argv[1]), int(sys.argv[2])
    luck = random.Random(7)
    ledger.INTERVAL = INTERVAL
    # What is loaded and compiled when it is first used, is so before the processes part.
    asyncio.run(live(folder, 1))
    for number in range(deaths):
        if not (pid := os.fork()):
            if number % 2:
                die(folder, number)
            else:
                asyncio.run(live(folder))
            os._exit(0)
        if number % 2 == 0:
            time.sleep(luck.random() * 0.4)
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code not in (0, -signal.SIGKILL):
            sys.exit(code)


if __name__ == "__main__":
    main()
