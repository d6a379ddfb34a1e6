"""Why a reply ends. Stop sequences are found in the visible text alone and cut exactly, also when split over tokens."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.events import StopReason
from antiphon.parsing.splitter import markers


def stop_reason(*, limit: bool, window: bool, sequence: str | None, calls: int, cut_call: bool) -> StopReason:
    """The reason, derived from what was emitted. `limit` says that the engine stopped at the token limit, `window`
    that this limit was the model's window; `calls` have been emitted, the last of them broken off if `cut_call`.

    A reply cut at its limit right after a whole call is a call; cut anywhere else it is cut."""
    if sequence is not None:
        return "stop_sequence"
    if limit and (cut_call or not calls):
        return "model_context_window_exceeded" if window else "max_tokens"
    return "tool_use" if calls else "end_turn"


class Stopper:
    """Passes text on until a stop sequence has come. Holds back only what may be the beginning of one."""

    def __init__(self, sequences: Sequence[str]) -> None:
        self._wanted = markers(*sequences) if sequences else None
        self._held = ""
        self.found: str | None = None

    def feed(self, text: str) -> str:
        """The part of the text so far that is certainly before any stop sequence and was not returned yet."""
        if self._wanted is None or self.found is not None:
            return "" if self.found is not None else text
        text = self._held + text
        match = self._wanted.find(text, 0)
        if match:
            self.found, self._held = match[0], ""
            return text[: match.start()]
        held = self._wanted.held(text, 0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> str:
        """What was held back: no stop sequence came of it, because the text is over or something else began."""
        held, self._held = self._held, ""
        return held
