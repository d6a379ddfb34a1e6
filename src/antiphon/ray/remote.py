"""The engine actors of a model as a surface sees them: one engine, of which Ray Serve's router chooses the replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from antiphon.api.errors import EngineFailed, Failure, Overloaded
from antiphon.engines import Description, Health, Job, Piece, Prefilled
from antiphon.ray.askers import Asker
from antiphon.ray.engine import Taken

_MOST = 2
"""So many replicas may die with a request: it may be what they die of."""
_PAUSE = 0.25
_RETRY_AFTER = 5.0
_GONE = (RayActorError, DeploymentUnavailableError, BackPressureError)
"""What is raised of a replica that is no more, or of a deployment that takes nothing."""


class EngineActors:
    """The engine behind a handle. A request waits `patience` seconds for a replica that takes it; one whose replica
    dies before it has said anything goes to another, once."""

    def __init__(self, handle: DeploymentHandle[Any], patience: float) -> None:
        self._handle = handle
        self._generate = handle.options(method_name="generate", stream=True)
        self._patience = patience
        self._asker = Asker.here()

    async def describe(self) -> Description:
        """By any replica. Waits for the first of them, however long it takes: Ray tells of those that do not start."""
        described: Description = await self._handle.describe.remote()
        return described

    async def tokenise(self, segments: Sequence[str]) -> list[int]:
        """By any replica, beside its line."""
        ids: list[int] = await self._ask("tokenise", list(segments))
        return ids

    async def picture_tokens(self, pictures: Sequence[bytes]) -> int:
        """By any replica, beside its line."""
        return int(await self._ask("picture_tokens", list(pictures))) if pictures else 0

    async def spell(self, ids: Sequence[int]) -> list[bytes]:
        """By any replica, beside its line."""
        spelled: list[bytes] = await self._ask("spell", list(ids))
        return spelled

    async def _ask(self, method: str, argument: Any) -> Any:
        deadline = asyncio.get_running_loop().time() + self._patience
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    return await getattr(self._handle, method).remote(argument)
            except (*_GONE, TimeoutError) as trouble:
                await self._again(trouble, deadline)
            except RayTaskError as trouble:
                raise _failure(trouble) from trouble

    async def generate(self, job: Job) -> AsyncGenerator[Prefilled | list[Piece], None]:
        """By the replica that has the conversation."""
        deadline = asyncio.get_running_loop().time() + self._patience
        taken, begun = 0, False
        while True:
            try:
                async with aclosing(self._attempt(job, deadline)) as items:
                    async for item in items:
                        if isinstance(item, Taken):
                            taken += 1
                            continue
                        # One that has only read the prompt can be followed by another, which reads it, too.
                        begun = begun or isinstance(item, list)
                        yield item
                return
            except (*_GONE, TimeoutError) as trouble:
                if begun or taken == _MOST:
                    raise EngineFailed("the engine died in the middle of the reply") from trouble
                if taken:
                    # It may have waited in the line of that replica for long.
                    deadline = asyncio.get_running_loop().time() + self._patience
                await self._again(trouble, deadline)
            except RayTaskError as trouble:
                raise _failure(trouble) from trouble

    async def _attempt(self, job: Job, deadline: float) -> AsyncGenerator[Taken | Prefilled | list[Piece], None]:
        stream = self._generate.options(session_id=job.conversation or "").remote(job, self._asker)
        try:
            async with asyncio.timeout_at(deadline):
                taken = await anext(stream)
            yield taken
            async for item in stream:
                yield item
        finally:
            # It is this, and not letting go of the stream, that frees the engine's slot.
            stream.cancel()

    async def _again(self, trouble: Exception, deadline: float) -> None:
        """Wait a little before another attempt. Raises Overloaded when that makes no sense any more."""
        if asyncio.get_running_loop().time() + _PAUSE > deadline:
            reason = str(trouble).splitlines()[0] if str(trouble) else "no replica takes the request"
            raise Overloaded(f"the engine does not answer: {reason}", retry_after=_RETRY_AFTER) from trouble
        await asyncio.sleep(_PAUSE)

    async def health(self) -> Health:
        """Whether a replica takes requests; that its engine is well Ray looks after by itself."""
        try:
            async with asyncio.timeout(3):
                await self._handle.describe.remote()
        except (*_GONE, RayTaskError, TimeoutError) as trouble:
            return Health(False, f"no engine actor answers: {type(trouble).__name__}")
        return Health(True, "an engine actor answers")

    async def close(self) -> None:
        """The actors are not ours to stop."""


def _failure(trouble: RayTaskError) -> Exception:
    """What an engine actor raised, as it raised it."""
    cause = trouble.cause
    return cause if isinstance(cause, Failure) else EngineFailed(f"the engine actor failed: {cause!r}")
