"""A sandbox that exists: bubblewrap, around one process and all that comes from it.

Inside there is what is installed in /usr, read-only, and one folder in memory that can be written to. There is no
network, no other process, no file of the machine's and no capability. What is to last goes in and out as one archive,
which is never unpacked out here, so that no name or link in it means anything to this machine. Each run is a sandbox of
its own, and nothing of it is left when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

import msgspec

from antiphon.server_tools.code import seccomp
from antiphon.server_tools.program import TooLong, running
from antiphon.server_tools.tool import ToolFailed

_MOST_ANSWERED = 16 * 1024 * 1024
_PACKING_SECONDS = 10.0
"""That a sandbox gets beyond its time, to leave its files behind."""
_BECOME_NOBODY = """
import os, sys
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
os.execv(sys.argv[1], sys.argv[1:])
"""
_AS_NOBODY = (sys.executable, "-I", "-S", "-c", _BECOME_NOBODY)
"""Runs the sandbox where the server is root's: the kernel limits root's processes in nothing. A program of its own,
because not every event loop starts processes as somebody else."""
_SHOWN = ("bin", "sbin", "lib", "lib32", "lib64", "libexec", "share", "local/bin", "local/lib")
_SETTINGS = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How far one run may go: `seconds`, bytes of `memory` and of `disk` (a folder in memory), so many `processes` at
    once and `files` to be kept, bytes of `output` of each kind that are told."""

    seconds: float = 25.0
    memory: int = 1 << 30
    disk: int = 256 << 20
    processes: int = 64
    files: int = 10_000
    output: int = 100_000


class Sandbox:
    """Runs what it is asked to, `most` at once."""

    def __init__(self, limits: Limits, *, most: int = 4) -> None:
        self._limits = limits
        self._program = shutil.which("bwrap")
        self._inside = files("antiphon.server_tools.code").joinpath("inside.py").read_text("utf-8")
        self._free = asyncio.Semaphore(most)

    async def run(self, action: str, fields: dict[str, Any], archive: Path, target: IO[bytes]) -> dict[str, Any]:
        """Do something with the files of an archive, which need not exist, and leave them in another file. Gives what
        `inside` answers: an `error` with a `message`, or what the action gives; with a `lost` that is not empty, the
        files were not kept. Raises ToolFailed."""
        if self._program is None:
            raise ToolFailed("unavailable", "code runs in bubblewrap, which is not installed (apt install bubblewrap)")
        began = asyncio.get_running_loop().time()
        async with self._free:
            waited = asyncio.get_running_loop().time() - began
            limits = msgspec.structs.replace(self._limits, seconds=self._limits.seconds - waited)
            if limits.seconds <= 0:
                raise ToolFailed("too_many_requests", "every sandbox was in use")
            asked = msgspec.json.encode({**fields, "action": action, "limits": limits})
            with _descriptors(archive) as (source, rules):
                return await self._answer(asked, source, target.fileno(), rules, limits.seconds + _PACKING_SECONDS)

    async def _answer(self, request: bytes, source: int, target: int, rules: int, seconds: float) -> dict[str, Any]:
        command = [*(_AS_NOBODY if os.geteuid() == 0 else ()), *self._arguments(rules)]
        command += ["/usr/bin/env", "python3", "-I", "-S", "-c", self._inside, str(source), str(target)]
        try:
            async with (
                asyncio.timeout(seconds),
                running(
                    *command,
                    input=request,
                    errors=True,
                    descriptors=[each for each in (source, target, rules) if each >= 0],
                    folder="/",
                    environment={"PATH": "/usr/local/bin:/usr/bin:/bin"},
                ) as program,
            ):
                printed, complaint = await asyncio.gather(
                    program.output(_MOST_ANSWERED), program.errors(_MOST_ANSWERED)
                )
                status = await program.status()
        except TimeoutError:
            raise ToolFailed("execution_time_exceeded", "the sandbox did not end in time") from None
        except TooLong:
            raise ToolFailed("unavailable", "the sandbox printed more than it may") from None
        try:
            answer = msgspec.json.decode(printed, type=dict[str, Any])
        except (msgspec.DecodeError, ValueError):
            told = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
            raise ToolFailed("unavailable", f"the sandbox ended with status {status}: {told}") from None
        return answer

    def _arguments(self, rules: int) -> list[str]:
        assert self._program is not None
        arguments = [self._program, "--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000"]
        arguments += ["--gid", "1000", "--hostname", "sandbox", "--die-with-parent", "--new-session", "--as-pid-1"]
        arguments += ["--cap-drop", "ALL", "--seccomp", str(rules)]
        for name in _SHOWN:
            arguments += ["--ro-bind-try", f"/usr/{name}", f"/usr/{name}"]
        for name in ("bin", "sbin", "lib", "lib32", "lib64"):
            if os.path.isdir(f"/usr/{name}"):
                arguments += ["--symlink", f"usr/{name}", f"/{name}"]
        for path in _SETTINGS:
            arguments += ["--ro-bind-try", path, path]
        for size, path in ((1 << 20, "/dev/shm"), (4 << 20, "/run"), (self._limits.disk, "/home/user")):
            if path == "/dev/shm":
                arguments += ["--proc", "/proc", "--dev", "/dev"]
            arguments += ["--size", str(size), "--tmpfs", path]
        arguments += ["--symlink", "home/user/.tmp", "/tmp", "--remount-ro", "/dev", "--remount-ro", "/"]
        return [*arguments, "--chdir", "/home/user", "--"]


@contextlib.contextmanager
def _descriptors(archive: Path) -> Iterator[tuple[int, int]]:
    """The archive, to be read (negative: there is none), and the rules for system calls."""
    with contextlib.ExitStack() as stack:
        source = -1
        with contextlib.suppress(FileNotFoundError):
            source = os.open(archive, os.O_RDONLY)
            stack.callback(os.close, source)
        try:
            program = seccomp.program()
        except ValueError as trouble:
            raise ToolFailed("unavailable", str(trouble)) from None
        reading, writing = os.pipe()
        stack.callback(os.close, reading)
        os.write(writing, program)
        os.close(writing)
        yield source, reading
