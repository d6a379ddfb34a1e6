"""The key that seals thinking: made once, then shared by all workers and kept over restarts."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from pathlib import Path

from antiphon.storage import files

log = logging.getLogger("antiphon")

_SIZE = 32


def seal_key(state_dir: str, shared: str = "") -> bytes:
    """The key in the state folder, made where there is none. When that cannot be written, the key is kept in the folder
    that the workers share, for as long as the server runs; where there is none, by this process alone. What was sealed
    with a key that is gone cannot be opened again."""
    try:
        return _stored_key(Path(state_dir))
    except OSError as error:
        log.warning("%s", files.refusal("the key that seals thinking", error, state_dir, "--state-dir"))
    if shared:
        with contextlib.suppress(OSError):
            return _stored_key(Path(shared))
    return secrets.token_bytes(_SIZE)


def _stored_key(folder: Path) -> bytes:
    place = folder / "seal.key"
    with contextlib.suppress(FileNotFoundError):
        return place.read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{files.DRAFT}seal-{secrets.token_hex(4)}"
    files.write(draft, secrets.token_bytes(_SIZE))
    try:
        # Of several workers that start at once, the first one's key is kept.
        with contextlib.suppress(FileExistsError):
            os.link(draft, place)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(draft)
    return place.read_bytes()
