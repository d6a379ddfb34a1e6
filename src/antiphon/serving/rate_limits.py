"""What a key may use in a minute: requests, input tokens, output tokens.

Each is a bucket that fills steadily. A request needs room for itself and its prompt; output can only be counted
afterwards, so it may leave a debt that the next request waits for. Prompt tokens that the engine had in its cache are
given back. Several workers share the buckets in a file: a key's number is the same everywhere, so each has its place
there, and the clock (monotonic, since boot) is the machine's.
"""

from __future__ import annotations

import contextlib
import logging
import math
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from antiphon.accounts.keyring import Keyring
from antiphon.accounts.keys import Allowance
from antiphon.api.errors import RateLimited
from antiphon.storage import files

log = logging.getLogger("antiphon")

_BUCKET = struct.Struct("dd")
_MORE = 64
"""Keys that the file has room for; so many more, whenever there are more."""
_KINDS = ("requests", "input-tokens", "output-tokens", "tool-calls")
_REQUESTS, _INPUT, _OUTPUT, _CALLS = range(4)
_TOLD = _KINDS[:3]
"""Those that the API has headers for."""

Header = tuple[bytes, bytes]


class Standing(NamedTuple):
    """Of a kind: so many a minute, what remains of them, and when all of them do again (Unix seconds)."""

    kind: str
    limit: int
    remaining: int
    full: float


class RateLimiter:
    """The buckets of every key: with what it is allowed of its own, or else with the common `allowance`. Requests
    without a key share theirs; `file` is what workers share."""

    def __init__(
        self,
        allowance: Allowance,
        keys: Keyring | None = None,
        *,
        file: str = "",
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._common = _limits(allowance)
        self._keys = keys or Keyring()
        self._clock = clock
        self._now = now
        self._handle = _opened(file) if file else -1
        self._buckets = mmap.mmap(-1, mmap.PAGESIZE)
        self._reach(0)

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
                self._require(key, _INPUT, min(tokens, self._most(key)[_INPUT]))
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

    def standings(self, key: str) -> list[Standing]:
        """How it is with each kind of which the key may use only so much."""
        limits = self._most(key)
        if not any(limits):
            return []
        with self._locked():
            used = [self._used(key, kind) for kind in range(len(_KINDS))]
        return [
            Standing(name, most, max(0, math.floor(most - spent)), self._now() + spent * 60 / most)
            for name, most, spent in zip(_KINDS, limits, used, strict=True)
            if most
        ]

    def headers(self, key: str) -> list[Header]:
        """The `anthropic-ratelimit-*` headers: limit, what remains, and when the bucket will be full again."""
        fields: list[Header] = []
        for standing in self.standings(key):
            if standing.kind in _TOLD:
                reset = datetime.fromtimestamp(math.ceil(standing.full), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                values = {"limit": str(standing.limit), "remaining": str(standing.remaining), "reset": reset}
                name = f"anthropic-ratelimit-{standing.kind}"
                fields += [(f"{name}-{part}".encode(), value.encode()) for part, value in values.items()]
        return fields

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

    def _most(self, key: str) -> tuple[int, ...]:
        known = self._keys.get(key)
        if known is None or known.allowance == Allowance():
            return self._common
        return tuple(own or common for own, common in zip(_limits(known.allowance), self._common, strict=True))

    def _place(self, key: str, kind: int) -> int:
        place = (self._keys.place(key) * len(_KINDS) + kind) * _BUCKET.size
        if place >= len(self._buckets):
            self._reach(place)
        return place

    def _reach(self, place: int) -> None:
        """Make the buckets reach to this place. Where the disk has no room for it, each worker counts by itself."""
        room = _MORE * len(_KINDS) * _BUCKET.size
        size = (place // room + 1) * room
        if self._handle >= 0:
            try:
                files.reserve(self._handle, size)
            except OSError as error:
                os.close(self._handle)
                self._handle = -1
                log.warning(
                    "the workers cannot share what they count for each key, so each counts alone: %s",
                    files.reason(error),
                )
        before, self._buckets = self._buckets, mmap.mmap(self._handle, size)
        if self._handle < 0:
            kept = min(len(before), size)
            self._buckets[:kept] = before[:kept]
        before.close()

    def _used(self, key: str, kind: int) -> float:
        used: float
        when: float
        used, when = _BUCKET.unpack_from(self._buckets, self._place(key, kind))
        return max(0.0, used - (self._clock() - when) * self._most(key)[kind] / 60)

    def _require(self, key: str, kind: int, amount: int) -> None:
        most = self._most(key)[kind]
        if not most:
            return
        missing = self._used(key, kind) + amount - most
        if missing > 1e-6:
            name = _KINDS[kind].replace("-", " ")
            raise RateLimited(
                f"This request would exceed this key's rate limit of {most} {name} per minute; try again later",
                retry_after=missing * 60 / most,
            )

    def _add(self, key: str, kind: int, amount: int) -> None:
        if self._most(key)[kind]:
            used = max(0.0, self._used(key, kind) + amount)
            _BUCKET.pack_into(self._buckets, self._place(key, kind), used, self._clock())


def _limits(allowance: Allowance) -> tuple[int, ...]:
    return allowance.requests, allowance.input_tokens, allowance.output_tokens, allowance.tool_calls


def _opened(file: str) -> int:
    """A handle of the file that workers share, -1 where there is none: then each counts by itself."""
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        log.warning("the workers cannot share what they count for each key, so each counts alone: %s", error)
        return -1
