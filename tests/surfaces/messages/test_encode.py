"""Whatever the events: the stream is legal, and the SDK makes of it the very message that is sent unstreamed."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.api.errors import Internal
from antiphon.api.events import (
    AnyEvent,
    Finished,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolEnd,
    ToolStart,
    Usage,
)
from antiphon.api.reply import Fold
from antiphon.api.seal import Seal
from antiphon.surfaces.messages import encode, message
from tests.surfaces import order

SEAL = Seal(b"k")
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


def style(**given: Any) -> message.Style:
    return message.Style(id="msg_1", model="m", seal=SEAL, **given)


@st.composite
def call(draw: st.DrawFn) -> list[AnyEvent]:
    value = draw(st.dictionaries(TEXT, st.one_of(TEXT, st.integers(-9, 9), st.none()), max_size=3))
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    if not value and draw(st.booleans()):
        pieces = []
    number = draw(st.integers(0, 10**9))
    return [ToolStart(f"toolu_{number}", "tool"), *map(ToolDelta, pieces), ToolEnd(draw(st.booleans()))]


RUN = st.one_of(TEXT.map(lambda t: [TextDelta(t)]), TEXT.map(lambda t: [ThinkingDelta(t)]), call())
RUNS = st.lists(RUN, max_size=8)


@st.composite
def batches(draw: st.DrawFn, runs: st.SearchStrategy[list[list[AnyEvent]]] = RUNS) -> list[list[AnyEvent]]:
    """A legal run of events, cut into batches anywhere."""
    prompt = draw(st.integers(1, 10**6))
    cached = draw(st.integers(0, prompt))
    usage = Usage(prompt=prompt, cached=cached, output=draw(st.integers(0, 9)))
    events: list[AnyEvent] = [Started(Usage(prompt=prompt, cached=cached))]
    for run in draw(runs):
        events += run
    reason = draw(st.sampled_from(["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"]))
    explanation = draw(st.sampled_from(["I will not.", None])) if reason == "refusal" else None
    events.append(Finished(reason, usage, "x" if reason == "stop_sequence" else None, explanation))
    cuts = sorted({0, len(events), *draw(st.lists(st.integers(1, len(events)), max_size=6))})
    return [events[a:b] for a, b in pairwise(cuts)]


def streamed(pieces: list[list[AnyEvent]], how: message.Style) -> bytes:
    encoder = encode.Encoder(how)
    return b"".join(encoder.batch(piece) for piece in pieces)


def whole(pieces: list[list[AnyEvent]], how: message.Style) -> dict[str, Any]:
    folding = Fold()
    for piece in pieces:
        for event in piece:
            folding.add(event)
    found: dict[str, Any] = json.loads(message.whole(how, folding.reply()))
    return found


def accumulated(raw: bytes) -> dict[str, Any]:
    """What the official SDK makes of a stream."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in order.frames(raw):
        if event["type"] != "ping":
            snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    message: dict[str, Any] = snapshot.to_dict(mode="json")
    for block in message["content"]:
        block.pop("__json_buf", None)
    return message


