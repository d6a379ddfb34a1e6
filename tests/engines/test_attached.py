"""What is sent to an engine that goes away: a question again, a generation never."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from antiphon.api.errors import EngineFailed, EngineLost, Overloaded
from antiphon.engines import Reach
from antiphon.engines.attached import Attached
from antiphon.surfaces import chat_completions, messages

ANSWER = b'data: {"content":"word"}\n\n'


class Leaving:
    """A server that closes the connection after so many bytes of each answer to a POST, or begins with its `refusals`;
    `asked` lists the paths."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusals: list[bytes] = []
        self.leaves: list[int] = []
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, then the end."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.split(" ")[1])
        length = next((line for line in head.lower().split("\r\n") if line.startswith("content-length: ")), ": 0")
        await reader.readexactly(int(length.partition(": ")[2]))
        whole = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + ANSWER
        whole = self.refusals.pop(0) if self.refusals else whole
        writer.write(whole[: self.leaves.pop(0)] if self.leaves else whole)
        await writer.drain()
        writer.close()

    @asynccontextmanager
    async def there(self) -> AsyncIterator[Leaving]:
        server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self


async def sent(engine: Attached) -> list[bytes]:
    return [event async for events in engine.stream("/completion", {}, bytes) for event in events]


async def test_a_generation_is_sent_once(tmp_path: Path) -> None:
    """An engine that is lost with a request is not sent it again, and what it said of its end is told; what is asked
    next is sent only once it answers."""
    cause = tmp_path / "cause"
    cause.write_text("it took too much")
    async with Leaving().there() as server:
        engine = Attached(server.url, Reach(patience=20, cause=str(cause)), "llama.cpp server")
        server.leaves = [0, 0, 0]
        with pytest.raises(EngineLost, match=r"the request is not sent again.*: it took too much"):
            await sent(engine)
        assert server.asked == ["/completion"]
        with pytest.raises(EngineFailed, match="before the reply was over: it took too much"):
            await sent(engine)
        assert server.asked == ["/completion", "/health", "/health", "/health", "/completion"]
        await engine.close()


async def test_a_question_is_sent_again() -> None:
    """What is only asked is asked again, until patience is over."""
    async with Leaving().there() as server:
        engine = Attached(server.url, Reach(patience=20), "llama.cpp server")
        server.leaves = [0, 0]
        await (await engine.open("POST", "/tokenize", {})).read()
        assert server.asked == ["/tokenize"] * 3
        server.leaves = [0] * 100
        impatient = Attached(server.url, Reach(patience=0.3), "llama.cpp server")
        with pytest.raises(Overloaded):
            await impatient.open("POST", "/tokenize", {})
        await engine.close()
        await impatient.close()


@pytest.mark.parametrize("pause", [b"1", b"3600", b"Sun, 06 Nov 1994 08:49:37 GMT", b""])
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_server_is_left_alone_for_as_long_as_it_asks(pause: bytes, streamed: bool) -> None:
    """It is asked again when that time is over; where that is longer than patience, the client is told of it at once.
    A server that does not say is asked until it is ready."""
    async with Leaving().there() as server:
        engine = Attached(server.url, Reach(patience=20), "chat server")
        header = b"retry-after: %b\r\n" % pause if pause else b""
        server.refusals = [b"HTTP/1.1 429 No\r\n%bcontent-length: 0\r\n\r\n" % header]
        begun = asyncio.get_running_loop().time()

        async def asked() -> None:
            with contextlib.suppress(EngineFailed):
                await (sent(engine) if streamed else engine.ask("POST", "/completion", dict, {}))

        if pause == b"3600":
            with pytest.raises(Overloaded) as caught:
                await asked()
            assert caught.value.retry_after == 3600
            assert len(server.asked) == 1
        else:
            await asked()
            assert len(server.asked) == 2
            assert asyncio.get_running_loop().time() - begun >= (pause == b"1")
        await engine.close()


@pytest.mark.parametrize("surface", [messages.SURFACE, chat_completions.SURFACE])
def test_clients_are_told_not_to_send_it_again(surface: messages.Surface) -> None:
    """The header by which the official SDKs decide."""
    assert (b"x-should-retry", b"false") in surface.failures.envelope(EngineLost("gone"), "req_1").headers
    assert (b"x-should-retry", b"false") not in surface.failures.envelope(EngineFailed("cut"), "req_1").headers
