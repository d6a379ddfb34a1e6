"""Streamed replies."""

from __future__ import annotations

from antiphon_check.basic.messages import STOP_REASONS, prompt_tokens, text
from antiphon_check.event_order import misplaced
from antiphon_check.registry import API, SDK, check
from antiphon_check.server import Server
from antiphon_check.verdict import expect

_STREAMING = "https://docs.anthropic.com/en/docs/build-with-claude/streaming"


@check(
    "basic.stream_type",
    "A stream is `text/event-stream`.",
    reason="Proxies and browsers' event readers go by the type.",
    source=_STREAMING,
)
def stream_type(server: Server) -> None:
    found = server.stream().exchange.headers.get("content-type", "")
    expect(found.startswith("text/event-stream"), f"the type is {found!r}")


@check(
    "basic.stream_names",
    "Every event is named by the type of its data.",
    reason="The SDKs drop events whose name they do not know, and those without a name.",
    source=SDK + "_streaming.py",
)
def stream_names(server: Server) -> None:
    for event in server.stream().events:
        expect(event.name == event.type, f"an event is named {event.name!r}, and its data says {event.type!r}")


@check(
    "basic.stream_order",
    "Events come in order: message_start, blocks one after another, message_delta, message_stop.",
    reason="The SDKs' accumulators index blocks by what came before.",
    source=_STREAMING,
)
def stream_order(server: Server) -> None:
    wrong = misplaced(server.stream().events)
    expect(not wrong, wrong)


@check(
    "basic.stream_start",
    "`message_start` has the message with no content and no stop reason yet, and its usage.",
    reason="The SDKs take this object as the message, and add to it.",
    source=SDK + "types/raw_message_start_event.py",
)
def stream_start(server: Server) -> None:
    started = [event.value().get("message") for event in server.stream().events if event.type == "message_start"]
    message = started[0] if started and isinstance(started[0], dict) else {}
    expect(message.get("type") == "message" and message.get("role") == "assistant", "it has no message")
    expect(message.get("content") == [], f"its `content` is {message.get('content')!r}")
    expect(message.get("stop_reason") is None, f"its `stop_reason` is {message.get('stop_reason')!r}")
    used = message.get("usage")
    expect(isinstance(used, dict) and type(used.get("input_tokens")) is int, "it has no `usage.input_tokens`")


@check(
    "basic.stream_text",
    "Text comes in pieces: the blocks of a stream fold to text.",
    reason="`stream.text_stream` of the SDKs is made of text deltas.",
    source=SDK + "types/text_delta.py",
)
def stream_text(server: Server) -> None:
    stream = server.stream(max_tokens=32)
    begun = [event.value()["content_block"] for event in stream.events if event.type == "content_block_start"]
    early = [block for block in begun if block.get("type") == "text" and block.get("text") != ""]
    expect(not early, f"a text block begins with text, or with none at all: {early and early[0]!r}")
    said = text(stream.message)
    whole = text(server.message(max_tokens=32))
    expect(said or not whole, "the stream has no text, though a whole reply has")


@check(
    "basic.stream_end",
    "`message_delta` has the stop reason and the tokens of the whole reply.",
    reason="It is the only place of a stream that has them.",
    source=SDK + "types/raw_message_delta_event.py",
)
def stream_end(server: Server) -> None:
    deltas = [event.value() for event in server.stream(max_tokens=12).events if event.type == "message_delta"]
    delta = (deltas[-1].get("delta") if deltas else None) or {}
    expect(delta.get("stop_reason") in STOP_REASONS, f"its `stop_reason` is {delta.get('stop_reason')!r}")
    used = deltas[-1].get("usage") if deltas else None
    tokens = used.get("output_tokens") if isinstance(used, dict) else None
    expect(type(tokens) is int and 0 < tokens <= 12, f"its `usage.output_tokens` is {tokens!r}, of at most 12")


@check(
    "basic.stream_usage",
    "A stream counts the prompt as a whole reply does.",
    reason="Programs that switch streaming on must not see another context size.",
    source=SDK + "types/message_delta_usage.py",
)
def stream_usage(server: Server) -> None:
    streamed = prompt_tokens(server.stream().message.get("usage") or {})
    whole = prompt_tokens(server.message().get("usage") or {})
    expect(streamed == whole, f"the prompt has {streamed} tokens streamed, {whole} whole")


@check(
    "basic.stream_pieces",
    "A stream of some length comes in more than one piece of text.",
    reason="A reply that is sent in one go looks like a server that hangs.",
    source=_STREAMING,
)
def stream_pieces(server: Server) -> None:
    stream = server.stream(max_tokens=64, messages=[{"role": "user", "content": "Tell me a story about a lighthouse."}])
    tokens = int((stream.message.get("usage") or {}).get("output_tokens") or 0)
    pieces = sum(event.type == "content_block_delta" for event in stream.events)
    expect(tokens < 16 or pieces > 1, f"{tokens} tokens came in {pieces} piece(s)")


@check(
    "basic.stream_refused",
    "A bad request gets a status, also when it asks for a stream.",
    reason="The SDKs raise by the status, and retry by it; an error in a stream is neither.",
    source=API + "errors",
)
def stream_refused(server: Server) -> None:
    body = server.plain(stream=True, max_tokens="many")
    server.refused(server.request("POST", "/v1/messages", body), 400)
