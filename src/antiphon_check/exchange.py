"""One request and what came back, kept so that a failure can be seen again."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from typing import Any

_SHOWN = 4000
"""Characters of a body that a report shows."""
_BRIEF = 200
"""Bytes of a body that stand in a line."""


@dataclass
class Exchange:
    """`sent` is the body as it went out. `status` is 0 while nothing has come back, `body` what had come when the
    exchange ended, and `problem` why it ended early."""

    method: str
    url: str
    request_headers: dict[str, str]
    sent: bytes = b""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    problem: str = ""

    def json(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def complaint(self) -> str:
        """What the body says of an error, to be put behind its status: the message of the envelope, or else how the
        body begins."""
        value = self.json()
        error = value.get("error") if isinstance(value, dict) else None
        message = error.get("message") if isinstance(error, dict) else None
        complaint = message if isinstance(message, str) else self.body[:_BRIEF].decode("utf-8", "replace")
        return f": {complaint}" if complaint else ""

    def curl(self) -> str:
        """A command line that sends the request again. Keys are left out of it."""
        words = ["curl", "-sS", "-i", "-N", "-X", self.method, self.url]
        for name, value in self.request_headers.items():
            shown = {"x-api-key": "$API_KEY", "authorization": "Bearer $API_KEY"}.get(name, value)
            words += ["-H", f"{name}: {shown}"]
        line = " ".join(word if "$API_KEY" not in word else f'"{word}"' for word in map(_quoted, words))
        return line + (f" --data-binary {shlex.quote(self.sent.decode('utf-8', 'replace'))}" if self.sent else "")

    def reply(self) -> str:
        """Status and body, for people."""
        if self.problem:
            return f"{self.status or 'no answer'}: {self.problem}\n{_text(self.body)}".rstrip()
        return f"{self.status}\n{_text(self.body)}"


def _quoted(word: str) -> str:
    return word if "$API_KEY" in word else shlex.quote(word)


def _text(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
