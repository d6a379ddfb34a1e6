"""What a check can end in, besides nothing at all: then it has passed."""

from __future__ import annotations


class Failed(Exception):
    """The server does not do what the check asks. The message says what came instead."""


class Unjudged(Exception):
    """Nothing can be said: the model did not do what was needed, or the server does not offer it. The message says
    why."""


def expect(held: object, otherwise: str) -> None:
    """Raises Failed with this message unless the condition held."""
    if not held:
        raise Failed(otherwise)
