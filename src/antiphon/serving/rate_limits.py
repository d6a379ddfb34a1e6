"""What a key may use in a minute: requests, input tokens, output tokens.

Each is a bucket that fills steadily. A request needs room for itself and its prompt; output can only be counted
afterwards, so it may leave a debt that the next request waits for. Prompt tokens that the engine had in its cache are
given back. Several workers share the buckets in a file: the keys are the same everywhere, so each has its place there,
and the clock (monotonic, since boot) is the machine's.
"""

from __future__ import annotations

import contextlib
import logging
import math
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from antiphon.api.errors import RateLimited
from antiphon.storage import files

log = logging.getLogger("antiphon")

_BUCKET = struct.Struct("dd")
_KINDS = ("requests", "input-tokens", "output-tokens", "tool-calls")
_REQUESTS, _INPUT, _OUTPUT, _CALLS = range(4)
_TOLD = 3
"""Of the kinds, those that the API has headers for."""

Header = tuple[bytes, bytes]


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What one key may use in a minute; 0 is no limit."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0


class RateLimiter:
    """The buckets of every key. `keys` are labels, unknown ones share a bucket; `file` is what workers share."""

    def __init__(
        self,
        allowance: Allowance,
        keys: Sequence[str] = (),
        *,
        file: str = "",
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._most = (allowance.requests, allowance.input_tokens, allowance.output_tokens, allowance.tool_calls)
        self._place = {key: index + 1 for index, key in enumerate(dict.fromkeys(keys))}
        self._clock = clock
        self._now = now
        size = (len(self._place) + 1) * len(_KINDS) * _BUCKET.size
        self._handle = _shared(file, size) if file else -1
        self._buckets = mmap.mmap(self._handle, size)

    def admit(self, key: str) -> None:
        """Take a request in. Raises RateLimited when the key has used up its requests, or owes output tokens."""
        with self._locked():
            for kind, needed in ((_REQUESTS, 1), (_OUTPUT, 1), (_INPUT, 1)):
                self._require(key, kind, needed)
            self._add(key, _REQUESTS, 1)

    def spend_input(self, key: str, tokens: int, *, further: bool = False) -> None:
        """Take a prompt in. One that is longer than the whole allowance passes when nothing else was used. That of a
        `further` round passes too: the request was taken in, and the next one waits for what it owes."""
        with self._locked():
            if not further:
                self._require(key, _INPUT, min(tokens, self._most[_INPUT]))
            self._add(key, _INPUT, tokens)

    def take_call(self, key: str) -> bool:
        """Take a call of a tool in that runs here. Whether the key may still make one."""
        with self._locked():
            try:
                self._require(key, _CALLS, 1)
            except RateLimited:
                return False
            self._add(key, _CALLS, 1)
            return True

    def settle(self, key: str, *, cached: int, output: int) -> None:
        """A request is over: give back what was cached, count what was said."""
        with self._locked():
            self._add(key, _INPUT, -cached)
            self._add(key, _OUTPUT, output)

    def headers(self, key: str) -> list[Header]:
        """The `anthropic-ratelimit-*` headers: limit, what remains, and when the bucket will be full again."""
        found: list[Header] = []
        with self._locked():
            used = [self._used(key, kind) for kind in range(_TOLD)]
        for kind, name in enumerate(_KINDS[:_TOLD]):
            if most := self._most[kind]:
                full = self._now() + used[kind] * 60 / most
                reset = datetime.fromtimestamp(math.ceil(full), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                values = {"limit": str(most), "remaining": str(max(0, math.floor(most - used[kind]))), "reset": reset}
                found += [(f"anthropic-ratelimit-{name}-{part}".encode(), v.encode()) for part, v in values.items()]
        return found

    def close(self) -> None:
        """Let go of the file."""
        self._buckets.close()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among the workers. Within one, nothing here awaits."""
        if self._handle < 0:
            yield
            return
        import fcntl  # not on every system, and needed for several workers only

        fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def _at(self, key: str, kind: int) -> int:
        return (self._place.get(key, 0) * len(_KINDS) + kind) * _BUCKET.size

    def _used(self, key: str, kind: int) -> float:
        used: float
        when: float
        used, when = _BUCKET.unpack_from(self._buckets, self._at(key, kind))
        return max(0.0, used - (self._clock() - when) * self._most[kind] / 60)

    def _require(self, key: str, kind: int, amount: int) -> None:
        most = self._most[kind]
        missing = self._used(key, kind) + amount - most
        if most and missing > 1e-6:
            name = _KINDS[kind].replace("-", " ")
            raise RateLimited(
                f"This request would exceed this key's rate limit of {most} {name} per minute; try again later",
                retry_after=missing * 60 / most,
            )

    def _add(self, key: str, kind: int, amount: int) -> None:
        if self._most[kind]:
            used = max(0.0, self._used(key, kind) + amount)
            _BUCKET.pack_into(self._buckets, self._at(key, kind), used, self._clock())


def _shared(file: str, size: int) -> int:
    """A handle of the file that workers share, -1 where the disk has no room for it: then each counts by itself."""
    try:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        log.warning("each worker counts what keys use by itself: %s", error)
        return -1
    try:
        files.reserve(handle, size)
    except OSError as error:
        os.close(handle)
        log.warning("each worker counts what keys use by itself: %s: %s", file, files.reason(error))
        return -1
    return handle