@given(batches(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_sdk_makes_the_unstreamed_reply_of_every_stream(pieces: list[list[AnyEvent]], withheld: bool) -> None:
    """Fold law at the surface: stream, accumulated by the official SDK, equals the whole reply."""
    how = style(withheld=withheld)
    assert accumulated(streamed(pieces, how)) == whole(pieces, how)


@given(batches(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_every_stream_is_legal(pieces: list[list[AnyEvent]], withheld: bool) -> None:
    """Order law, by a table that does not know the encoder."""
    assert order.check(order.frames(streamed(pieces, style(withheld=withheld)))) == "message_stop"


@given(batches())
@settings(max_examples=50, deadline=None)
def test_cutting_into_batches_changes_no_text(pieces: list[list[AnyEvent]]) -> None:
    """However events arrive together, the client ends up with the same message."""
    one = [[event for piece in pieces for event in piece]]
    each = [[event] for piece in pieces for event in piece]
    assert accumulated(streamed(one, style())) == accumulated(streamed(each, style()))


@pytest.mark.parametrize("explanation", ["I will not.", None])
def test_a_refusal_has_details(explanation: str | None) -> None:
    """And no other reason has any."""
    usage = Usage(prompt=1)
    refused = whole([[Started(usage), Finished("refusal", usage, explanation=explanation)]], style())
    assert (refused["stop_reason"], refused["content"]) == ("refusal", [])
    assert refused["stop_details"] == {"type": "refusal", "category": None, "explanation": explanation}
    assert whole([[Started(usage), Finished("end_turn", usage)]], style())["stop_details"] is None


ANY_EVENT = st.one_of(
    TEXT.map(TextDelta),
    TEXT.map(ThinkingDelta),
    TEXT.map(ToolDelta),
    st.just(ToolStart("toolu_1", "t")),
    st.just(ToolEnd()),
    st.just(Started(Usage(prompt=1))),
    st.just(Finished("end_turn", Usage(prompt=1))),
)


@given(st.lists(st.lists(ANY_EVENT, max_size=4), max_size=6))
@settings(max_examples=150, deadline=None)
def test_illegal_events_never_make_an_illegal_stream(pieces: list[list[AnyEvent]]) -> None:
    """Events in any order at all: the encoder refuses rather than send what the protocol forbids."""
    encoder = encode.Encoder(style())
    raw = b""
    for piece in pieces:
        if encoder.finished:
            break
        try:
            raw += encoder.batch(piece)
        except Internal:
            break
    events = order.frames(raw)
    if not encoder.finished:
        events.append({"type": "error"})
    order.check(events)


def test_deltas_of_one_batch_become_one() -> None:
    """Coalescing: one read from the engine is at most one delta per block."""
    pieces: list[list[AnyEvent]] = [
        [Started(Usage(prompt=1)), TextDelta("a"), TextDelta("b"), TextDelta("c")],
        [ThinkingDelta("d"), ThinkingDelta("e"), Finished("end_turn", Usage(prompt=1))],
    ]
    deltas = [e["delta"] for e in order.frames(streamed(pieces, style())) if e["type"] == "content_block_delta"]
    assert [delta["type"] for delta in deltas] == ["text_delta", "thinking_delta", "signature_delta"]
    assert deltas[0]["text"] == "abc"


def test_a_tool_call_is_streamed_byte_for_byte() -> None:
    """Byte law: what the model wrote arrives as it is, and the block starts with an empty input and its caller."""
    pieces: list[list[AnyEvent]] = [
        [Started(Usage(prompt=1)), ToolStart("toolu_1", "f"), ToolDelta('{"b" :1,'), ToolDelta(' "ä":"\\u00e4"}')],
        [ToolEnd(), Finished("tool_use", Usage(prompt=1))],
    ]
    events = order.frames(streamed(pieces, style(members={"f": ("member", "computer")})))
    start = next(e for e in events if e["type"] == "content_block_start")["content_block"]
    assert start == {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "member",
        "input": {},
        "caller": {"type": "direct"},
        "toolset_name": "computer",
    }
    fragments = [e["delta"]["partial_json"] for e in events if e["type"] == "content_block_delta"]
    assert "".join(fragments) == '{"b" :1, "ä":"\\u00e4"}'
    folding = Fold()
    for event in pieces[0] + pieces[1]:
        folding.add(event)
    assert '"input":{"b" :1, "ä":"\\u00e4"}' in message.whole(style(), folding.reply()).decode()


def test_withheld_thinking_shows_nothing_and_comes_back() -> None:
    """With display omitted a block has no text; its signature alone restores it."""
    pieces: list[list[AnyEvent]] = [
        [Started(Usage(prompt=1)), ThinkingDelta("secret")],
        [ThinkingDelta(" plan"), TextDelta("x"), Finished("end_turn", Usage(prompt=1))],
    ]
    raw = streamed(pieces, style(withheld=True))
    assert b"secret" not in raw
    block = accumulated(raw)["content"][0]
    assert block["thinking"] == ""
    assert SEAL.open("", block["signature"]) == "secret plan"


def test_lone_surrogates_do_not_break_a_stream() -> None:
    """Half a surrogate pair cannot be sent; it becomes a replacement character instead of an error."""
    raw = streamed([[Started(Usage(prompt=1)), TextDelta("a\ud800b"), Finished("end_turn", Usage(prompt=1))]], style())
    assert accumulated(raw)["content"][0]["text"] == "a\ufffdb"


def test_a_message_cannot_start_twice() -> None:
    """The table has no way back to the beginning."""
    encoder = encode.Encoder(style())
    encoder.start(Usage(prompt=1))
    with pytest.raises(Internal):
        encoder.start(Usage(prompt=1))
