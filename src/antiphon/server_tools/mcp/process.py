"""One process of an MCP server that the operator set up as a program: messages as lines on its standard streams.

The official library can start a process too, but bounds no line that it reads, and lets the process outlive a worker
that was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.shared.message import SessionMessage

    Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]

log = logging.getLogger("antiphon")

_PR_SET_PDEATHSIG = 1
_SHOWN = 200
_LEAVES = 2.0
"""Seconds that a process has to end once its input is closed, and again once it is told to."""
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class ServerProcess:
    """The process of the server called `name`, entered as a transport of the MCP library. No line of it may be longer
    than `max_bytes`. `ended` is set when it says nothing any more; `trouble` is then what it did wrong, if anything.

    Raises OSError when the program cannot be started."""

    def __init__(self, name: str, command: Sequence[str], max_bytes: int) -> None:
        self._name = name
        self._command = command
        self._max_bytes = max_bytes
        self._complained = False
        self._pid = 0
        self.ended = asyncio.Event()
        self.trouble = ""

    @property
    def dead(self) -> bool:
        """Whether it has ended, if only just now."""
        try:
            return bool(self._pid) and os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    @contextlib.asynccontextmanager
    async def streams(self) -> AsyncIterator[Streams]:
        """What the process says, and what is said to it. It ends with the block."""
        import anyio
        from mcp.client.stdio import get_default_environment

        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=get_default_environment(),
            limit=self._max_bytes,
            start_new_session=True,
            preexec_fn=_follow_worker,
        )
        self._pid = process.pid
        assert process.stdin
        assert process.stdout
        heard, hears = anyio.create_memory_object_stream["SessionMessage | Exception"](0)
        says, said = anyio.create_memory_object_stream["SessionMessage"](0)
        work = (
            asyncio.ensure_future(self._read(process.stdout, heard)),
            asyncio.ensure_future(_write(said, process.stdin)),
        )
        try:
            yield hears, says
        finally:
            self.ended.set()
            for stream in (heard, hears, says, said):
                stream.close()
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await asyncio.shield(_stop(process))

    async def _read(
        self, output: asyncio.StreamReader, heard: MemoryObjectSendStream[SessionMessage | Exception]
    ) -> None:
        """Pass on what the process says; what is no message is left out."""
        import mcp_types
        from mcp.shared.message import SessionMessage

        try:
            while line := await output.readline():
                try:
                    message = mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:
                    self._complain(line)
                    continue
                await heard.send(SessionMessage(message))
        except ValueError:
            # `readline` says so of a line that is too long.
            self.trouble = f"it sends more than {self._max_bytes} bytes"
        finally:
            self.ended.set()
            heard.close()

    def _complain(self, line: bytes) -> None:
        """Tell the operator, once, that what should go to the error output is between the messages."""
        if not self._complained and line.strip():
            self._complained = True
            shown = line[:_SHOWN].decode(errors="replace").rstrip()
            log.warning(
                "the MCP server %s wrote something other than a message to its standard output: %r", self._name, shown
            )


def _follow_worker() -> None:
    """Runs in the new process: have it told to end when the worker does, however that ends. That its input is closed
    then is all that other systems than Linux have."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def _write(said: MemoryObjectReceiveStream[SessionMessage], input: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        async for each in said:
            input.write(each.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            await input.drain()
    said.close()


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End a process and all that it started: by the end of its input, as the protocol has it, or else by signals."""
    assert process.stdin
    process.stdin.close()
    for urging in (signal.SIGTERM, signal.SIGKILL):
        deadline = asyncio.get_running_loop().time() + _LEAVES
        # Not `wait`, which also waits for whoever else has the process's output open.
        while process.returncode is None and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if process.returncode is not None:
            break
        _signal(process, urging)
    # What it started and left behind.
    _signal(process, signal.SIGKILL)


def _signal(process: asyncio.subprocess.Process, signal: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal)
