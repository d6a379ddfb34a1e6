"""The one table from kinds of failure to the chat completions API's status numbers, types and codes."""

from __future__ import annotations

import math
import re

import msgspec

from antiphon.api import errors
from antiphon.surfaces.chat_completions import sent
from antiphon.surfaces.surface import Rendered

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


def body(failure: errors.Failure) -> bytes:
    """The error envelope, in replies and in streams."""
    status, type, code = kind(failure)
    path = _PATH.match(failure.message) if status in (400, 404) else None
    param = "messages" if isinstance(failure, errors.PromptTooLong) else path[1] if path else None
    return msgspec.json.encode(sent.Error(sent.Trouble(failure.message, type, param, failure.code or code)))


def envelope(failure: errors.Failure, request_id: str) -> Rendered:
    """A failure as a whole response, with the headers that clients decide by whether to try again."""
    status = kind(failure)[0]
    headers: list[tuple[bytes, bytes]] = []
    if status < 500 or status in _TRY_AGAIN or isinstance(failure, errors.EngineLost):
        headers.append((b"x-should-retry", b"true" if status in _TRY_AGAIN else b"false"))
    wait = failure.retry_after
    if wait is None and status in _TRY_AGAIN:
        wait = 1.0
    if wait is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(wait))).encode()))
    return Rendered(status, body(failure), tuple(headers))
