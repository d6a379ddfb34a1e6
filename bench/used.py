"""Usage, through kills of workers and of whole servers: whether what is counted is what the replies told.

    python -m bench.used [--seconds 45] [--clients 8] [--workers 2]

Each client has a key of its own and sums up the figures of the replies that it has seen whole. Again and again a
worker is killed, and every third time all of the server, which is started again. What was seen must be counted,
once; besides, at most what was under way at the kills, for which there are bounds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from antiphon.accounts.key_store import KeyStore
from antiphon.accounts.ledger import take_over
from antiphon.accounts.report import report
from antiphon.accounts.usage import Counts
from antiphon.accounts.usage_store import UsageStore
from antiphon.storage.records import Records
from bench.measuring import Row
from tests.end_to_end.conftest import Server, free_port, serving
from tests.faults.processes import children, workers

_SCRIPT = """{"slots": 64, "rules": [
    {"when": "long", "text": "One, two, three, four, five.", "delay": 0.02}, {"text": "One."}
]}"""
_SERVER_EVERY = 3
_PAUSE = 1.5
"""Seconds between two kills."""


class Account:
    """A client's own sums: of the replies that it has seen whole, and of requests that it has not."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.seen = Counts()
        self.unseen = 0
        self.largest = Counts()

    async def ask(self, client: aiohttp.ClientSession, url: str, text: str) -> None:
        """One request. Raises OSError or a ClientError where its end is not seen."""
        body = {"model": "default", "max_tokens": 50, "messages": [{"role": "user", "content": text}]}
        headers = {"x-api-key": self.key, "anthropic-version": "2023-06-01"}
        async with client.post(f"{url}/v1/messages", json=body, headers=headers) as response:
            told = msgspec.json.decode(await response.read())
            if response.status == 200:
                self.seen = self.seen.plus(_figures(told["usage"]))
                pairs = zip(*map(msgspec.structs.astuple, (self.largest, _figures(told["usage"]))), strict=True)
                self.largest = Counts(*map(max, pairs))


def _figures(usage: dict[str, Any]) -> Counts:
    return Counts(
        requests=1,
        input=usage["input_tokens"],
        created=usage["cache_creation_input_tokens"],
        cached=usage["cache_read_input_tokens"],
        output=usage["output_tokens"],
    )


async def use(account: Account, url: str, until: float, luck: random.Random) -> None:
    """Ask until a time (monotonic seconds), whatever happens to the server."""
    async with aiohttp.ClientSession() as client:
        while time.monotonic() < until:
            try:
                await account.ask(client, url, luck.choice(("short", "long")) + " word" * luck.randrange(40))
            except aiohttp.ClientConnectorError:
                # Nobody was there to count it.
                await asyncio.sleep(0.05)
            except (OSError, aiohttp.ClientError):
                account.unseen += 1


async def kill(server: Server, stack: contextlib.ExitStack, start: Any, until: float) -> tuple[int, int]:
    """Kill workers and servers until a time; gives how many of each. In the end a server runs."""
    luck, killed, servers = random.Random(5), 0, 0
    for turn in itertools.count(1):
        await asyncio.sleep(_PAUSE)
        if time.monotonic() > until:
            break
        alive = workers(server.process.pid)
        if turn % _SERVER_EVERY == 0:
            for pid in (server.process.pid, *children(server.process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            server.process.wait()
            servers += 1
            server = await asyncio.to_thread(stack.enter_context, start())
        elif alive:
            os.kill(luck.choice(alive), signal.SIGKILL)
            killed += 1
    return killed, servers


async def play(folder: Path, seconds: float, keys: list[str], count: int) -> tuple[list[Account], int, int]:
    """The accounts of clients with these keys, and how many workers and servers were killed."""
    script, port = folder / "script.json", free_port()
    script.write_text(_SCRIPT)
    more = ("--store", f"sqlite:///{folder / 'used.sqlite'}", "--workers", str(count))
    accounts = [Account(key) for key in keys]
    with contextlib.ExitStack() as stack:

        def start() -> Any:
            return serving(folder, f"scripted+{script}", *more, port=port)

        server = await asyncio.to_thread(stack.enter_context, start())
        until = time.monotonic() + seconds
        clients = [use(account, server.url, until, random.Random(number)) for number, account in enumerate(accounts)]
        (killed, servers), *_ = await asyncio.gather(kill(server, stack, start, until), *clients)
    return accounts, killed, servers


def measured(folder: Path, seconds: float = 45, clients: int = 8, count: int = 2) -> list[Row]:
    """The rows."""
    records = Records(f"sqlite:///{folder / 'used.sqlite'}")
    store = KeyStore(records)
    added = [store.add(f"client {number}") for number in range(clients)]
    accounts, killed, servers = asyncio.run(play(folder, seconds, [secret for _, secret in added], count))
    journals = next(folder.rglob("*.lines"), folder / "none").parent
    usage = UsageStore(records)
    if journals.is_dir():
        take_over(usage, journals)
    lines = report(usage.cells(journals, 0, 1 << 40), ("key",), whole=True)
    counted = {str(line.place[0]): line.counts for line in lines}
    records.close()
    exact = missing = 0
    for (key, _), account in zip(added, accounts, strict=True):
        mine = counted.get(key.label, Counts())
        extra = mine.requests - account.seen.requests
        sums = [mine.input, mine.created, mine.cached, mine.output]
        seen = [account.seen.input, account.seen.created, account.seen.cached, account.seen.output]
        most = [account.largest.input, account.largest.created, account.largest.cached, account.largest.output]
        exact += extra == 0 and sums == seen
        bounded = all(s <= c <= s + extra * m for s, c, m in zip(seen, sums, most, strict=True))
        missing += not (0 <= extra <= account.unseen and bounded)
    seen_requests = sum(account.seen.requests for account in accounts)
    unseen = sum(account.unseen for account in accounts)
    total = sum(counts.requests for counts in counted.values())
    return [
        Row("workers killed, and servers", f"{killed}, {servers}", "> 0", killed > 0 and servers > 0),
        Row("replies seen whole", f"{seen_requests} by {clients} clients"),
        Row("requests whose end was not seen", str(unseen)),
        Row("counted", f"{total}: those that were seen, and {total - seen_requests} of those that were not"),
        Row("clients whose sums are the counted ones, to the token", f"{exact} of {clients}"),
        Row("clients of whose replies one is missing or counted twice", str(missing), "0", missing == 0),
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=45)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rows = measured(Path(place), arguments.seconds, arguments.clients, arguments.workers)
    for row in rows:
        print(row.told)


if __name__ == "__main__":
    main()
