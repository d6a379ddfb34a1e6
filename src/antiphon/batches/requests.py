"""The requests of a batch as lines of contents, and how they are cut into shares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from itertools import islice

import msgspec

_SHARES = 256
"""A batch has about so many shares at most, so that servers which work on it together have enough to divide."""
_FEWEST = 16
"""Requests of a share, at least, where they are small."""
_LARGEST = 1 << 20
"""Bytes of a share beyond which no request is added to it: a worker has all of them in memory."""
_NAMED = re.compile(rb'\{"custom_id":"([a-zA-Z0-9_-]{1,64})"')
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class Item(msgspec.Struct):
    """A request of a batch; `params` is the body of a request by itself. `trouble` is what keeps it from being asked,
    in a sentence."""

    custom_id: str
    params: msgspec.Raw
    trouble: str = ""


class _Line(msgspec.Struct):
    custom_id: str
    params: msgspec.Raw


_line = msgspec.json.Decoder(_Line)


def cut(lines: Iterator[bytes], total: int) -> list[bytes]:
    """The lines of the next share of a batch with so many requests; none when there are no more."""
    share, size = list[bytes](), 0
    for line in islice(lines, max(_FEWEST, total // _SHARES)):
        share.append(line)
        size += len(line)
        if size > _LARGEST:
            break
    return share


def read(lines: Iterable[bytes], first: int) -> Iterator[Item]:
    """The requests in lines of a batch, the first of which has this place in it."""
    for place, line in enumerate(lines, first):
        try:
            kept = _line.decode(line)
            yield Item(kept.custom_id, kept.params)
        except _UNREADABLE as error:
            named = _NAMED.match(line)
            id = named[1].decode() if named else _unnamed(place)
            yield Item(id, msgspec.Raw(b""), f"the line in which this request was kept cannot be read: {error}")


def lost(count: int, first: int, seen: Set[str]) -> Iterator[Item]:
    """Those of so many requests that are not among the `seen` ones, named by their place in the batch."""
    unnamed = (id for place in range(first, first + count) if (id := _unnamed(place)) not in seen)
    for id in islice(unnamed, count - len(seen)):
        yield Item(id, msgspec.Raw(b""), "the place where this request was kept has lost it")


def _unnamed(place: int) -> str:
    """What stands for the id of a request that has none any more. No client's id has a full stop in it."""
    return f"requests.{place}"
