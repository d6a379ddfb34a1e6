"""Where a store can be: SQLite and a folder, or Postgres and an S3-like server that are started here."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.loopback import free_port

BUCKET = "kept"
KEYS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}


class Place(msgspec.Struct):
    """The settings of a store, and the environment that its servers are found by."""

    records: str
    contents: str
    environment: dict[str, str]


def local(folder: Path) -> Place:
    """SQLite in a file, contents in a folder."""
    return Place(f"sqlite:///{folder / 'store.sqlite'}", str(folder / "contents"), {})


@contextlib.contextmanager
def shared(folder: Path) -> Iterator[Place]:
    """Postgres and S3. Skips the test where one of them is not installed."""
    with _postgres() as records, _object_store(folder) as address:
        environment = {**KEYS, "AWS_ENDPOINT": address}
        yield Place(records, f"s3://{BUCKET}/some/prefix", environment)


@contextlib.contextmanager
def _postgres() -> Iterator[str]:
    programs = [*sorted(glob.glob("/usr/lib/postgresql/*/bin")), os.path.dirname(shutil.which("initdb") or "")]
    if not programs[0]:
        pytest.skip("needs Postgres (Debian: postgresql)")
    folder = tempfile.mkdtemp(prefix="antiphon-postgres-", dir="/tmp")
    # It refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    port = free_port()
    data = f"{folder}/data"
    made = [f"{programs[0]}/initdb", "-D", data, "-A", "trust", "-U", "antiphon", "--no-sync"]
    subprocess.run(made, user=user, cwd=folder, check=True, capture_output=True)
    options = ["-p", str(port), "-h", "127.0.0.1", "-k", folder, "-c", "fsync=off"]
    running = subprocess.Popen(
        [f"{programs[0]}/postgres", "-D", data, *options], user=user, cwd=folder, stderr=subprocess.DEVNULL
    )
    try:
        ready = [f"{programs[0]}/pg_isready", "-h", "127.0.0.1", "-p", str(port)]
        _await(lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0)
        yield f"postgresql://antiphon@127.0.0.1:{port}/postgres"
    finally:
        running.terminate()
        running.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _object_store(folder: Path) -> Iterator[str]:
    program = shutil.which("moto_server")
    if program is None:
        pytest.skip("needs an S3-like server (pip install 'moto[server]')")
    address = f"http://127.0.0.1:{(port := free_port())}"
    with (folder / "moto.log").open("wb") as log:
        running = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    try:
        _await(lambda: _answers(urllib.request.Request(f"{address}/{BUCKET}", method="PUT")))
        yield address
    finally:
        running.kill()
        running.wait()


def _answers(request: urllib.request.Request) -> bool:
    try:
        with urllib.request.urlopen(request, timeout=30):
            return True
    except OSError:
        return False


def _await(holds: object) -> None:
    assert callable(holds)
    for _ in range(600):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("the server did not start")
