"""What surfaces remember together: one small actor, bounded, whose loss costs a recomputed prompt and nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

log = logging.getLogger("antiphon.ray")

CAPACITY = 256_000_000
_PATIENCE = 2.0
"""Seconds a request waits for the memory: about what it costs to do without."""


class Memory:
    """The actor. Holds `capacity` bytes of values; those not asked for the longest go first."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._size = 0
        self._values: OrderedDict[bytes, bytes] = OrderedDict()

    async def put(self, name: bytes, value: bytes) -> None:
        """Keep a value."""
        self._size += len(value) - len(self._values.pop(name, b""))
        self._values[name] = value
        while self._size > self._capacity and len(self._values) > 1:
            self._size -= len(self._values.popitem(last=False)[1])

    async def first(self, names: Sequence[bytes]) -> tuple[int, bytes] | None:
        """The place of the first of these names that is known, and its value."""
        for index, name in enumerate(names):
            if (value := self._values.get(name)) is not None:
                self._values.move_to_end(name)
                return index, value
        return None


class Remembered:
    """The memory as a surface sees it: a `TranscriptStore`, apart from those of other models by the beginning of its
    names."""

    def __init__(self, handle: DeploymentHandle[Any], space: str) -> None:
        self._handle = handle
        self._space = space.encode() + b"\0"

    async def put(self, name: bytes, value: bytes) -> None:
        """Keep a value, if the memory is there."""
        await self._ask("put", self._space + name, value)

    async def first(self, names: Sequence[bytes]) -> tuple[int, bytes] | None:
        """The place of the first of these names that is known, and its value."""
        found: tuple[int, bytes] | None = await self._ask("first", [self._space + name for name in names])
        return found

    async def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await getattr(self._handle, method).remote(*arguments)
        except (RayError, RayServeException, TimeoutError) as trouble:
            log.warning("the memory of conversations does not answer: %s", type(trouble).__name__)
            return None
