"""An engine that runs only while it is needed, as a worker sees it.

Prompts are made, counted and checked with the model's vocabulary alone, which a small process of its own holds
(`engines/models/vocabulary_file.py`). Only a generation needs the weights. It asks the loader (`model_loader.py`) for
them, and waits in its slot, while the surface keeps the client's connection alive.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import NamedTuple

import msgspec

from antiphon.api.errors import EngineFailed
from antiphon.api.tokens import MOST_ALTERNATIVES
from antiphon.engines import Description, Engine, Health, Job, Piece, Prefilled
from antiphon.observability import metrics, request_watch
from antiphon.process.load_protocol import BUSY, IDLE, Loaded, Wanted, line
from antiphon.process.worker_config import OnDemand

MEDIA_MARKER = "<__picture_on_demand__>"
"""What stands for a picture while the engine, which has a marker of its own, does not run."""

_MOST_COUNTED = 4096
"""Pictures whose size is remembered."""
_PROBED = 64
"""Control tokens by which two vocabularies are compared."""


class Running(NamedTuple):
    """The engine while it runs, and what stands for a picture in its prompts (nothing: it sees none)."""

    engine: Engine
    media_marker: str


class OnDemandEngine:
    """The engine of the model called `name`. `vocabulary` tokenises for it at any time, `attach` reaches it at its
    address while it runs."""

    def __init__(self, name: str, place: OnDemand, vocabulary: Engine, attach: Callable[[str], Engine]) -> None:
        self._name = name
        self._place = place
        self._vocabulary = vocabulary
        self._attach = attach
        # The last one is in use; those before it wait for their last request to end.
        self._holds: list[_Hold] = []
        self._counted: dict[bytes, int] = {}

    async def describe(self) -> Description:
        """What it will be once it runs."""
        place, described = self._place, await self._vocabulary.describe()
        return msgspec.structs.replace(
            described,
            window=place.window,
            slots=place.slots,
            vision=place.vision,
            media_marker=MEDIA_MARKER if place.vision else "",
            adapters=place.adapters,
            alternatives=None if place.speculates else MOST_ALTERNATIVES,
        )

    async def tokenise(self, segments: Sequence[str]) -> list[int]:
        """By the vocabulary."""
        return await self._vocabulary.tokenise(segments)

    async def spell(self, ids: Sequence[int]) -> list[bytes]:
        """By the vocabulary."""
        return await self._vocabulary.spell(ids)

    async def picture_tokens(self, pictures: Sequence[bytes]) -> int:
        """By the engine, whose projector alone knows: it is loaded for pictures that it has not counted yet."""
        digests = [hashlib.blake2b(picture, digest_size=16).digest() for picture in pictures]
        if len(self._counted) > _MOST_COUNTED:
            self._counted.clear()
        # Another request may clear what is remembered while this one waits for the engine.
        counts = {digest: self._counted[digest] for digest in digests if digest in self._counted}
        unknown = {at: picture for at, picture in zip(digests, pictures, strict=True) if at not in counts}
        if unknown:
            async with self._running() as running:
                for digest, picture in unknown.items():
                    counts[digest] = self._counted[digest] = await running.engine.picture_tokens([picture])
        return sum(counts[digest] for digest in digests)

    async def generate(self, job: Job) -> AsyncGenerator[Prefilled | list[Piece], None]:
        """By the engine, once it runs."""
        async with self._running() as running:
            if job.images:
                job = msgspec.structs.replace(job, text=job.text.replace(MEDIA_MARKER, running.media_marker))
            async with aclosing(running.engine.generate(job)) as reads:
                async for read in reads:
                    yield read

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[Running]:
        if not self._holds or self._holds[-1].over:
            self._holds = [hold for hold in self._holds if not hold.given_back]
            self._holds.append(_Hold(self._name, self._place.loader, self._attached))
        async with self._holds[-1].use() as running:
            yield running

    async def _attached(self, address: str) -> Running:
        """The engine at this address, which must have the vocabulary that its prompts are made with. Raises Failure."""
        engine = self._attach(address)
        try:
            described = await engine.describe()
            probe = [described.chat_template, *described.control_tokens[:_PROBED]]
            if await engine.tokenise(probe) != await self._vocabulary.tokenise(probe):
                raise EngineFailed(
                    f"{self._name} tokenises differently once it is loaded than by its vocabulary alone; "
                    "load it at the start: keep_alive = -1"
                )
        except BaseException:
            await engine.close()
            raise
        return Running(engine, described.media_marker)

    async def health(self) -> Health:
        """Whether prompts can be made. That the weights are not loaded is no fault."""
        health = await self._vocabulary.health()
        return msgspec.structs.replace(health, loading=any(hold.loading for hold in self._holds))

    async def close(self) -> None:
        """Let go of the engine."""
        for hold in self._holds:
            await hold.close()
        await self._vocabulary.close()


class _Hold:
    """This worker's hold on the engine, from the first request that waits for it until it is given back: because it was
    recalled, because it could not be loaded, or because nobody waits for it any more."""

    def __init__(self, name: str, loader: str, attach: Callable[[str], Awaitable[Running]]) -> None:
        self.over = False
        """Whether it is no good for further requests."""
        self._name = name
        self._loader = loader
        self._attach = attach
        self._users = 0
        self._unused = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._engine: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep())

    @property
    def loading(self) -> bool:
        """Whether the engine is waited for."""
        return not self._engine.done()

    @property
    def given_back(self) -> bool:
        """Whether nothing of it is left."""
        return self._task.done()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Running]:
        """The engine, once it runs, for a request. Raises Failure where it cannot be loaded."""
        self._users += 1
        self._unused.clear()
        if self._users == 1:
            self._say(BUSY)
        try:
            yield await self._loaded()
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()
                self._say(IDLE)
                if self.loading:
                    self.over = True
                    self._task.cancel()

    async def _loaded(self) -> Running:
        if self._engine.done():
            return self._engine.result()
        watch = request_watch.watch()
        begun = watch.clock()
        metrics.loading(self._name, 1)
        try:
            return await asyncio.shield(self._engine)
        except EngineFailed as failure:
            # Each request has an error of its own.
            raise EngineFailed(failure.message) from None
        finally:
            watch.loaded += watch.clock() - begun
            metrics.loading(self._name, -1)

    def _say(self, word: bytes) -> None:
        if self._writer is not None and self._engine.done():
            self._writer.write(word)

    async def _keep(self) -> None:
        """Ask for the engine, keep it until it is recalled, and give it back when nobody uses it."""
        try:
            reader, self._writer = await asyncio.open_unix_connection(self._loader)
            self._writer.write(line(Wanted(self._name)))
            loaded = msgspec.json.decode(await reader.readline(), type=Loaded)
            if loaded.error:
                raise EngineFailed(f"{self._name} cannot be loaded: {loaded.error}")
            running = await self._attach(loaded.engine)
        except Exception as error:
            # Whatever it is, those who wait must hear of it.
            self.over = True
            failed = (
                error if isinstance(error, EngineFailed) else EngineFailed(f"{self._name} cannot be loaded: {error}")
            )
            self._engine.set_exception(failed)
        else:
            await self._until_recalled(running, reader)
        finally:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    async def _until_recalled(self, running: Running, reader: asyncio.StreamReader) -> None:
        self._engine.set_result(running)
        try:
            await reader.readline()
            self.over = True
            await self._unused.wait()
        finally:
            # Writes to disk what the engine has computed.
            await running.engine.close()

    async def close(self) -> None:
        """Give the engine back now."""
        self.over = True
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
