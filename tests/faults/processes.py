"""What can be seen of a running server from outside: its processes, their memory and descriptors, its gauges."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp


def _stat(folder: Path) -> list[str]:
    """What the system tells of a process or thread, from its state on: what it is called may have spaces in it."""
    return (folder / "stat").read_text().rpartition(")")[2].split()


def children(pid: int) -> dict[int, str]:
    """The child processes of a process, with their command lines."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parent = _stat(folder)[1]
                if int(parent) == pid:
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
    return found


def engines(pid: int) -> list[int]:
    """The embedded engines of a server, in the order in which they were started."""
    return sorted(child for child, line in children(pid).items() if "antiphon.engines.embedded" in line)


def workers(pid: int) -> list[int]:
    """The HTTP workers of a server."""
    return [child for child, line in children(pid).items() if "spawn_main" in line]


def environment(pid: int) -> bytes:
    """The environment that a process was started with."""
    return Path(f"/proc/{pid}/environ").read_bytes()


def ended(pid: int) -> bool:
    """Whether a process is over, also where nobody has taken note of it."""
    try:
        return _stat(Path(f"/proc/{pid}"))[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def stopped(pid: int) -> bool:
    """Whether a signal has stopped all threads of a process."""
    try:
        return all(_stat(task)[0] == "T" for task in Path(f"/proc/{pid}/task").iterdir())
    except OSError:  # one has just ended
        return False


def memory(pid: int) -> int:
    """Resident memory in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def processor_time(pid: int) -> int:
    """Time on processors, in ticks."""
    user, system = _stat(Path(f"/proc/{pid}"))[11:13]
    return int(user) + int(system)


def descriptors(pid: int) -> int:
    """How many file descriptors are open, but for those of the store: it keeps as many connections as were ever needed
    at once, up to a few, and how many these are is a matter of time."""
    return sum(".sqlite" not in target for target in _targets(pid))


def _targets(pid: int) -> Iterator[str]:
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        # One may be closed meanwhile.
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(descriptor)


def threads(pid: int) -> int:
    """How many threads there are."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


async def eventually(holds: Callable[[], Any], patience: float = 60) -> Any:
    """What the function gives (or what it awaits gives) as soon as that is true."""
    for _ in range(int(patience / 0.05)):
        value = holds()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        await asyncio.sleep(0.05)
    raise AssertionError("it never came true")


async def gauges(client: aiohttp.ClientSession, url: str) -> dict[str, float]:
    """`running` and `waiting`, as /metrics tells them, over all models."""
    async with client.get(url + "/metrics") as response:
        text = await response.text()
    found = {"running": 0.0, "waiting": 0.0}
    for line in text.splitlines():
        for name in found:
            if line.startswith(f"antiphon_{name}{{"):
                found[name] += float(line.rpartition(" ")[2])
    return found


def idle(client: aiohttp.ClientSession, url: str) -> Callable[[], Any]:
    """Whether nothing runs and nothing waits."""

    async def ask() -> bool:
        return not any((await gauges(client, url)).values())

    return ask
