"""Lines of the log: one for each request, as text for people or as one JSON object for programs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

_TEXT = "%(asctime)s %(levelname)s %(message)s"


def configure(level: str, form: Literal["text", "json"]) -> None:
    """Log to standard error, from this level on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def for_programs() -> bool:
    """Whether the log of this process is made of JSON objects."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers)


def write(log: logging.Logger, level: int, head: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """A request's line: `head` is its id, method, path, status and seconds, `facts` what else there is to say of it.
    Its `problem` is a sentence; numbers with a fraction are seconds."""
    if log.isEnabledFor(level):
        fields = [_spelt("", value) for value in head.values()]
        fields += [_spelt("" if name == "problem" else f"{name}=", value) for name, value in facts.items()]
        log.log(level, "%s", _in_line(" ".join(fields)), extra={"request": {**head, **facts}})


def _spelt(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"{name}{str(value).lower()}"
    return f"{name}{value:.3f}s" if isinstance(value, float) else f"{name}{value}"


def _in_line(text: str) -> str:
    """The text with its line breaks and other control characters spelt out. What a client sent (a path, a model's name,
    what is quoted in an error) must not look like a line of its own."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class JsonLines(logging.Formatter):
    """Each record as one line of JSON: time, level, and the request's facts or else the message."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": when, "level": record.levelname.lower()}
        line |= getattr(record, "request", None) or {"message": record.getMessage()}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()
