"""How an option is declared once, and what it is called as a flag, as an environment variable and in the file."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec


class About(msgspec.Struct, frozen=True):
    """What the reference says of an option. `name` replaces the field's name in flag, variable and key,
    `default` the default's value in the reference. A `path` may begin with `~`; a `secret` is never printed."""

    help: str
    name: str = ""
    default: str = ""
    path: bool = False
    secret: bool = False


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """An option as the command line and the reference see it. `type` is the field's type without its notes,
    `annotation` the same with them."""

    field: str
    name: str
    type: Any
    annotation: Any
    default: Any
    about: About

    @property
    def flag(self) -> str:
        """`--max-body-mb`."""
        return "--" + self.name.replace("_", "-")

    @property
    def opposite(self) -> str:
        """The flag that says no to a boolean: `--no-strict-version`, and `--auth` for `--no-auth`."""
        return "--" + self.flag.removeprefix("--no-") if self.name.startswith("no_") else "--no-" + self.flag[2:]

    @property
    def variable(self) -> str:
        """`ANTIPHON_MAX_BODY_MB`."""
        return "ANTIPHON_" + self.name.upper()

    @property
    def repeated(self) -> bool:
        """Whether the flag may be given several times (and the variable holds several, with commas)."""
        return get_origin(self.type) is tuple

    @property
    def metavar(self) -> str:
        """What stands for the value in a usage line."""
        if get_origin(self.type) is Literal:
            return "|".join(get_args(self.type))
        return {int: "NUMBER", float: "NUMBER"}.get(self.type, "PATH" if self.about.path else "TEXT")

    @property
    def takes(self) -> str:
        """What a value must be, as the end of a sentence: `a whole number from 1 to 256`."""
        if self.repeated:
            return "a list of texts"
        if get_origin(self.type) is Literal:
            return f"one of {', '.join(get_args(self.type))}"
        if self.type is bool:
            return "true or false"
        kind = {int: "a whole number", float: "a number"}.get(self.type)
        return kind + self._bounds if kind else "a path" if self.about.path else "a text"

    @property
    def _bounds(self) -> str:
        notes = getattr(self.annotation, "__metadata__", ())
        bounds = next((note for note in notes if isinstance(note, msgspec.Meta)), msgspec.Meta())
        if bounds.gt is not None:
            return f" above {bounds.gt:g}"
        if bounds.ge is not None and bounds.le is not None:
            return f" from {bounds.ge:g} to {bounds.le:g}"
        return f" that is {bounds.ge:g} or more" if bounds.ge is not None else ""

    @property
    def shown_default(self) -> str:
        """The default for people, empty when there is nothing to show."""
        if self.about.default or self.repeated or self.default is None:
            return self.about.default
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)


def declared(record: type[msgspec.Struct]) -> list[Option]:
    """Every option of a record of settings, in the order of declaration: the fields that have a note."""
    bare, noted = get_type_hints(record), get_type_hints(record, include_extras=True)
    options = []
    for field in msgspec.structs.fields(record):
        notes = getattr(noted[field.name], "__metadata__", ())
        about = next((note for note in notes if isinstance(note, About)), None)
        if about is None:
            continue
        options.append(
            Option(
                field=field.name,
                name=about.name or field.name,
                type=_value_type(bare[field.name]),
                annotation=_value_type(noted[field.name]),
                default=None if field.default is msgspec.NODEFAULT else field.default,
                about=about,
            )
        )
    return options


def _value_type(type: Any) -> Any:
    """The type of a value that is given, where the field may also have none: `float` of `float | None`."""
    inner = type.__origin__ if get_origin(type) is Annotated else type
    if get_origin(inner) not in (Union, UnionType):
        return type
    return next(part for part in get_args(inner) if part is not NoneType)
