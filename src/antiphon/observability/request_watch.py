"""What is seen of a request while it passes. Stage 7 of the path: events go by unchanged.

A `Watch` belongs to one request and counts in plain numbers, because it is asked once for every batch of tokens; what
it has seen is added to the metrics when the request is over (`metrics.py`).
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple

from antiphon.api.context_management import AppliedEdit
from antiphon.api.events import AnyEvent, PromptProgress, Started
from antiphon.api.reply import Reply, ToolBlock
from antiphon.observability import metrics
from antiphon.observability.metrics import GAPS
from antiphon.observability.prompt_reading import LONG, PromptReading

_LIMITS = ("max_tokens", "model_context_window_exceeded")


class ToolCall(NamedTuple):
    """A call of a tool that ran here."""

    tool: str
    code: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.tool}:{self.code or 'ok'}:{self.seconds:.2f}"


class Watch:
    """What one request used, and when. Times are seconds of `clock`, spans seconds, None where nothing happened.
    `key` is the label of the client's key, `model` the served model's name once it is known; `lost` tokens of the
    prompt before were computed again, and `loss` says why; `failure` is the kind of failure that ended a stream after
    its first byte. `stages` are the stages of the path with the times at which they were entered; one lasts until the
    next, the last until `ended`. A message with tools that run here takes several `rounds`: `prompt` and `cached` are
    the last one's, beside those of the earlier. `reading` is how far the engine is with the running one.
    `loaded` is how long the request waited for its model to be loaded. `message` is the id of the reply, `label` the
    client's word for the rollout that the request belongs to. It was `cut` while the engine read a prompt."""

    __slots__ = (
        "began",
        "cached",
        "cleared",
        "clock",
        "cut",
        "earlier_cached",
        "earlier_prompt",
        "ended",
        "failure",
        "fallbacks",
        "first",
        "gap_sum",
        "gaps",
        "key",
        "label",
        "last",
        "loaded",
        "loss",
        "lost",
        "message",
        "model",
        "output",
        "parse_failures",
        "prompt",
        "queued",
        "reading",
        "reason",
        "remembered",
        "reported",
        "request_id",
        "rounds",
        "stages",
        "tokenised",
        "told_at",
        "tools",
    )

    def __init__(self, request_id: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self.request_id = request_id
        self.clock = clock
        self.began = clock()
        self.ended = 0.0
        self.stages = [("decode", self.began)]
        self.label = self.message = ""
        self.key = self.model = self.reason = self.failure = self.loss = ""
        self.queued: float | None = None
        self.loaded = 0.0
        self.tokenised: float | None = None
        self.first: float | None = None
        self.last = 0.0
        self.gaps = [0] * (len(GAPS) + 1)
        self.gap_sum = 0.0
        self.prompt = self.cached = self.output = self.reported = 0
        self.told_at = self.began
        self.cleared: tuple[AppliedEdit, ...] = ()
        self.remembered = self.fallbacks = self.parse_failures = self.lost = 0
        self.rounds = self.earlier_prompt = self.earlier_cached = 0
        self.cut = False
        self.tools: list[ToolCall] = []
        self.reading = PromptReading()

    def begin_prompt(self, prompt: int) -> None:
        """The model is asked, with a prompt of so many tokens: for the reply, or for a further round of it."""
        self.earlier_prompt += self.prompt
        self.earlier_cached += self.cached
        self.prompt, self.cached = prompt, 0
        self.rounds += 1

    def called(self, tool: str, code: str, seconds: float) -> None:
        """A call of a tool that runs here is over: the tool's family, its error code (empty: none), the seconds."""
        self.tools.append(ToolCall(tool, code, seconds))

    def enter(self, stage: str) -> float:
        """The request goes on to its next stage; gives the seconds that the one before took."""
        now = self.clock()
        lasted = now - self.stages[-1][1]
        self.stages.append((stage, now))
        return lasted

    def end(self) -> float:
        """The request is over; gives the seconds that it took."""
        self.ended = self.clock()
        return self.ended - self.began

    def batch(self, events: list[AnyEvent]) -> float:
        """A batch of events passes; gives the time. The gap to the one before is counted once, however many tokens the
        engine's read brought. An empty one tells the client nothing."""
        now = self.clock()
        if not events:
            return now
        if self.last:
            gap = now - self.last
            self.gaps[bisect_left(GAPS, gap)] += 1
            self.gap_sum += gap
            self.last = now
        elif type(events[-1]) is not Started:
            self.first, self.last = now - self.began, now
        if self.reading.progress is not None and type(events[-1]) is not Started:
            self.reading.end(now)
        return now

    def prompt_read(self, progress: PromptProgress) -> float:
        """The engine is so far with the prompt; gives the time."""
        now = self.clock()
        self.reading.advance(progress, now, self)
        return now

    def written(self, now: float, tokens: int) -> None:
        """The running attempt has so many tokens by now. The metrics are told once a second, so that a long reply does
        not show only when it is over."""
        if now - self.told_at >= 1.0:
            self.told_at = now
            # Of several replies at once, another may have more.
            if (more := self.output + tokens - self.reported) > 0:
                metrics.written(self.model, self.key, more)
                self.reported += more

    def finished(self, reply: Reply) -> None:
        """A reply is whole. A call that breaks off without a limit's doing is one that the model got wrong."""
        self.reason = reply.reason
        if reply.reason not in _LIMITS:
            self.parse_failures += sum(isinstance(b, ToolBlock) and not b.complete for b in reply.blocks)

    def generated(self, cached: int, output: int) -> None:
        """An attempt is over, whole or not. Of a prompt whose reading was cut off no more counts than was read."""
        if (progress := self.reading.progress) is not None:
            self.cut, self.prompt, cached = True, progress.read, progress.cached
        self.reading.end(self.clock())
        self.cached = cached
        self.output += output

    def facts(self) -> dict[str, str | int | float]:
        """What the request's line in the log says of it; spans are seconds."""
        facts: dict[str, str | int | float] = {"key": self.key} if self.key else {}
        if not self.model:
            return facts
        prompt, cached = self.earlier_prompt + self.prompt, self.earlier_cached + self.cached
        facts |= {"in": prompt, "cached": cached, "out": self.output}
        if self.tools:
            facts |= {"rounds": self.rounds, "tools": " ".join(map(str, self.tools))}
        if self.lost:
            facts["lost"] = self.lost
        if self.reason:
            facts["stop"] = self.reason
        if self.first is not None:
            facts["ttft"] = self.first
        if self.queued is not None and self.queued >= 0.001:
            facts["queued"] = self.queued
        if self.loaded >= 0.001:
            facts["loaded"] = self.loaded
        if self.reading.seconds >= LONG:
            facts["prefill"] = self.reading.seconds
        return facts

    def server_timing(self) -> bytes:
        """The value of a `server-timing` header, in milliseconds."""
        spans = {"tokenise": self.tokenised, "queue": self.queued, "first": self.first}
        spans["total"] = self.clock() - self.began
        return ", ".join(f"{name};dur={1000 * span:.1f}" for name, span in spans.items() if span is not None).encode()


watched: ContextVar[Watch | None] = ContextVar("watched", default=None)
"""The watch of the request that the running task works for."""


def watch() -> Watch:
    """The watch of the present request; outside of any, one that nobody reads."""
    return watched.get() or Watch()
