"""How far an engine is with a prompt: for the metrics, the log, and clients that ask for it."""

from __future__ import annotations

import logging
from typing import Protocol

from antiphon.api.events import PromptProgress
from antiphon.observability import metrics

log = logging.getLogger("antiphon.http")

LONG = 5.0
"""Seconds after which the log tells of a prompt that is still being read; then after twice as many, and so on."""


class Asker(Protocol):
    """Whose prompt is read."""

    request_id: str
    model: str
    key: str


class PromptReading:
    """The reading of a request's prompts, of one after the other where it has several rounds: each from what the engine
    says of it first until the next token. `progress` is None while none is read, `seconds` what all took so far. Times
    are seconds of any clock."""

    __slots__ = ("_before", "_began", "_model", "_tell_at", "progress", "seconds")

    def __init__(self) -> None:
        self.progress: PromptProgress | None = None
        self.seconds = 0.0
        self._before = self._began = self._tell_at = 0.0
        self._model = ""

    def advance(self, progress: PromptProgress, now: float, asker: Asker) -> None:
        """The engine is so far at this time."""
        if self.progress is None:
            self._before, self._began, self._tell_at, self._model = self.seconds, now, LONG, asker.model
            metrics.restored(asker.model, asker.key, progress.restored)
        before = self.progress or PromptProgress(prompt=0, read=progress.cached)
        metrics.prefilled(asker.model, asker.key, max(progress.read - before.read, 0))
        metrics.unread(asker.model, _left(progress) - _left(self.progress))
        elapsed = now - self._began
        self.progress, self.seconds = progress, self._before + elapsed
        if elapsed >= self._tell_at and _left(progress):
            log.info("%s %s", asker.request_id, _sentence(progress, elapsed))
            while self._tell_at <= elapsed:
                self._tell_at *= 2

    def end(self, now: float) -> None:
        """The next token came, or none will."""
        if self.progress is not None:
            metrics.unread(self._model, -_left(self.progress))
            self.progress, self.seconds = None, self._before + now - self._began


def _left(progress: PromptProgress | None) -> int:
    return progress.prompt - progress.read if progress else 0


def _sentence(progress: PromptProgress, seconds: float) -> str:
    computed = progress.read - progress.cached
    sentence = f"reading the prompt: {progress.read:,} of {progress.prompt:,} tokens after {seconds:.1f} s"
    if not computed:
        return sentence
    return f"{sentence} ({computed / seconds:.0f} a second, about {_left(progress) * seconds / computed:.0f} s more)"
