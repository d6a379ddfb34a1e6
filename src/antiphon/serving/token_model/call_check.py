"""Calls that no grammar holds to all of their tool's schema are checked before the client has them.

Such a call is held back until its input is whole and matches. Text and thinking before it, and calls of other tools,
are not; only what may turn out to be the call's beginning waits for a piece or two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antiphon.api.errors import Internal
from antiphon.api.events import AnyEvent, ToolDelta, ToolEnd, ToolStart
from antiphon.constraint.check import MOST_ATTEMPTS, violation


class CallCheck:
    """Looks at the events of a reply on their way out. `schemas` are those of the tools whose calls are to be checked,
    by name; without any, everything passes, unless there `may_go_back` be a way to before the beginning of a call."""

    def __init__(self, schemas: Mapping[str, dict[str, Any]], *, may_go_back: bool = False) -> None:
        self._schemas = schemas
        self.may_go_back = may_go_back or bool(schemas)
        self._held: list[AnyEvent] = []
        self._call: ToolStart | None = None
        self._input: list[str] = []
        self._failures = 0
        self.released = 0
        """How many of the reply's pieces the client has all of: from there a call is asked for again."""
        self.problem = ""
        """What is wrong with the last call, which was held back; empty when nothing."""

    def passed(self, events: list[AnyEvent], *, pieces: int, settled: bool, cut: bool = False) -> list[AnyEvent]:
        """Of these further events, and of those that were held, the ones that the client may have. So many `pieces` of
        the reply were read so far; `settled` says that nothing of them may still become the beginning of a call, `cut`
        that the reply ended at its limit."""
        if not self.may_go_back:
            return events
        for event in events:
            self._look(event, cut)
            if self.problem:
                return []
        self._held += events
        if self._call is None and (settled or (self._held and isinstance(self._held[-1], ToolEnd))):
            self.released = pieces
        elif self._call is None or self._call.name in self._schemas:
            return []
        told, self._held = self._held, []
        return told

    @property
    def holds(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    def _look(self, event: AnyEvent, cut: bool) -> None:
        match event:
            case ToolStart():
                self._call, self._input = event, []
            case ToolDelta(json) if self._call is not None:
                self._input.append(json)
            case ToolEnd(complete) if self._call is not None:
                schema = self._schemas.get(self._call.name)
                if schema is not None:
                    text = "".join(self._input) or "{}"
                    self.problem = violation(schema, text, cut=cut and not complete)
                    self._failures = self._failures + 1 if self.problem else 0
                if not self.problem:
                    self._call = None

    def again(self) -> str:
        """Forget what was held: the call is asked for again. Returns what was wrong with it. Raises Internal when that
        was done often enough."""
        assert self._call is not None
        problem = f"the input of {self._call.name!r} does not match its schema: {self.problem}"
        if self._failures >= MOST_ATTEMPTS:
            raise Internal(f"the model's call broke the tool's schema in {MOST_ATTEMPTS} attempts: {problem}")
        self.forget()
        return problem

    def forget(self) -> None:
        """What was held is generated anew."""
        self._held, self._call, self.problem = [], None, ""
        self.may_go_back = bool(self._schemas)
