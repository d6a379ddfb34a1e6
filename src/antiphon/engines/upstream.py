"""What went wrong with the server of an engine, in words: its address, what was asked, what came, and what to do.

Every failure of a server that is attached by URL is made here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.api.errors import BadRequest, EngineFailed, EngineLost, Failure, Overloaded, TimedOut

_RETRY_AFTER = 5.0
_LONGEST_PAUSE = 86_400.0
_LONGEST_REASON = 500
_SHOWN = 120


class Refused(BadRequest):
    """The server refused the request. `reason` is what it said, without what is said here."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Answered(EngineFailed):
    """The server answered with a `status` which says no more than that it failed."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Busy(Overloaded):
    """The server has no capacity now. It asks not to be asked again for `pause` seconds (0: it does not say)."""

    def __init__(self, message: str, pause: float) -> None:
        super().__init__(message, retry_after=pause or _RETRY_AFTER)
        self.pause = pause


class ReportedFailure(Exception):
    """A server tells of a failure within a stream: `error` is whatever it says."""

    def __init__(self, error: Any) -> None:
        super().__init__(error)
        self.error = error


class Upstream(msgspec.Struct, frozen=True):
    """The server: what it is called (`vLLM server`), its address without secrets, and whether it is a child of ours."""

    name: str
    address: str
    own: bool = False

    def answered(self, question: str, status: int, body: bytes, retry_after: str = "") -> Failure:
        """An answer to a `question` (`GET /v1/models`) whose status is not good, with its header of that name
        (seconds, no more than a day of them; a date is not understood)."""
        reason = message(body)
        pause = min(float(retry_after), _LONGEST_PAUSE) if retry_after.isdecimal() else 0.0
        if meant := self._meant(question, status, reason, pause):
            return meant
        return Answered(f"{self} answered {question} with {status}: {reason}; {self._remedy(status)}", status)

    def failure_of(self, question: str, error: Any) -> Failure:
        """An error told within a stream means what the status means that it tells with it."""
        status = error.get("code", error.get("status_code")) if isinstance(error, dict) else None
        reason = message(error)
        return self._meant(question, status, reason) or EngineFailed(
            f"{self} broke off its answer to {question}: {reason}; {self._see_log}"
        )

    def unreadable(self, question: str, body: bytes, trouble: Exception | None = None) -> EngineFailed:
        """An answer that is not what such a server says."""
        came, text = "something else than events", body.strip()
        if not text:
            return EngineFailed(f"{self} answered {question} with nothing; {self._check}")
        if text.startswith(b"<"):
            came = "an HTML page"
        elif isinstance(trouble, msgspec.ValidationError):
            came = f"JSON of another shape ({trouble})"
        elif trouble is not None:
            came = "something else than JSON"
        shown = text[:_SHOWN].decode(errors="replace")
        return EngineFailed(f"{self} answered {question} with {came}: {shown!r}; {self._check}")

    def absent(self, question: str, error: BaseException) -> Overloaded:
        """It cannot be reached, or hung up on a question."""
        reason = str(error) or type(error).__name__
        remedy = "it is being started again" if self.own else "see that it runs, and that the address is right"
        return Overloaded(f"{self} does not answer {question}: {reason}; {remedy}", retry_after=_RETRY_AFTER)

    def silent(self, question: str, seconds: float) -> TimedOut:
        """It took the request and said no more."""
        return TimedOut(
            f"{self} sent nothing for {seconds:g} seconds in answer to {question}; "
            "if its work takes longer, raise --engine-timeout"
        )

    def lost(self, question: str, cause: str) -> EngineLost:
        """It hung up before it answered a generation, and may have been ended by that."""
        when = "before it answered; the request is not sent again"
        return EngineLost(f"{self} broke off {question} {when}{_because(cause)}")

    def broke_off(self, question: str, when: str, cause: str = "") -> EngineFailed:
        """It hung up in the middle."""
        return EngineFailed(f"{self} broke off {question} {when}{_because(cause) or f'; {self._see_log}'}")

    def _meant(self, question: str, status: Any, reason: str, pause: float = 0.0) -> Failure | None:
        """What a status says of the request or of the server's load; None where it only says that it failed."""
        if status in (429, 503, 529):
            return Busy(f"{self} is not ready ({status} to {question}): {reason}; try again later", pause)
        if status == 504:
            return TimedOut(f"{self} did not answer {question} in time ({status}): {reason}; try again later")
        if status in (400, 413, 422):
            return Refused(f"{self} refused {question} ({status}): {reason}", reason)
        return None

    def _remedy(self, status: int) -> str:
        if status in (401, 403):
            return "give its key with --engine-key"
        return self._see_log if status >= 500 else self._check

    @property
    def _see_log(self) -> str:
        return "its log says more"

    @property
    def _check(self) -> str:
        return self._see_log if self.own else f"check that this is the address of a {self.name}, its path included"

    def __str__(self) -> str:
        return f"the {self.name} at {self.address}"


def _because(cause: str) -> str:
    return f": {cause}" if cause else ""


def message(body: bytes | Any) -> str:
    """The sentence in a server's error, whichever of the shapes in use it has."""
    reason = body
    if isinstance(body, bytes):
        try:
            reason = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = " ".join(body[:_LONGEST_REASON].decode(errors="replace").split())
            reason = "an HTML page" if text.startswith("<") else text
    while isinstance(reason, dict) and (inner := next((reason[key] for key in _NESTED if reason.get(key)), None)):
        reason = inner
    return (reason if isinstance(reason, str) else str(reason))[:_LONGEST_REASON] or "it says no more"


# `{"error": {"message"}}` (llama.cpp, vLLM, SGLang), `{"message"}` (LMDeploy, older SGLang), `{"detail"}` (FastAPI).
_NESTED = ("error", "message", "detail")
