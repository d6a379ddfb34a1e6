"""The one table from kinds of failure to the status numbers, types and codes of OpenAI's APIs."""

from __future__ import annotations

import math
import re
from functools import partial

import msgspec

from antiphon.api import errors
from antiphon.surfaces.surface import Failures, Rendered


class Trouble(msgspec.Struct):
    """What went wrong, and in which field."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(msgspec.Struct):
    """The envelope of every failure."""

    error: Trouble


TABLE: dict[type[errors.Failure], tuple[int, str, str | None]] = {
    errors.BadRequest: (400, "invalid_request_error", None),
    # Programs look for this very code to start shortening the conversation.
    errors.PromptTooLong: (400, "invalid_request_error", "context_length_exceeded"),
    errors.TooLarge: (413, "invalid_request_error", "request_too_large"),
    errors.Unauthenticated: (401, "invalid_request_error", "invalid_api_key"),
    errors.Forbidden: (403, "permission_error", None),
    errors.NotFound: (404, "invalid_request_error", "model_not_found"),
    errors.MethodNotAllowed: (405, "invalid_request_error", None),
    errors.RateLimited: (429, "rate_limit_error", "rate_limit_exceeded"),
    errors.BudgetSpent: (429, "insufficient_quota", "insufficient_quota"),
    errors.Overloaded: (503, "server_error", "overloaded"),
    errors.TimedOut: (504, "server_error", "timeout"),
    errors.Internal: (500, "server_error", None),
    errors.Failure: (500, "server_error", None),
}

STATUSES = tuple(sorted({status for status, _, _ in TABLE.values()}))
_TRY_AGAIN = {429, 503}
# Our sentences begin with the dotted path of the field they are about.
_PATH = re.compile(r"([a-z_]+(?:\.\w+)*): ")


def kind(failure: errors.Failure) -> tuple[int, str, str | None]:
    """Status, type and code of a failure: those of its nearest class in the table."""
    return next(TABLE[ancestor] for ancestor in type(failure).__mro__ if ancestor in TABLE)


def trouble(failure: errors.Failure, prompt: str) -> Trouble:
    """What is told of a failure. `prompt` is the field of the API that a prompt is sent in."""
    status, type, code = kind(failure)
    path = _PATH.match(failure.message) if status in (400, 404) else None
    param = prompt if isinstance(failure, errors.PromptTooLong) else path[1] if path else None
    return Trouble(failure.message, type, param, failure.code or code)


def body(failure: errors.Failure, prompt: str) -> bytes:
    """The error envelope, in replies and in streams."""
    return msgspec.json.encode(Error(trouble(failure, prompt)))


def for_prompt(prompt: str) -> Failures:
    """How an API tells failures that takes a prompt in the field `prompt`."""
    return Failures(envelope=partial(_envelope, prompt), body=Error, statuses=STATUSES)


def _envelope(prompt: str, failure: errors.Failure, request_id: str) -> Rendered:
    """A failure as a whole response, with the headers that clients decide by whether to try again."""
    status = kind(failure)[0]
    headers: list[tuple[bytes, bytes]] = []
    again = status in _TRY_AGAIN and not isinstance(failure, errors.BudgetSpent)
    if status < 500 or again or isinstance(failure, errors.EngineLost):
        headers.append((b"x-should-retry", b"true" if again else b"false"))
    wait = failure.retry_after
    if wait is None and again:
        wait = 1.0
    if wait is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(wait))).encode()))
    return Rendered(status, body(failure, prompt), tuple(headers))
