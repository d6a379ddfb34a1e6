"""The error tree: a kind and a sentence, never a status number.

Whoever raises says what went wrong in words a user can act on. Each surface has one table from these
classes to its own status numbers and wire names.

    Failure
    ├── BadRequest            the request itself cannot be served
    │   ├── PromptTooLong     the prompt does not fit the model's window
    │   └── TooLarge          the body is over the size limit
    ├── Unauthenticated       no key, or a wrong one
    ├── Forbidden             the key is right, the thing is not allowed
    ├── NotFound              no such path, model or resource
    ├── MethodNotAllowed      the path exists, the method does not
    ├── RateLimited           this key's allowance is used up
    ├── BudgetSpent           so is its budget, until the month is over
    ├── Overloaded            no capacity now; trying again later makes sense
    ├── TimedOut              the engine did not answer in time
    └── Internal              our fault, or the engine's
        ├── EngineFailed      the engine died, refused or broke off
        │   └── EngineLost    it ended with the request, before it had answered at all
        └── NotKept           the disk did not take what was to be kept
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Failure(Exception):
    """Base of every failure that a client is told about.

    `message` is shown to the client as it is. `code` is a stable key for programs (the API's
    `error.details.error_code`); `details` are further members beside it. `retry_after` is in seconds.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.details = dict(details or {})
        self.retry_after = retry_after


class BadRequest(Failure):
    """The request itself cannot be served; sending it again will not help."""


class PromptTooLong(BadRequest):
    """The prompt does not fit the window. Clients match these very words to start compacting."""

    def __init__(self, tokens: int, maximum: int) -> None:
        super().__init__(f"prompt is too long: {tokens} tokens > {maximum} maximum")
        self.tokens = tokens
        self.maximum = maximum


class TooLarge(BadRequest):
    """The body is over the size limit."""


class Unauthenticated(Failure):
    """No key was sent, or a wrong one."""


class Forbidden(Failure):
    """The key is right, but this is not allowed."""


class NotFound(Failure):
    """There is no such path, model or resource."""


class MethodNotAllowed(Failure):
    """The path exists, but not with this method."""


class RateLimited(Failure):
    """The allowance of this key is used up for now."""


class BudgetSpent(Failure):
    """The budget of this key is used up until the month is over; sending it again will not help before."""


class Overloaded(Failure):
    """There is no capacity now; trying again later makes sense."""


class TimedOut(Failure):
    """The engine did not answer in time."""


class Internal(Failure):
    """Something broke on the server's side."""


class EngineFailed(Internal):
    """The engine died, refused the request or broke off in the middle."""


class EngineLost(EngineFailed):
    """The engine was gone before it had answered at all. The request may be what ended it, so nobody sends it again."""


class NotKept(Internal):
    """What was to be kept could not be written, or what was kept not read: the disk is full, read-only or broken."""
