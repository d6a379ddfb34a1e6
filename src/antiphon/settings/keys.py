"""API keys in the form in which they are held and named: what leaks from memory, an environment or a log is no key."""

from __future__ import annotations

import hashlib


def hashed(key: str) -> bytes:
    """The form in which keys are held."""
    return hashlib.sha256(key.encode()).digest()


def label(digest: bytes) -> str:
    """What a `hashed` key is called in metrics, limits and the log."""
    return digest.hex()[:8]
