"""Uploads while workers are killed: no file is lost, and none is half there.

`ANTIPHON_UPLOADS=1000 ANTIPHON_UPLOAD_MB=500 pytest tests/process/test_uploads.py` looks harder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anthropic
import pytest
from anthropic import Anthropic

from tests.end_to_end.conftest import HERE, Server, serving
from tests.faults.processes import memory, workers
from tests.storage.places import Place

UPLOADS = int(os.environ.get("ANTIPHON_UPLOADS", "24"))
LARGE_MB = int(os.environ.get("ANTIPHON_UPLOAD_MB", "120"))
CLIENTS = 8
UPLOADS_A_KILL = 10


@contextlib.contextmanager
def started(folder: Path, place: Place, *arguments: str) -> Iterator[Server]:
    """A server over this place."""
    folder.mkdir()
    engine = f"scripted+{HERE / 'script.json'}"
    settings = ("--store", place.records, "--contents", place.contents, "--files-downloadable")
    with serving(folder, engine, *settings, *arguments) as server:
        yield server


def client(server: Server, retries: int = 10) -> Anthropic:
    return Anthropic(base_url=server.url, api_key="any", max_retries=retries)


def uploaded(server: Server, content: bytes) -> str:
    """The id of a file with this content, whatever happens to the workers in between."""
    while True:
        assert server.process.poll() is None, server.log.read_text()
        with contextlib.suppress(anthropic.APIConnectionError), client(server, 0) as one:
            return one.beta.files.upload(file=("file", content)).id


def test_kills_lose_no_file(tmp_path: Path, place: Place) -> None:
    """Two servers of one store, their workers killed again and again: every file that was accepted is whole, at the
    other server too, and so is every file that is listed."""
    draw = random.Random(1)
    contents = [draw.randbytes(draw.choice((10, 100_000, 800_000))) for _ in range(UPLOADS)]
    with started(tmp_path / "a", place, "--workers", "2") as first, started(tmp_path / "b", place) as second:
        servers = (first, second)

        def upload(n: int) -> str:
            id = uploaded(servers[n % 2], contents[n])
            if n % UPLOADS_A_KILL == 0:
                for pid in workers(servers[n % 4 // 2].process.pid)[:1]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            return id

        with ThreadPoolExecutor(CLIENTS) as pool:
            ids = list(pool.map(upload, range(UPLOADS)))
        known = {hashlib.sha256(content).digest() for content in contents}
        with client(second) as one:
            for id, content in zip(ids, contents, strict=True):
                assert one.beta.files.download(id).read() == content
            listed = list(one.beta.files.list(limit=1000))
            assert {each.id for each in listed} >= set(ids)
            for each in listed:
                assert hashlib.sha256(one.beta.files.download(each.id).read()).digest() in known
                one.beta.files.delete(each.id)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="looks into /proc")
def test_a_large_upload_takes_little_memory(tmp_path: Path, place: Place) -> None:
    """It passes through, however large it is."""
    block = os.urandom(1 << 20)
    large = tmp_path / "large"
    with large.open("wb") as file:
        for _ in range(LARGE_MB):
            file.write(block)
    with started(tmp_path / "a", place, "--files-largest-mb", "2000") as server, client(server) as one:
        (pid,) = workers(server.process.pid)
        one.beta.files.upload(file=("first", b"x"))
        before, most, over = memory(pid), 0, threading.Event()

        def watch() -> None:
            nonlocal most
            while not over.wait(0.05):
                most = max(most, memory(pid) - before)

        watcher = threading.Thread(target=watch)
        watcher.start()
        with large.open("rb") as file:
            uploaded_file = one.beta.files.upload(file=("large", file))
        over.set()
        watcher.join()
        assert uploaded_file.size_bytes == LARGE_MB << 20
        print(f"{LARGE_MB} MB took {most / 1e6:.0f} MB of memory")
        assert most < 100e6
        one.beta.files.delete(uploaded_file.id)
