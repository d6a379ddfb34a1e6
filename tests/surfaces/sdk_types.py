"""Whether JSON is what an official SDK types: nothing is missing, nothing is more, nothing of another type.

The SDKs themselves read whatever comes, and so do their models. This looks at the models' fields only.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic
from typing_extensions import TypeAliasType

Fields = dict[str, Any]
PLAIN: dict[Any, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    float: (int, float),
    bool: (bool,),
    type(None): (type(None),),
}


Beyond = Mapping[str, tuple[str, ...]]
"""Fields that are taken besides those of a model, by the model's name."""
NOTHING: Beyond = {}


def complaints(kind: Any, value: Any, where: str = "", beyond: Beyond = NOTHING) -> list[str]:
    """What is wrong with a value of this type, by dotted paths."""
    return list(_complaints(kind, value, where, beyond))


def _complaints(kind: Any, value: Any, where: str, beyond: Beyond) -> Iterator[str]:
    kind = _bare(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if kind in (Any, object):
        return
    if origin in (Union, types.UnionType):
        yield from min((complaints(each, value, where, beyond) for each in _likely(kind, value)), key=len)
    elif origin in (list, dict):
        if not isinstance(value, origin):
            yield f"{where}: {value!r} is no {origin.__name__}"
            return
        for place, each in value.items() if origin is dict else enumerate(value):
            yield from _complaints(inner[-1], each, f"{where}.{place}", beyond)
    elif isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        yield from _of_model(kind, value, where, beyond)
    elif not _is_plain(kind, value):
        yield f"{where}: {value!r} is not of {kind}"


def _is_plain(kind: Any, value: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind is datetime:
        return _is_time(value)
    return type(value) in PLAIN[kind]


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _of_model(model: type[pydantic.BaseModel], value: Any, where: str, beyond: Beyond) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: {value!r} is no {model.__name__}"
        return
    fields = _fields(model)
    for name, (kind, required) in fields.items():
        if name in value:
            yield from _complaints(kind, value[name], f"{where}.{name}", beyond)
        elif required:
            yield f"{where}.{name}: missing of {model.__name__}"
    known = {*fields, *beyond.get(model.__name__, ())}
    yield from (f"{where}.{name}: no field of {model.__name__}" for name in value if name not in known)


@cache
def _fields(model: type[pydantic.BaseModel]) -> dict[str, tuple[Any, bool]]:
    return {
        field.alias or name: (Annotated[field.annotation, *field.metadata], field.is_required())
        if field.metadata
        else (field.annotation, field.is_required())
        for name, field in model.model_fields.items()
    }


def _bare(kind: Any) -> Any:
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif isinstance(kind, TypeAliasType):
            kind = kind.__value__
        else:
            return kind


def _likely(kind: Any, value: Any) -> list[Any]:
    """The members of a union that a value may be of: those of its `type`, where there are such."""
    members = [_bare(each) for each in get_args(kind)]
    named = [each for each in members if isinstance(value, dict) and _is_named(each, value.get("type"))]
    return named or members


def _is_named(kind: Any, name: Any) -> bool:
    if not (isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)) or "type" not in kind.model_fields:
        return False
    annotation = _bare(kind.model_fields["type"].annotation)
    return get_origin(annotation) is Literal and name in get_args(annotation)
