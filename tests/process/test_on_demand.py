"""The engine that runs only while it is needed, in front of a loader that is played here, and of scripted engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from antiphon.api.errors import EngineFailed
from antiphon.engines import Job, Piece, Prefilled
from antiphon.engines.scripted import Rule, Script, Scripted
from antiphon.process import on_demand
from antiphon.process.load_protocol import BUSY, IDLE, RECALL, Loaded, Wanted, line
from antiphon.process.on_demand import MEDIA_MARKER, OnDemandEngine
from antiphon.process.worker_config import OnDemand

_PATIENCE = 30.0
_JOB = Job(prompt=[1], max_tokens=10)


class Loader:
    """The other end: what was asked, and each connection."""

    def __init__(self) -> None:
        self.connections: asyncio.Queue[Connection] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        await self.connections.put(Connection(reader, writer))

    async def asked(self) -> Connection:
        """The next worker's question."""
        connection = await asyncio.wait_for(self.connections.get(), _PATIENCE)
        assert msgspec.json.decode(await connection.heard(), type=Wanted) == Wanted("large")
        return connection


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def heard(self) -> bytes:
        return await asyncio.wait_for(self._reader.readline(), _PATIENCE)

    def say(self, said: bytes) -> None:
        self.writer.write(said)


class Closing(Scripted):
    """A scripted engine that knows when it was let go of, sees pictures, and says nothing while it must not."""

    closed = False

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.may_speak = asyncio.Event()
        self.may_speak.set()

    async def generate(self, job: Job) -> AsyncGenerator[Prefilled | list[Piece], None]:
        async with aclosing(super().generate(job)) as reads:
            async for read in reads:
                await self.may_speak.wait()
                yield read

    async def picture_tokens(self, pictures: Sequence[bytes]) -> int:
        return sum(map(len, pictures))

    async def close(self) -> None:
        self.closed = True


class World:
    def __init__(self, engine: OnDemandEngine, loader: Loader, large: Closing) -> None:
        self.engine = engine
        self.loader = loader
        self.large = large

    def begin(self, job: Job = _JOB) -> asyncio.Task[str]:
        """A generation on its way; gives its text."""
        return asyncio.create_task(self._text(job))

    async def _text(self, job: Job) -> str:
        text = ""
        async with aclosing(self.engine.generate(job)) as reads:
            async for read in reads:
                text += "".join(piece.text for piece in read) if isinstance(read, list) else ""
        return text


@asynccontextmanager
async def world(folder: Path, rule: Rule | None = None, vocabulary: Script | None = None) -> AsyncIterator[World]:
    loader, large = Loader(), Closing(Script(rules=(rule or Rule(text="Hello."),)))
    server = await asyncio.start_unix_server(loader.connected, str(folder / "loader"))
    place = OnDemand(loader=str(folder / "loader"), window=4096, slots=3, vision=True, adapters=("sql",))
    engine = OnDemandEngine("large", place, Scripted(vocabulary or Script()), lambda address: large)
    try:
        yield World(engine, loader, large)
    finally:
        await engine.close()
        server.close()
        for writer in loader.writers:
            writer.close()
            await writer.wait_closed()


async def until(met: Callable[[], bool]) -> None:
    while not met():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def test_it_tells_what_it_will_be_without_being_loaded(tmp_path: Path) -> None:
    """Description, tokens and health come from the vocabulary and the settings; nobody asks the loader."""
    async with world(tmp_path) as there:
        described = await there.engine.describe()
        assert (described.window, described.slots, described.adapters) == (4096, 3, ("sql",))
        assert described.media_marker == MEDIA_MARKER
        ids = await there.engine.tokenise(["Hello"])
        assert b"".join(await there.engine.spell(ids)) == b"Hello"
        assert await there.engine.picture_tokens([]) == 0
        assert (await there.engine.health()).ready
        assert there.loader.connections.empty()


async def test_requests_share_one_hold(tmp_path: Path) -> None:
    """All that wait are served by one load; it is idle when the last has ended, and busy with the next."""
    async with world(tmp_path) as there:
        waiting = [there.begin() for _ in range(3)]
        connection = await there.loader.asked()
        assert (await there.engine.health()).loading
        connection.say(line(Loaded(engine="anywhere")))
        assert await asyncio.gather(*waiting) == ["Hello."] * 3
        assert not (await there.engine.health()).loading
        assert await connection.heard() == IDLE
        assert await there.begin() == "Hello."
        assert [await connection.heard(), await connection.heard()] == [BUSY, IDLE]
        assert there.loader.connections.empty()


