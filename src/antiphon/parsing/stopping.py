"""Why a reply ends. Stop sequences are found in the visible text alone and cut exactly, also when split over tokens."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.api.events import AnyEvent, Finished, ToolEnd, Usage
from antiphon.parsing.splitter import markers


def finished(
    usage: Usage,
    *,
    limit: bool,
    window: bool,
    sequence: str | None,
    calls: int,
    cut_call: bool,
    refusal: str | None = None,
) -> Finished:
    """The end of a reply, its reason derived from what was emitted. `limit` says that the engine stopped at the token
    limit, `window` that this limit was the model's window; `sequence` is the stop sequence that came; `calls` have been
    emitted, the last of them broken off if `cut_call`; `refusal` is what was said by a server that would not go on,
    perhaps nothing.

    A reply that ends early, at its limit or at a stop sequence, with whole calls only has calls that wait for their
    results; with none, or with one broken off, it is cut."""
    if calls and not cut_call:
        return Finished("tool_use", usage)
    if sequence is not None:
        return Finished("stop_sequence", usage, sequence)
    if limit:
        return Finished("model_context_window_exceeded" if window else "max_tokens", usage)
    if refusal is not None:
        return Finished("refusal", usage, explanation=refusal or None)
    return Finished("tool_use" if calls else "end_turn", usage)


def until_first_call(events: list[AnyEvent]) -> tuple[list[AnyEvent], bool]:
    """The events up to the end of the first call, if there is one, and whether there is."""
    for index, event in enumerate(events):
        if isinstance(event, ToolEnd):
            return events[: index + 1], True
    return events, False


class Stopper:
    """Passes text on until a stop sequence has come. Holds back only what may be the beginning of one."""

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = markers(*sequences) if sequences else None
        self._held = ""
        self.sequence: str | None = None

    def feed(self, text: str) -> str:
        """The part of the text so far that is certainly before any stop sequence and was not returned yet."""
        if self._sequences is None or self.sequence is not None:
            return "" if self.sequence is not None else text
        text = self._held + text
        match = self._sequences.find(text, 0)
        if match:
            self.sequence, self._held = match[0], ""
            return text[: match.start()]
        held = self._sequences.held(text, 0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> str:
        """What was held back: no stop sequence came of it, because the text is over or something else began."""
        held, self._held = self._held, ""
        return held
