"""Keys that come and go while a server is asked: how soon they are in force, and what very many of them cost.

    python -m bench.keys [--rounds 10] [--keys 10000] [--clients 8] [--workers 2]

A key is added and revoked in the store, as `antiphon keys` does it, while clients ask without a pause. New connections
try it: each may come to any worker. No request with a key that is in force the whole time may be refused.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from antiphon.accounts.key_store import KeyStore
from antiphon.settings.keys import hashed
from antiphon.storage.records import Records
from bench.measuring import Row
from tests.end_to_end.conftest import serving

_SCRIPT = '{"slots": 64, "rules": [{"text": "One, two, three."}]}'
_WATCHED = 2.5
"""Seconds for which a new key and a revoked one are tried."""
_BODY = {"model": "default", "max_tokens": 8, "messages": [{"role": "user", "content": "Hello."}]}
_SAMPLES = 400


async def status(url: str, key: str) -> int:
    """What a request with this key is answered, over a connection of its own."""
    async with aiohttp.ClientSession() as client, client.get(f"{url}/v1/models", headers=_headers(key)) as response:
        return response.status


def _headers(key: str) -> dict[str, str]:
    return {"x-api-key": key, "anthropic-version": "2023-06-01"}


@contextlib.asynccontextmanager
async def busy(url: str, key: str, clients: int) -> AsyncIterator[Counter[int]]:
    """So many clients that ask one request after another; gives what they were answered, by status."""
    seen: Counter[int] = Counter()

    async def ask(client: aiohttp.ClientSession) -> None:
        while True:
            async with client.post(f"{url}/v1/messages", json=_BODY, headers=_headers(key)) as response:
                await response.read()
                seen[response.status] += 1

    async with aiohttp.ClientSession() as client:
        asking = [asyncio.create_task(ask(client)) for _ in range(clients)]
        yield seen
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def latest(url: str, key: str, other: int) -> float:
    """Seconds until the last time that a key was answered with this status, tried again and again by four at once."""
    begun, last = time.monotonic(), 0.0

    async def attempt() -> None:
        nonlocal last
        while (sent := time.monotonic() - begun) < _WATCHED:
            if await status(url, key) == other:
                last = max(last, sent)

    await asyncio.gather(*(attempt() for _ in range(4)))
    return last


async def in_force(url: str, store: KeyStore, fixed: str, rounds: int, clients: int) -> list[Row]:
    """How soon keys that are added open the server, and revoked ones do not, everywhere."""
    added, revoked, trials = [], [], 0
    async with busy(url, fixed, clients) as seen:
        for number in range(rounds):
            _, secret = await asyncio.to_thread(store.add, f"round {number}")
            added.append(await latest(url, secret, 401))
            await asyncio.to_thread(store.revoke, f"round {number}")
            revoked.append(await latest(url, secret, 200))
            trials += 1
    refused = sum(many for code, many in seen.items() if code != 200)
    return [
        Row("requests with another key meanwhile", f"{seen.total()} by {clients} clients"),
        Row("of them refused", str(refused), "0", refused == 0),
        Row(f"a key that is added, last refused after ({trials} keys)", _spread(added), "≤ 1 s", max(added) <= 1),
        Row("a key that is revoked, last let in after", _spread(revoked), "≤ 1 s", max(revoked) <= 1),
    ]


async def request_time(url: str, key: str) -> float:
    """Milliseconds of a request, the median of many over one connection."""
    times = []
    async with aiohttp.ClientSession() as client:
        for _ in range(_SAMPLES):
            begun = time.perf_counter()
            async with client.get(f"{url}/v1/models", headers=_headers(key)) as response:
                await response.read()
            times.append(time.perf_counter() - begun)
    return 1000 * statistics.median(times)


def _spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s, at most {max(seconds):.2f} s"


def measured(folder: Path, rounds: int = 10, keys: int = 10_000, clients: int = 8, workers: int = 2) -> list[Row]:
    """The rows."""
    script = folder / "script.json"
    script.write_text(_SCRIPT)
    url = f"sqlite:///{folder / 'keys.sqlite'}"
    records = Records(url)
    store = KeyStore(records)
    _, secret = store.add("the first")
    with serving(folder, f"scripted+{script}", "--store", url, "--workers", str(workers)) as server:
        rows = asyncio.run(in_force(server.url, store, secret, rounds, clients))
        few = asyncio.run(request_time(server.url, secret))
        begun = time.monotonic()
        for number in range(keys):
            store.add(f"key {number}")
        each = 1000 * (time.monotonic() - begun) / keys
        time.sleep(2)
        many = asyncio.run(request_time(server.url, secret))
    records.close()
    bytes_ = b"".join(file.read_bytes() for file in folder.glob("keys.sqlite*"))
    hash_only = hashed(secret) in bytes_ and secret.encode() not in bytes_
    return [
        *rows,
        Row("of a key there is on disk", "its hash" if hash_only else "more than its hash", "its hash", hash_only),
        Row(f"adding one of {keys:,} keys", f"{each:.1f} ms"),
        Row("a request, with one key", f"{few:.2f} ms"),
        Row(f"a request, with {keys:,} keys", f"{many:.2f} ms, {many / few:.2f}×", "≤ 1.1×", many <= 1.1 * few),
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rows = measured(Path(place), arguments.rounds, arguments.keys, arguments.clients, arguments.workers)
    for row in rows:
        print(row.told)


if __name__ == "__main__":
    main()
