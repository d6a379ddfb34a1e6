"""The adapters (LoRA) of a llama.cpp server, which it knows by numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from antiphon.engines.answers import Adapter
from antiphon.engines.attached import Attached
from antiphon.engines.models import identity


class Adapters:
    """The adapters of one server; `files` names the file of each that can be asked for."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self._ids: dict[str, int] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names that a job may ask for."""
        return tuple(self._files)

    async def find(self, server: Attached) -> None:
        """Ask for the numbers. Raises ValueError for a file that the server was not started with."""
        known = {each.path: each.id for each in await server.ask("GET", "/lora-adapters", list[Adapter])}
        self._ids = {}
        for name, file in self._files.items():
            # On another machine the folder may be another.
            path = file if file in known else next((path for path in known if Path(path).name == Path(file).name), None)
            if path is None:
                raise ValueError(f"llama.cpp has no adapter {file} (--lora {name}=…): start it with --lora {file}")
            self._ids[name] = known.pop(path)
        self._ids |= known

    def scales(self, adapter: str) -> list[dict[str, Any]]:
        """The field `lora` of a request for this adapter (empty: for none). It names all of them, each time: of a
        request that names none, llama.cpp goes on from another adapter's cache."""
        return [{"id": id, "scale": float(name == adapter)} for name, id in self._ids.items()]

    def identities(self, engine: bytes) -> dict[str, bytes]:
        """What tells the states of the adapters apart, and those of the model without any (the empty name). Reads
        samples of their files."""
        return {"": engine} | {name: engine + identity.of_file(file) for name, file in self._files.items()}
