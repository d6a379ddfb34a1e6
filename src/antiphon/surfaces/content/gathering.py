"""Parts of one message, gathered in order: text joined, what stands in for something else on lines of its own."""

from __future__ import annotations

from typing import Generic, TypeVar

from antiphon.api.conversation import Part, Text

P = TypeVar("P", bound=Part)


class Gathering(Generic[P]):
    """Text of the client is joined with nothing between, so that cutting it into blocks changes nothing."""

    def __init__(self) -> None:
        self._parts: list[P | Text] = []
        self._text: list[str] = []
        self._inserted = False

    def text(self, text: str) -> None:
        """Add text the client wrote."""
        if not text:
            return
        if self._inserted and not text.startswith("\n"):
            self._text.append("\n")
        self._inserted = False
        self._text.append(text)

    def stand_in(self, text: str) -> None:
        """Add text that stands for something else."""
        if not text:
            return
        if self._text and not self._text[-1].endswith("\n"):
            self._text.append("\n")
        self._text.append(text)
        self._inserted = True

    def part(self, part: P) -> None:
        """Add a part that is not text."""
        self._flush()
        self._parts.append(part)

    def done(self) -> tuple[P | Text, ...]:
        """All that was gathered."""
        self._flush()
        return tuple(self._parts)

    def _flush(self) -> None:
        if self._text:
            self._parts.append(Text("".join(self._text)))
        self._text, self._inserted = [], False
