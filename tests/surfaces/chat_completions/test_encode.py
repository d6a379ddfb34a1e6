"""Whatever the events: the stream of chunks is legal, and the SDK makes of it the completion sent unstreamed."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from antiphon.api.errors import Internal
from antiphon.api.events import (
    AnyEvent,
    Finished,
    Started,
    StopReason,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolEnd,
    ToolStart,
    Usage,
)
from antiphon.api.reply import fold
from antiphon.surfaces.chat_completions import encode, reply
from tests.surfaces.chat_completions.chunks import chunks
from tests.surfaces.messages.test_encode import batches

USAGE = Usage(prompt=9, cached=4, output=5, thinking=2)


def style(**given: Any) -> reply.Style:
    return reply.Style(id="chatcmpl-1", created=1, model="m", **given)


def streamed(pieces: list[list[AnyEvent]], how: reply.Style) -> bytes:
    encoder = encode.Encoder(how)
    raw = b"".join(encoder.batch(piece) for piece in pieces)
    assert encoder.finished
    return raw


def whole(pieces: list[list[AnyEvent]], how: reply.Style) -> dict[str, Any]:
    completion: dict[str, Any] = json.loads(reply.whole(how, fold(event for piece in pieces for event in piece)))
    return completion


def accumulated(raw: bytes) -> dict[str, Any]:
    """What the official SDK makes of a stream, in the form of an unstreamed reply."""
    state: Any = ChatCompletionStreamState()
    for chunk in chunks(raw):
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    completion: dict[str, Any] = state.current_completion_snapshot.to_dict(mode="json")
    message = completion["choices"][0]["message"]
    for call in message.get("tool_calls") or ():
        call.pop("index")
        call["function"].pop("parsed_arguments", None)
    message.pop("parsed", None)
    return completion


def same_form(completion: dict[str, Any]) -> dict[str, Any]:
    """Members that are null where there is nothing to say are as good as absent; so is an empty text."""
    (choice,) = completion["choices"]
    kept = {key: value for key, value in choice["message"].items() if value not in (None, "")}
    plain = {key: completion[key] for key in ("id", "created", "model", "usage")}
    return {**plain, "message": kept, "finish_reason": choice["finish_reason"]}


@given(batches())
@settings(max_examples=150, deadline=None)
def test_the_sdk_makes_the_unstreamed_reply_of_every_stream(pieces: list[list[AnyEvent]]) -> None:
    """Fold law at this surface: the stream, accumulated by the official SDK, equals the whole reply."""
    told = accumulated(streamed(pieces, style(usage=True)))
    assert same_form(told) == same_form(whole(pieces, style()))


@given(batches())
@settings(max_examples=50, deadline=None)
def test_every_whole_reply_is_of_the_sdks_form(pieces: list[list[AnyEvent]]) -> None:
    """The SDK's own model takes it, and every call's arguments are a JSON object."""
    completion = ChatCompletion.model_validate(whole(pieces, style()), strict=True)
    for call in completion.choices[0].message.tool_calls or ():
        assert call.type == "function"
        assert isinstance(json.loads(call.function.arguments), dict)


def test_a_call_is_streamed_as_name_then_arguments() -> None:
    """The first chunk of a call has its index, id, type and name; the others only index and fragment."""
    events: list[AnyEvent] = [
        Started(USAGE),
        ToolStart("toolu_1", "look"),
        ToolDelta('{"where": '),
        ToolDelta('"hére"}'),
        ToolEnd(),
        ToolStart("toolu_2", "wait"),
        ToolEnd(),
        Finished("tool_use", USAGE),
    ]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(streamed([events], style()))]
    assert deltas == [
        {"role": "assistant", "content": ""},
        {
            "tool_calls": [
                {"index": 0, "id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"where": "hére"}'}}]},
        {
            "tool_calls": [
                {"index": 1, "id": "toolu_2", "type": "function", "function": {"name": "wait", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]


def test_usage_comes_last_and_only_when_asked_for() -> None:
    """With include_usage every chunk has the member, null but in the last one, which has no choices."""
    events: list[AnyEvent] = [Started(USAGE), TextDelta("a"), Finished("end_turn", USAGE)]
    asked = chunks(streamed([events], style(usage=True)))
    assert [chunk["usage"] for chunk in asked[:-1]] == [None, None, None]
    assert asked[-1]["choices"] == []
    assert asked[-1]["usage"] == {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert not any("usage" in chunk for chunk in chunks(streamed([events], style())))


@pytest.mark.parametrize("reason", get_args(StopReason))
def test_every_reason_has_a_word(reason: StopReason) -> None:
    """Whatever ends a turn, the SDK knows the word for it, streamed or not."""
    pieces: list[list[AnyEvent]] = [[Started(USAGE), TextDelta("a"), Finished(reason, USAGE)]]
    completion = ChatCompletion.model_validate(whole(pieces, style()), strict=True)
    assert completion.choices[0].finish_reason == chunks(streamed(pieces, style()))[-1]["choices"][0]["finish_reason"]
    assert (completion.choices[0].finish_reason == "tool_calls") == (reason == "tool_use")


def test_functions_are_answered_in_the_older_form() -> None:
    """`function_call` instead of `tool_calls`, with its own finish reason; it has room for one call."""
    events: list[AnyEvent] = [
        Started(USAGE),
        ToolStart("toolu_1", "look"),
        ToolDelta('{"a": 1}'),
        ToolEnd(),
        ToolStart("toolu_2", "wait"),
        ToolDelta("{}"),
        ToolEnd(),
        Finished("tool_use", USAGE),
    ]
    told = accumulated(streamed([[event] for event in events], style(legacy=True)))
    message = whole([events], style(legacy=True))["choices"][0]
    for choice in (told["choices"][0], message):
        assert choice["message"]["function_call"] == {"name": "look", "arguments": '{"a": 1}'}
        assert choice["message"].get("tool_calls") is None
        assert choice["finish_reason"] == "function_call"


@pytest.mark.parametrize(
    "events",
    [
        [TextDelta("a")],
        [ToolStart("a", "b")],
        [Started(USAGE), ToolDelta("{}")],
        [Started(USAGE), Finished("end_turn", USAGE), TextDelta("a")],
        [Started(USAGE), Finished("end_turn", USAGE), Finished("end_turn", USAGE)],
    ],
)
def test_events_out_of_order_are_refused(events: list[AnyEvent]) -> None:
    """Rather a failure of ours than a stream that means nothing."""
    with pytest.raises(Internal):
        encode.Encoder(style()).batch(events)


def test_thinking_has_its_own_place() -> None:
    """Neither mixed into the content nor lost."""
    events: list[AnyEvent] = [Started(USAGE), ThinkingDelta("Hm."), TextDelta("a"), Finished("end_turn", USAGE)]
    message = whole([events], style())["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("Hm.", "a")


@pytest.mark.parametrize(("explanation", "reason"), [("I will not.", "stop"), (None, "content_filter")])
def test_a_refusal_has_a_place_of_its_own(explanation: str | None, reason: str) -> None:
    """In words it is no content; without words, the reason alone tells of it."""
    pieces: list[list[AnyEvent]] = [[Started(USAGE), Finished("refusal", USAGE, explanation=explanation)]]
    (choice,) = whole(pieces, style())["choices"]
    assert (choice["message"]["refusal"], choice["finish_reason"]) == (explanation, reason)
    assert not choice["message"]["content"]
