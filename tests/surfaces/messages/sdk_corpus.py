"""Sample values made from the official SDK's own types, so that a new release brings its own cases."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import typing_extensions as te

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_WRAPPERS = (te.Required, te.NotRequired, typing.Annotated)


def members(alias: Any) -> Iterator[type]:
    """The TypedDicts of a union."""
    origin = te.get_origin(alias)
    if origin in (typing.Union, types.UnionType):
        for each in te.get_args(alias):
            yield from members(each)
    elif origin in _WRAPPERS:
        yield from members(te.get_args(alias)[0])
    elif te.is_typeddict(alias):
        yield alias


def sample(kind: Any, *, full: bool, depth: int = 0, name: str = "") -> Any:
    """A value of a type: with the required fields only, or with all."""
    origin, args = te.get_origin(kind), te.get_args(kind)
    if origin in _WRAPPERS:
        return sample(args[0], full=full, depth=depth, name=name)
    if te.is_typeddict(kind):
        return _fields(kind, full=full, depth=depth)
    if origin in (typing.Union, types.UnionType):
        some = [each for each in args if each is not type(None)]
        plain = [each for each in some if each is str] if depth > 4 else some
        return sample((plain or some)[-1 if full else 0], full=full, depth=depth + 1, name=name)
    if origin is typing.Literal or origin is te.Literal:
        return args[0]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"key": 1}
    if isinstance(origin, type) and issubclass(origin, Sequence | Iterable):
        return [sample(args[0], full=full, depth=depth + 1, name=name)] if depth < 6 else []
    return _scalar(kind, name)


def _fields(kind: type, *, full: bool, depth: int) -> dict[str, Any]:
    hints = te.get_type_hints(kind, include_extras=True)
    total = getattr(kind, "__total__", True)
    everything = full and depth < 6
    wanted = {key for key, hint in hints.items() if everything or _required(hint, total)}
    wanted |= {"type"} & set(hints)
    return {key: sample(hint, full=full, depth=depth + 1, name=key) for key, hint in hints.items() if key in wanted}


def _required(hint: Any, total: bool) -> bool:
    origin = te.get_origin(hint)
    return origin is te.Required or (total and origin is not te.NotRequired)


def _scalar(kind: Any, name: str) -> Any:
    if kind is bool:
        return True
    if kind is int:
        return 1024
    if kind is float:
        return 1.0
    if kind is object or kind is Any:
        return {}
    if name == "data":
        return PNG
    if name == "url":
        return "http://127.0.0.1:9/x"
    return "toolu_1" if name in ("id", "tool_use_id") else "word"
