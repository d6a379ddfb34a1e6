"""Models that are known by a short name, from a file of facts: the package's, or a newer one in the cache.

`antiphon update-models` fetches a newer one. Short names are not paths: they hold no slash and do not end in `.gguf`.
"""

from __future__ import annotations

import datetime
import difflib
import functools
import tomllib
from importlib.resources import files as resources
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from antiphon.storage import files

Use = Literal["coding", "chat", "tools"]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]*$")]


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model, as its table says. `files` has at least one, the usual first. `parameters` and `active` are billions,
    `window` is tokens, `cache_bytes` those of a token in an f16 cache; `tools` and `reasoning` are names of formats."""

    class File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """A file on the hub."""

        quantisation: str
        file: Annotated[str, Meta(pattern=r"\.gguf$")]
        bytes: Annotated[int, Meta(gt=0)]

    name: Name
    title: str
    hub: Annotated[str, Meta(pattern=r"^[\w.-]+/[\w.-]+$")]
    licence: str
    uses: Annotated[tuple[Use, ...], Meta(min_length=1)]
    parameters: Annotated[float, Meta(gt=0)]
    active: float = 0.0
    window: Annotated[int, Meta(gt=0)]
    cache_bytes: Annotated[int, Meta(gt=0)]
    vision: bool = False
    tools: str
    reasoning: str = "none"
    files: Annotated[tuple[File, ...], Meta(min_length=1)]

    def reference(self, file: File) -> str:
        """The file, as every command takes it."""
        return f"hf:{self.hub}:{file.file}"

    def bytes_a_token(self, file: File) -> float:
        """Bytes of weights that are read to write a token."""
        return file.bytes * (self.active or self.parameters) / self.parameters


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All known models, and the day of the facts."""

    date: datetime.date
    model: Annotated[tuple[ModelFacts, ...], Meta(min_length=1)]

    def find(self, name: str) -> tuple[ModelFacts, ModelFacts.File] | None:
        """The model of a short name, and which of its files: the first, or the one that is said (`name:Q6_K`)."""
        short, _, quantisation = name.lower().partition(":")
        for model in self.model:
            for file in model.files:
                if model.name == short and quantisation in ("", file.quantisation.lower()):
                    return model, file
        return None

    def near(self, name: str) -> list[str]:
        """Names that may have been meant."""
        return difflib.get_close_matches(name.lower(), [model.name for model in self.model], 3, 0.5)


def parse(data: bytes) -> Catalogue:
    """The catalogue that these bytes are. Raises ValueError, which says what is wrong."""
    try:
        catalogue = msgspec.convert(tomllib.loads(data.decode()), Catalogue)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"it is not a catalogue of models: {error}") from None
    names = [model.name for model in catalogue.model]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"it is not a catalogue of models: it lists {min(twice)} twice")
    return catalogue


def place(cache: Path) -> Path:
    """Where a newer one is kept."""
    return cache / "catalogue.toml"


@functools.cache
def packaged() -> Catalogue:
    """The one that came with this version."""
    return parse(resources("antiphon.engines.models").joinpath("catalogue.toml").read_bytes())


def load(cache: Path) -> Catalogue:
    """The newer one of the package's and the one in the cache. One that cannot be read is as if it were not there."""
    try:
        downloaded = parse(place(cache).read_bytes())
    except (OSError, ValueError):
        return packaged()
    return max(packaged(), downloaded, key=lambda catalogue: catalogue.date)


def update(cache: Path, data: bytes) -> Catalogue:
    """Keep a newer catalogue. Raises ValueError where it is none, or is older than the one in force; OSError where it
    cannot be kept."""
    found, known = parse(data), load(cache)
    if found.date < known.date:
        raise ValueError(f"it is of {found.date}, older than the one in force, of {known.date}")
    cache.mkdir(parents=True, exist_ok=True)
    files.write(place(cache), data)
    return found


def is_short(model: str) -> bool:
    """Whether this can be a short name, and is no path, no hub reference and no engine."""
    return bool(model) and "/" not in model and not model.endswith(".gguf") and not model.startswith(("hf:", "~", "."))
