"""Faults in what an SDK's `create` and `stream` need."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

from ..reference import KEY, Answer, Request, State
from ..rules import Refused
from .changes import (
    Events,
    Message,
    accepting,
    fault,
    in_each,
    in_events,
    in_messages,
    is_message,
    on,
    refusing,
    saying,
    without,
)

_REASONS = {"end_turn": "stop", "max_tokens": "length"}


def _renamed_reason(message: Message) -> None:
    if message["usage"]["output_tokens"] > 1:
        message["stop_reason"] = _REASONS.get(message["stop_reason"], message["stop_reason"])


def _two_of_a_role(request: Request) -> bool:
    turns = request.body.get("messages")
    roles = [turn.get("role") for turn in turns] if is_message(request) and isinstance(turns, list) else []
    return any(one == other for one, other in pairwise(roles))


def _one_at_a_time(request: Request, given: Answer, state: State) -> None:
    if is_message(request):
        if len(request.raw) < 130:
            time.sleep(0.05)
        if state.at_work > 1:
            raise Refused(500, "busy")


def _any_key(request: Request, given: Answer, state: State) -> None:
    request.headers["x-api-key"] = KEY


def _no_bearer(request: Request, given: Answer, state: State) -> None:
    request.headers.pop("authorization", None)


def _as_text(request: Request, given: Answer, state: State) -> None:
    if is_message(request) and given.value is not None:
        given.headers["content-type"] = "text/plain"


def _streams_as_text(request: Request, given: Answer, state: State) -> None:
    if given.events is not None:
        given.headers["content-type"] = "text/plain"


def _no_id(request: Request, given: Answer, state: State) -> None:
    given.headers.clear()


def _no_id_of_errors(request: Request, given: Answer, state: State) -> None:
    if given.status >= 400:
        given.headers.clear()


def _bare_errors(request: Request, given: Answer, state: State) -> None:
    if given.status == 400:
        given.value = {"detail": "Bad request"}


def _one_type_of_error(request: Request, given: Answer, state: State) -> None:
    if given.status >= 400:
        given.value["error"]["type"] = "error"


def _broken_json_crashes(request: Request, given: Answer, state: State) -> None:
    if request.raw and request.body is None and given.status == 400:
        given.status = 500


def _unknown_model(request: Request, given: Answer, state: State) -> None:
    if is_message(request) and given.status == 404:
        given.status = 400
        given.value["error"]["type"] = "invalid_request_error"


def _bare_paths(request: Request, given: Answer, state: State) -> None:
    if request.path.endswith("no-such-route"):
        given.value = "Not Found"


def _in_one_piece(events: Events) -> Events:
    pieces = [value["delta"]["text"] for _, value in events if value.get("delta", {}).get("type") == "text_delta"]
    found: Events = []
    for name, value in events:
        if value.get("delta", {}).get("type") != "text_delta":
            found.append((name, value))
        elif pieces:
            value["delta"]["text"] = "".join(pieces)
            found.append((name, value))
            pieces = []
    return found


def _errors_in_streams(request: Request, given: Answer, state: State) -> None:
    if isinstance(request.body, dict) and request.body.get("stream") and given.status == 400:
        given.status, given.events = 200, [("error", given.value)]


def _another_prompt(value: Message) -> None:
    value["usage"] = {**value["usage"], "input_tokens": 1, "cache_read_input_tokens": 0}


def _no_reason(value: Message) -> None:
    if value["delta"]["stop_reason"] == "max_tokens":
        value["delta"]["stop_reason"] = None


def _early_text(value: Message) -> None:
    if value["content_block"]["type"] == "text":
        value["content_block"]["text"] = "" if value["index"] else "{"


def _strange_delta(value: Message) -> None:
    if value["delta"]["type"] == "text_delta":
        value["delta"]["type"] = "content_delta"


def _counted_blocks(request: Request) -> Any:
    return isinstance(request.body.get("system"), list) and len(request.raw) < 1000


REPLIES = (
    fault("no id", "basic.message_fields", "basic.message_ids", after=in_messages(without("id"))),
    fault("the role of a user", "basic.message_fields", after=in_messages(saying(role="user"))),
    fault("one id for all", "basic.message_ids", after=in_messages(saying(id="msg_same"))),
    fault(
        "blocks without type",
        "basic.content_blocks",
        after=in_messages(
            lambda message: message.update(content=[{**block, "type": None} for block in message["content"]]),
            lambda request: request.body.get("max_tokens") == 24 and len(request.raw) < 130,
        ),
    ),
    fault("an unknown stop reason", "basic.stop_reason", after=in_messages(_renamed_reason)),
    fault(
        "a stop sequence that nobody asked for",
        "basic.stop_reason",
        after=in_messages(saying(stop_sequence="."), lambda request: "stop_sequences" not in request.body),
    ),
    fault(
        "the limit ignored",
        "basic.usage",
        after=in_messages(lambda message: message["usage"].update(output_tokens=500)),
    ),
    fault(
        "the limit hidden",
        "basic.max_tokens",
        after=in_messages(saying(stop_reason="end_turn"), lambda request: request.body["max_tokens"] == 1),
    ),
    fault(
        "stop sequences left in",
        "basic.stop_sequences",
        after=in_messages(
            saying(content=[{"type": "text", "text": "Hello there"}]),
            lambda request: request.body.get("stop_sequences"),
        ),
    ),
    fault(
        "blocks counted otherwise",
        "basic.content_forms",
        after=in_messages(lambda message: message["usage"].update(input_tokens=99), _counted_blocks),
    ),
    fault("two turns of a role refused", "basic.turns", before=refusing(_two_of_a_role)),
    fault("top_k refused", "basic.optional_fields", before=refusing(lambda request: "top_k" in request.body)),
    fault(
        "escapes counted",
        "basic.unicode",
        after=in_messages(
            lambda message: message["usage"].update(input_tokens=99), lambda request: b"\\u" in request.raw
        ),
    ),
    fault("replies as text", "basic.headers", after=_as_text),
    fault("no request id", "basic.headers", after=_no_id),
    fault("errors without a request id", "basic.headers", after=_no_id_of_errors),
    fault("one request at a time", "basic.at_once", before=_one_at_a_time),
)
ERRORS = (
    fault(
        "errors without an envelope",
        "agent.result_missing",
        "agent.too_long",
        "basic.error_envelope",
        "basic.error_required",
        "basic.error_type",
        after=_bare_errors,
    ),
    fault("every error is of one type", "basic.error_type", after=_one_type_of_error),
    fault("broken JSON is a 500", "basic.error_json", after=_broken_json_crashes),
    fault("max_tokens is optional", "basic.error_required", after=accepting("max_tokens: Field required")),
    fault("no messages are fine", "basic.error_empty", "agent.count_refused", after=accepting("at least one message")),
    fault("any role is fine", "basic.error_role", after=accepting("unknown role")),
    fault("types are not looked at", "basic.error_types", after=accepting("stop_sequences: should be a list")),
    fault("ranges are not looked at", "basic.error_ranges", after=accepting("top_p: out of range")),
    fault("an unknown model is a 400", "basic.error_model", after=_unknown_model),
    fault("unknown paths without an envelope", "basic.error_path", after=_bare_paths),
    fault("any key will do", "basic.error_key", before=_any_key),
    fault("no bearer tokens", "basic.bearer", before=_no_bearer),
)
MODELS = (
    fault(
        "models without pages",
        "basic.models_list",
        after=on("/v1/models", without("has_more", "first_id", "last_id")),
    ),
    fault(
        "models made in seconds",
        "basic.models_fields",
        after=on("/v1/models", lambda page: [model.update(created_at=1700000000) for model in page.get("data", ())]),
    ),
    fault("a model's id is another", "basic.model", after=on("/v1/models/", saying(id="another"))),
)
STREAMS = (
    fault("streams as text", "basic.stream_type", after=_streams_as_text),
    fault(
        "events without names",
        "basic.stream_names",
        "agent.pings",
        after=in_events(lambda events: [("", value) for _, value in events]),
    ),
    fault(
        "no message_stop",
        "basic.stream_order",
        "agent.assistant_request",
        after=in_events(lambda events: events[:-1]),
    ),
    fault(
        "no message_start",
        "basic.stream_order",
        "basic.stream_start",
        "agent.max_tokens_large",
        after=in_events(lambda events: events[1:]),
    ),
    fault(
        "blocks left open",
        "basic.stream_order",
        after=in_events(lambda events: [each for each in events if each[0] != "content_block_stop"]),
    ),
    fault(
        "indexes from one",
        "basic.stream_order",
        after=in_each("content_block_start", lambda value: value.update(index=value["index"] + 1)),
    ),
    fault(
        "deltas of another kind",
        "basic.stream_order",
        "basic.stream_text",
        "full.structured_stream",
        after=in_each("content_block_delta", _strange_delta),
    ),
    fault(
        "content missing at the start",
        "basic.stream_start",
        after=in_each("message_start", lambda value: value["message"].update(content=None)),
    ),
    fault(
        "text from the start",
        "basic.stream_text",
        "full.structured_stream",
        after=in_each("content_block_start", _early_text),
    ),
    fault("no stop reason in streams", "basic.stream_end", after=in_each("message_delta", _no_reason)),
    fault("another prompt in streams", "basic.stream_usage", after=in_each("message_delta", _another_prompt)),
    fault("all in one piece", "basic.stream_pieces", after=in_events(_in_one_piece)),
    fault("errors in streams", "basic.stream_refused", after=_errors_in_streams),
    fault(
        "pings of another type",
        "basic.stream_order",
        "basic.stream_names",
        "agent.pings",
        after=in_events(
            lambda events: [(name, {"type": "keepalive"} if name == "ping" else value) for name, value in events]
        ),
    ),
)
FAULTS = (*REPLIES, *ERRORS, *MODELS, *STREAMS)
