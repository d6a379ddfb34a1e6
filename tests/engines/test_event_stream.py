"""The HTTP of the tokens' stream, over real sockets: however an answer is framed and cut, its events arrive."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import yarl

from antiphon.engines.event_stream import EventStream

EVENTS = b'data: {"a":1}\n\ndata: {"b":"\xc3\xa9"}\r\n\r\n: a comment\n\ndata: [DONE]\n\ndata:{"c":3}\n\n'
FOUND = [b'{"a":1}', b'{"b":"\xc3\xa9"}\r', b'{"c":3}']
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(EVENTS), EVENTS)
ONE_BY_ONE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % b"".join(
    b"%x\r\n%b\n\n\r\n" % (len(event) + 2, event) for event in EVENTS.removesuffix(b"\n\n").split(b"\n\n")
)
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(EVENTS), EVENTS)
ENDLESS = b"HTTP/1.0 200 OK\r\n\r\n" + EVENTS
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED


@asynccontextmanager
async def answering(answer: bytes, *, size: int, hang: bool = False) -> AsyncIterator[tuple[EventStream, list[bytes]]]:
    """A stream from a server that writes this answer in pieces of a size, and what that server was sent."""
    asked: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, EOFError):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            asked.append(await reader.readexactly(2))
            for at in range(0, len(answer), size):
                writer.write(answer[at : at + size])
                await writer.drain()
                await asyncio.sleep(0)
            if hang:
                await reader.read()
        writer.close()
        over.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        stream = EventStream(0.3)
        try:
            await stream.post(yarl.URL(f"http://us%20er:key@127.0.0.1:{port}/v1/x?y=1"), {"a": "b"}, b"{}")
            yield stream, asked
        finally:
            stream.close()
            async with asyncio.timeout(60):
                await over.wait()


async def events(stream: EventStream) -> list[bytes]:
    assert await stream.status() == 200
    found = []
    while batch := await stream.events():
        found += batch
    return found


@pytest.mark.parametrize(
    "answer",
    [CHUNKED, ONE_BY_ONE, SIZED, ENDLESS, CONTINUED],
    ids=["chunks", "one by one", "length", "end", "continue"],
)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
async def test_events_arrive_however_the_answer_is_framed_and_cut(answer: bytes, size: int) -> None:
    """The request is sent once, with its headers, and every event of the answer comes."""
    async with answering(answer, size=size) as (stream, asked):
        assert await events(stream) == FOUND
    head = asked[0].decode().split("\r\n")
    assert head[0] == "POST /v1/x?y=1 HTTP/1.1"
    assert {"a: b", "connection: close", "content-length: 2", "authorization: Basic dXMgZXI6a2V5"} <= set(head)


async def test_events_arrive_however_a_server_cuts_them_into_chunks() -> None:
    """Whether a chunk holds one event, many, or a part of one."""
    lines = b'data: {"a":1}\nid: 1\n\n' + EVENTS + b'data: {"a":1}\ndata: {"c":3}\n\n'
    expected = [FOUND[0], *FOUND, FOUND[0], FOUND[2]]
    for size in range(1, len(lines) + 1):
        pieces = [lines[start : start + size] for start in range(0, len(lines), size)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunks
        async with answering(answer, size=1 << 20) as (stream, _):
            assert await events(stream) == expected, size


def test_it_is_the_same_on_the_loop_that_servers_run() -> None:
    """uvloop, where it can be had."""
    uvloop = pytest.importorskip("uvloop")

    async def all_of_it() -> list[bytes]:
        async with answering(CHUNKED, size=7) as (stream, _):
            return await events(stream)

    assert uvloop.run(all_of_it()) == FOUND


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200", CHUNKED[:-20], SIZED[:-9], b"SSH-2.0-OpenSSH\r\n\r\n"])
async def test_an_answer_that_is_cut_or_no_http_is_a_broken_connection(answer: bytes) -> None:
    """And no end of the answer: what is missing may have been the most of it."""
    async with answering(answer, size=1 << 20) as (stream, _):
        with pytest.raises(ConnectionError):
            await events(stream)


@pytest.mark.parametrize("answer", [b"", CHUNKED[:80]], ids=["before the status", "in the middle"])
async def test_a_silence_is_told_as_one(answer: bytes) -> None:
    """Only while the server is waited for: a reader that is slow itself is not told of one."""
    async with answering(answer, size=1 << 20, hang=True) as (stream, _):
        await asyncio.sleep(0.4)
        with pytest.raises(TimeoutError):
            await events(stream)


async def test_leaving_closes_the_connection() -> None:
    """So that the engine stops: here a server that waits for that."""
    async with answering(CHUNKED[:80], size=1 << 20, hang=True) as (stream, _):
        assert await stream.status() == 200


async def test_a_reader_that_is_slow_holds_the_server_back() -> None:
    """What waits to be read is bounded, and all of it arrives."""
    many = b'data: {"a":1}\n\n' * 400_000
    async with answering(b"HTTP/1.0 200 OK\r\n\r\n" + many, size=1 << 16) as (stream, _):
        assert await stream.status() == 200
        await asyncio.sleep(0.2)
        assert stream.size < len(many) / 2
        found = 0
        while batch := await stream.events():
            found += len(batch)
            await asyncio.sleep(0)
        assert found == 400_000