async def test_a_recalled_engine_finishes_what_it_began(tmp_path: Path) -> None:
    """After a recall the running reply comes to its end, then the engine is let go of; a new request asks anew."""
    async with world(tmp_path, Rule(pieces=("a", "b"))) as there:
        there.large.may_speak.clear()
        running = there.begin()
        connection = await there.loader.asked()
        connection.say(line(Loaded(engine="anywhere")))
        await until(lambda: there.large.running > 0)
        connection.say(RECALL)
        await until(lambda: there.engine._holds[-1].over)
        later = there.begin()
        second = await there.loader.asked()
        assert not there.large.closed
        there.large.may_speak.set()
        assert await running == "ab"
        assert await connection.heard() == IDLE
        assert await connection.heard() == b""
        assert there.large.closed
        second.say(line(Loaded(engine="anywhere")))
        assert await later == "ab"


async def test_a_failure_to_load_is_told_to_all_and_tried_again(tmp_path: Path) -> None:
    """Each request that waits fails with the cause; the next one asks again."""
    async with world(tmp_path) as there:
        waiting = [there.begin() for _ in range(2)]
        (await there.loader.asked()).say(line(Loaded(error="its file is cut short")))
        for failure in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(failure, EngineFailed)
            assert failure.message == "large cannot be loaded: its file is cut short"
        again = there.begin()
        (await there.loader.asked()).say(line(Loaded(engine="anywhere")))
        assert await again == "Hello."


async def test_a_picture_is_counted_once(tmp_path: Path) -> None:
    """The engine is loaded to count a picture; after that its tokens are known without it."""
    async with world(tmp_path) as there:
        counting = asyncio.create_task(there.engine.picture_tokens([b"one", b"two"]))
        connection = await there.loader.asked()
        connection.say(line(Loaded(engine="anywhere")))
        assert await counting == 6
        connection.say(RECALL)
        assert await connection.heard() == IDLE
        assert await connection.heard() == b""
        assert await there.engine.picture_tokens([b"two", b"one", b"one"]) == 9
        assert there.loader.connections.empty()


async def test_nobody_waits_any_more(tmp_path: Path) -> None:
    """When the last client that waited has gone, the loader is told by the end of the connection."""
    async with world(tmp_path) as there:
        waiting = there.begin()
        connection = await there.loader.asked()
        waiting.cancel()
        assert await connection.heard() == b""


async def test_a_loader_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    """Without a loader, or with one that hangs up, a request fails in words."""
    async with world(tmp_path) as there:
        waiting = there.begin()
        (await there.loader.asked()).writer.close()
        with pytest.raises(EngineFailed, match="large cannot be loaded"):
            await waiting


async def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    """Prompts that were made with other tokens than the engine's never reach it."""
    async with world(tmp_path, vocabulary=Script(control_tokens=("<|end|>",), eos_token="<|end|>")) as there:
        waiting = there.begin()
        (await there.loader.asked()).say(line(Loaded(engine="anywhere")))
        with pytest.raises(EngineFailed, match="keep_alive = -1"):
            await waiting
        assert there.large.closed


async def test_a_count_outlives_what_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a request waits for the engine to count a picture, another one may find that too many are remembered."""
    monkeypatch.setattr(on_demand, "_MOST_COUNTED", 1)
    async with world(tmp_path) as there:

        def counting(*pictures: bytes) -> asyncio.Task[int]:
            return asyncio.create_task(there.engine.picture_tokens(pictures))

        first = counting(b"one")
        connection = await there.loader.asked()
        connection.say(line(Loaded(engine="anywhere")))
        assert await first == 3
        connection.say(RECALL)
        await until(lambda: there.engine._holds[-1].over)
        waiting = counting(b"one", b"three")
        connection = await there.loader.asked()
        there.engine._counted[b"more"] = 1
        last = counting(b"sevens!")
        await until(lambda: there.engine._holds[-1]._users == 2)
        connection.say(line(Loaded(engine="anywhere")))
        assert [await waiting, await last] == [8, 7]
