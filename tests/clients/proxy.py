"""A reverse proxy on loopback that passes every byte on as it comes and writes down what was said, a line of JSON a
request. Programs hide bad streams by asking again; here it shows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any


class Proxy:
    """Listens on a free port of loopback in a thread of its own and forwards to `port`. `log` is appended to when a
    request has ended."""

    def __init__(self, port: int, log: Path) -> None:
        self._upstream = port
        self._log = log
        self._number = 0
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait(10)

    def close(self) -> None:
        """Stop listening."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _leave(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._leave())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._exchange(reader, writer)
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, headers = _head(await reader.readuntil(b"\r\n\r\n"))
        body = await _body(reader, dict(headers))
        self._number += 1
        entry: dict[str, Any] = {"number": self._number, "headers": dict(headers), "whole": False}
        entry["method"], entry["path"], _ = first.split(" ", 2)
        with contextlib.suppress(ValueError):
            entry["body"] = json.loads(body)
        kept = [
            (name, value)
            for name, value in headers
            if name not in ("connection", "transfer-encoding", "content-length")
        ]
        kept += [("connection", "close"), ("content-length", str(len(body)))]
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream, limit=2**20)
        answer = bytearray()
        left = asyncio.ensure_future(reader.read(1))
        try:
            up_writer.write(_joined(first, kept) + body)
            answered, given = _head(await _unless(left, up_reader.readuntil(b"\r\n\r\n")))
            entry["status"] = int(answered.split(" ")[1])
            entry["answered"] = dict(given)
            given = [(name, value) for name, value in given if name != "connection"] + [("connection", "close")]
            writer.write(_joined(answered, given))
            while chunk := await _unless(left, up_reader.read(65536)):
                answer += chunk
                writer.write(chunk)
                await writer.drain()
            entry["whole"] = True
        finally:
            left.cancel()
            up_writer.close()
            raw = bytes(answer)
            chunked = "chunked" in entry.get("answered", {}).get("transfer-encoding", "")
            entry["reply"] = (_unchunked(raw) if chunked else raw).decode("utf-8", "replace")
            with self._log.open("a", encoding="utf-8") as out:
                out.write(json.dumps(entry, ensure_ascii=False) + "\n")


async def _unless(left: asyncio.Future[bytes], reading: Coroutine[Any, Any, bytes]) -> bytes:
    """What is read, unless the client leaves before."""
    chunk = asyncio.ensure_future(reading)
    try:
        await asyncio.wait({chunk, left}, return_when=asyncio.FIRST_COMPLETED)
        if not chunk.done():
            raise ConnectionResetError("the client left")
        return chunk.result()
    finally:
        chunk.cancel()


def _head(raw: bytes) -> tuple[str, list[tuple[str, str]]]:
    first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = [line.split(":", 1) for line in lines]
    return first, [(name.strip().lower(), value.strip()) for name, value in pairs]


def _joined(first: str, headers: list[tuple[str, str]]) -> bytes:
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in headers), "", ""]).encode("latin-1")


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers.get("content-length", "0")))
    whole = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        whole += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return whole


def _unchunked(raw: bytes) -> bytes:
    whole, rest = b"", raw
    while rest:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line.split(b";")[0] or b"0", 16)
        whole, rest = whole + rest[:size], rest[size + 2 :]
        if not size:
            break
    return whole
