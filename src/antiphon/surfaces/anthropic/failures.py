"""The one table from kinds of failure to the API's status numbers and error types."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from antiphon.api import errors
from antiphon.surfaces.surface import Failures, Rendered


class Trouble(msgspec.Struct, omit_defaults=True):
    """What went wrong: its kind, and a sentence. `details.error_code` is a stable key for programs."""

    type: str
    message: str
    details: dict[str, Any] = {}


class Error(msgspec.Struct, kw_only=True):
    """The envelope of every failure."""

    type: Literal["error"] = "error"
    error: Trouble
    request_id: str


TABLE: dict[type[errors.Failure], tuple[int, str]] = {
    errors.BadRequest: (400, "invalid_request_error"),
    errors.TooLarge: (413, "request_too_large"),
    errors.Unauthenticated: (401, "authentication_error"),
    errors.Forbidden: (403, "permission_error"),
    errors.NotFound: (404, "not_found_error"),
    errors.MethodNotAllowed: (405, "invalid_request_error"),
    errors.RateLimited: (429, "rate_limit_error"),
    errors.BudgetSpent: (402, "billing_error"),
    errors.Overloaded: (529, "overloaded_error"),
    errors.TimedOut: (504, "timeout_error"),
    errors.Internal: (500, "api_error"),
    errors.Failure: (500, "api_error"),
}

STATUSES = tuple(sorted({status for status, _ in TABLE.values()}))
_DETERMINISTIC = {400, 401, 402, 403, 404, 405, 413}


def kind(failure: errors.Failure) -> tuple[int, str]:
    """Status and error type of a failure: those of its nearest class in the table."""
    for ancestor in type(failure).__mro__:
        if ancestor in TABLE:
            return TABLE[ancestor]
    raise TypeError(f"{type(failure).__name__} is no failure")


def body(failure: errors.Failure, request_id: str) -> bytes:
    """The error envelope, in replies and in streams."""
    details = {**({"error_code": failure.code} if failure.code else {}), **failure.details}
    trouble = Trouble(kind(failure)[1], failure.message, details)
    return msgspec.json.encode(Error(error=trouble, request_id=request_id))


def envelope(failure: errors.Failure, request_id: str) -> Rendered:
    """A failure as a whole response, with the headers that clients decide by whether to try again."""
    status = kind(failure)[0]
    headers: list[tuple[bytes, bytes]] = []
    if status in _DETERMINISTIC or isinstance(failure, errors.EngineLost):
        headers.append((b"x-should-retry", b"false"))
    elif status in (429, 529):
        headers.append((b"x-should-retry", b"true"))
    wait = failure.retry_after
    if wait is None and status in (429, 529):
        wait = 1.0
    if wait is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(wait))).encode()))
    return Rendered(status, body(failure, request_id), tuple(headers))


FAILURES = Failures(envelope=envelope, body=Error, statuses=STATUSES)
