"""What a message has beside what SDKs need."""

from __future__ import annotations

from antiphon_check.registry import API, check
from antiphon_check.server import Server
from antiphon_check.verdict import expect


@check(
    "full.null_fields",
    "A field without a value is `null`: it is not left out.",
    reason="Types of other languages have it as `| null`: `=== null` fails, and strict decoders refuse the message.",
    source=API + "messages",
)
def null_fields(server: Server) -> None:
    messages = [("the reply", server.message())]
    events = server.stream().events
    messages += [("`message_start`", event.value()["message"]) for event in events if event.type == "message_start"]
    for where, message in messages:
        for name in ("stop_reason", "stop_sequence"):
            expect(name in message, f"{where} has no `{name}`")
