"""Structured outputs."""

from __future__ import annotations

import json
from typing import Any

from antiphon_check.basic.messages import text
from antiphon_check.registry import API, GUIDE, check
from antiphon_check.schemas import mismatch
from antiphon_check.server import Server
from antiphon_check.verdict import Failed, Unjudged, expect

_GUIDE = GUIDE + "structured-outputs"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "mood": {"type": "string", "enum": ["good", "bad"]},
        "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
        "done": {"type": "boolean"},
    },
    "required": ["mood", "done"],
    "additionalProperties": False,
}
FORMAT = {"format": {"type": "json_schema", "schema": SCHEMA}}
ASKED = [{"role": "user", "content": "Describe your day."}]


def _matches(message: dict[str, Any]) -> None:
    said = text(message)
    # Prose is not JSON, wherever it was cut.
    if message.get("stop_reason") == "max_tokens" and said.strip()[:1] in ("", "{"):
        raise Unjudged("the model did not end its output within max_tokens")
    try:
        value = json.loads(said)
    except ValueError:
        raise Failed(f"the text is not JSON: {said!r}") from None
    wrong = mismatch(value, SCHEMA)
    expect(not wrong, wrong)


@check(
    "full.structured",
    "With `output_config.format` the text is JSON that matches the schema.",
    reason="`messages.parse` of the SDKs raises otherwise.",
    source=_GUIDE,
)
def structured(server: Server) -> None:
    _matches(server.message(max_tokens=300, output_config=FORMAT, messages=ASKED))


@check(
    "full.structured_stream",
    "The same holds when it is streamed.",
    reason="The SDKs parse what the text deltas join to.",
    source=_GUIDE,
)
def structured_stream(server: Server) -> None:
    _matches(server.stream(max_tokens=300, output_config=FORMAT, messages=ASKED).message)


@check(
    "full.structured_refused",
    "An invalid schema is a 400.",
    reason="A program learns of its mistake before it pays for an output.",
    source=API + "messages",
)
def structured_refused(server: Server) -> None:
    config = {"format": {"type": "json_schema", "schema": {"type": "wizard"}}}
    server.refused(server.request("POST", "/v1/messages", server.plain(output_config=config)), 400)
