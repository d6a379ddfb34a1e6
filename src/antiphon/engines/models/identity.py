"""What decides whether the state that one engine computed means the same to another."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

import msgspec

from antiphon.engines.embedded import Launch
from antiphon.engines.models import gguf

_SAMPLES, _SAMPLE = 64, 4096
# Everything else that an engine is started with counts, so that what is added later is not forgotten here.
_INDIFFERENT = frozenset(
    (
        "port",
        "name",
        "key",
        "log",
        "cause",
        "speculate",
        "draft_model",
        "checkpoints",
        "threads",
        "prefill_threads",
        "parallel",
        "window",
        "cache_mb",
        "memory_mb",
        "prefixes",
    )
)


def of_file(path: str) -> bytes:
    """A digest of a file: its size, its date, and samples from all over it. To read all of a model takes too long."""
    status = Path(path).stat()
    digest = hashlib.blake2b(f"{status.st_size} {status.st_mtime_ns}".encode(), digest_size=16)
    with open(path, "rb") as file:
        for sample in range(_SAMPLES):
            file.seek(status.st_size * sample // _SAMPLES)
            digest.update(file.read(_SAMPLE))
    return digest.digest()


def of_engine(launch: Launch) -> bytes:
    """A digest of the model's file, the engine's build, and what it is started with. Raises OSError or ValueError where
    the files cannot be read. Adapters are told apart by the requests that ask for them."""
    options = {name: value for name, value in msgspec.structs.asdict(launch).items() if name not in _INDIFFERENT}
    files = [path for path in (options.pop("model"), options.pop("mmproj")) if path]
    options.pop("lora")
    facts = [importlib.metadata.version("xllamacpp"), options, _stretched(launch)]
    digest = hashlib.blake2b(msgspec.json.encode(facts), digest_size=16)
    for path in files:
        digest.update(of_file(path))
    return digest.digest()


def _stretched(launch: Launch) -> bool:
    """Whether the window is longer than the one that the model was first trained with: some (LongRoPE) turn positions
    otherwise then."""
    values = gguf.read(launch.model).values
    first = values.get(f"{values.get('general.architecture')}.rope.scaling.original_context_length", 0)
    return isinstance(first, int) and 0 < first < launch.window
