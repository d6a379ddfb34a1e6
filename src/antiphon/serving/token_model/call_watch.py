"""Text that no grammar stands beside is looked through for what a grammar would hold.

An engine works out for every token which ones its grammar allows, and beside text that may be anything this is for
nothing: with eight streams it takes a sixth of the embedded engine's speed. So text and thinking are generated without
one. When a call begins, the engine is stopped and goes on from the call's beginning with the grammar.
"""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.parsing.splitter import markers


class CallWatch:
    """Looks for the first of the texts that calls begin with (none: for nothing)."""

    def __init__(self, begins: Sequence[str]) -> None:
        self._markers = markers(*begins)
        self._tail = ""
        self.on = bool(begins)
        """Whether it still looks."""
        self.begun = False
        """Whether one has come."""

    def read(self, text: str, *, aside: bool) -> None:
        """The next piece, which lies `aside` where all of it is thinking, or a call that is none of the grammar's."""
        if aside:
            self._tail = ""
            return
        if self._tail:
            text = self._tail + text
        if self._markers.absent(text, 0):
            self._tail = ""
            return
        self.begun = self._markers.find(text, 0) is not None
        held = self._markers.held(text, 0)
        self._tail = text[len(text) - held :]

    @property
    def settled(self) -> bool:
        """Whether nothing of the text so far may be the beginning of one."""
        return not self._tail

    def end(self) -> None:
        """From here on the grammar holds."""
        self.on = self.begun = False
        self._tail = ""
