"""Whatever the events: the stream of a response is legal, and ends in the response that is sent unstreamed."""

from __future__ import annotations

import json
from itertools import count, pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from antiphon.api.conversation import Text, ToolUse
from antiphon.api.errors import EngineFailed, Internal, PromptTooLong
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
from antiphon.api.reply import fold
from antiphon.api.seal import Seal
from antiphon.server_tools.registry import ServerTools
from antiphon.surfaces.openai.free_text import TextReader
from antiphon.surfaces.responses import encode, items
from antiphon.surfaces.responses.reply import Style
from antiphon.surfaces.responses.reply import whole as fold_whole
from antiphon.surfaces.responses.request import decode
from antiphon.surfaces.responses.tools import client_tools
from antiphon.surfaces.responses.tools.shapes import Custom, Function
from tests.surfaces.messages.test_encode import batches
from tests.surfaces.response_order import check, frames
from tests.surfaces.scripted_service import CARD

USAGE = Usage(prompt=9, cached=4, output=5, thinking=2)
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
SHAPES = {"patch": Custom("patch"), "spawn": Function("spawn", "agents"), "shell": client_tools.SHELL}


def style(**given: Any) -> Style:
    numbers = count()
    draft = decode.read(b'{"model": "m", "input": "Hi"}', ServerTools())
    return Style(
        id="resp_1",
        created=1,
        clock=lambda: 2.0,
        echo=decode.echo(draft),
        items=items.Style(new_id=lambda prefix: f"{prefix}{next(numbers)}", seal=Seal(b"k"), shapes=SHAPES, **given),
    )


def streamed(pieces: list[list[AnyEvent]], **given: Any) -> list[dict[str, Any]]:
    encoder = encode.Encoder(style(**given))
    raw = b"".join(encoder.batch(piece) for piece in pieces)
    assert encoder.finished
    return frames(raw)


def whole(pieces: list[list[AnyEvent]], **given: Any) -> dict[str, Any]:
    reply = fold(event for piece in pieces for event in piece)
    response: dict[str, Any] = json.loads(msgspec.json.encode(fold_whole(style(**given), reply)))
    return response


@given(batches(), st.booleans(), st.booleans())
@settings(max_examples=200)
def test_streams(pieces: list[list[AnyEvent]], summary: bool, sealed: bool) -> None:
    """The stream follows the table, and its last event has the whole response; the SDK's types take both."""
    how = {"summary": summary, "sealed": sealed}
    events = streamed(pieces, **how)
    response = check(events)
    assert response == whole(pieces, **how)
    Response.model_validate(response, strict=True)
    for event in events:
        EVENT.validate_python(event)


def called(name: str, *fragments: str, end: str = "tool_use", complete: bool = True) -> list[list[AnyEvent]]:
    """A reply that is one call."""
    input = [[ToolDelta(fragment)] for fragment in fragments]
    ended: AnyEvent = Finished(end, USAGE)  # type: ignore[arg-type]
    return [[Started(USAGE), ToolStart("toolu_1", name)], *input, [ToolEnd(complete)], [ended]]


@given(st.text(), st.lists(st.integers(0, 400), max_size=8), st.booleans())
def test_free_text_comes_as_it_is_written(text: str, cuts: list[int], ascii: bool) -> None:
    """However the JSON around it is cut and spaced: the deltas of a custom tool's input are its text."""
    written = f' {{ "input" :{json.dumps(text, ensure_ascii=ascii)} }}'
    places = [0, *sorted(min(cut, len(written)) for cut in cuts), len(written)]
    fragments = [written[a:b] for a, b in pairwise(places)]
    events = streamed(called("patch", *fragments))
    (item,) = check(events)["output"]
    assert (item["type"], item["name"], item["call_id"]) == ("custom_tool_call", "patch", "toolu_1")
    assert item["input"] == text
    reader = TextReader()
    assert "".join(map(reader.feed, fragments)) == text


@pytest.mark.parametrize("written", ['{"other": 1}', '{"input": 1}', "{}", '{"input": "a", "more": 1}'])
def test_what_is_no_free_text(written: str) -> None:
    """Where a model did not give the one text, its JSON stands for it."""
    item = whole(called("patch", written))["output"][0]
    assert item["input"] == written


def test_a_namespace_is_told_beside_the_name() -> None:
    """The client finds its function again."""
    (item,) = check(streamed(called("spawn", "{}")))["output"]
    assert (item["name"], item["namespace"], item["arguments"]) == ("spawn", "agents", "{}")


def test_a_shell_call_has_an_item_of_its_own() -> None:
    """When it is known; its commands are told one by one."""
    events = streamed(called("shell", '{"commands": ', '["ls", "cd"]}'))
    (item,) = check(events)["output"]
    assert item["type"] == "shell_call"
    assert item["action"] == {"commands": ["ls", "cd"], "timeout_ms": None, "max_output_length": None}
    assert events[2]["item"]["action"]["commands"] == []
    assert [event["delta"] for event in events if event["type"].endswith(".delta")] == ["ls", "cd"]


def test_a_cut_call_is_still_of_its_type() -> None:
    """Whatever of its input there is."""
    declared = [{"type": kind} for kind in ("shell", "local_shell", "apply_patch", "computer")]
    declared.append({"type": "tool_search", "execution": "client"})
    box = decode.read(json.dumps({"model": "m", "tools": declared}).encode(), ServerTools()).box
    for name in box.shapes:
        how = style()
        encoder = encode.Encoder(
            msgspec.structs.replace(how, items=msgspec.structs.replace(how.items, shapes=box.shapes))
        )
        pieces = called(name, "{}" if name != "computer" else '{"type":"wait"}', end="max_tokens", complete=False)
        (item,) = check(frames(b"".join(map(encoder.batch, pieces))))["output"]
        assert item["status"] in ("incomplete", "in_progress")


def test_a_cut_reply_is_incomplete() -> None:
    """So is the item that it was cut in, and no other."""
    pieces: list[list[AnyEvent]] = [[Started(USAGE), ThinkingDelta("Hm."), TextDelta("So")]]
    pieces.append([Finished("max_tokens", USAGE)])
    response = check(streamed(pieces))
    assert response == whole(pieces)
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]


def test_a_refusal_has_a_part_of_its_own() -> None:
    """In words the client can show."""
    pieces: list[list[AnyEvent]] = [[Started(USAGE), Finished("refusal", USAGE, explanation="Not this.")]]
    response = check(streamed(pieces))
    assert response == whole(pieces)
    assert response["output"][0]["content"] == [{"type": "refusal", "refusal": "Not this."}]


@pytest.mark.parametrize(
    ("failure", "code"),
    [(EngineFailed("It died."), "server_error"), (PromptTooLong(9, 8), "context_length_exceeded")],
)
def test_a_stream_that_breaks_off_has_failed(failure: Any, code: str) -> None:
    """With what was whole by then, and why; an open item stays open."""
    encoder = encode.Encoder(style())
    raw = encoder.batch([Started(USAGE), ThinkingDelta("Hm."), TextDelta("So")]) + encoder.failure(failure)
    response = check(frames(raw))
    assert response["error"] == {"code": code, "message": failure.message}
    assert [item["type"] for item in response["output"]] == ["reasoning"]


@pytest.mark.parametrize(
    "events",
    [
        [TextDelta("before the start")],
        [Started(USAGE), ToolDelta("{}")],
        [Started(USAGE), ToolEnd()],
        [Started(USAGE), Finished("end_turn", USAGE), TextDelta("after the end")],
    ],
)
def test_events_out_of_order_are_never_sent(events: list[AnyEvent]) -> None:
    """The encoder raises instead."""
    with pytest.raises(Internal):
        encode.Encoder(style()).batch(events)


def test_calls_come_back_as_the_model_wrote_them() -> None:
    """Every type of call, sent back with its result, is the same call to the model."""
    inputs = {
        "patch": '{"input":"a\\nb"}',
        "spawn": '{"x":1}',
        "shell": '{"commands":["ls"],"timeout_ms":5}',
        "local_shell": '{"command":["ls"],"working_directory":"/tmp"}',
        "apply_patch": '{"type":"create_file","path":"a","diff":"+a"}',
        "computer": '{"type":"click","button":"left","x":1,"y":2}',
    }
    declared: list[Any] = [{"type": kind} for kind in ("shell", "local_shell", "apply_patch", "computer")]
    declared.append({"type": "custom", "name": "patch"})
    declared.append({"type": "namespace", "name": "agents", "tools": [{"type": "function", "name": "spawn"}]})
    box = decode.read(json.dumps({"model": "m", "tools": declared}).encode(), ServerTools()).box
    for name, input in inputs.items():
        how = style()
        told = msgspec.structs.replace(how, items=msgspec.structs.replace(how.items, shapes=box.shapes))
        encoder = encode.Encoder(told)
        streamed = check(frames(b"".join(map(encoder.batch, called(name, input)))))["output"]
        reply = fold(event for piece in called(name, input) for event in piece)
        (item,) = json.loads(msgspec.json.encode(fold_whole(told, reply)))["output"]
        assert streamed == [{**item, "id": streamed[0]["id"]}]
        answer = {"type": item["type"] + "_output", "call_id": item["call_id"], "output": "ok"}
        body = {"model": "m", "input": [{"role": "user", "content": "?"}, item, answer], "tools": declared}
        read = decode.decode(decode.read(json.dumps(body).encode(), ServerTools()), CARD, Seal(b"k"), {})
        asked, said, result = read.conversation.turns
        assert said.parts == (ToolUse(id="toolu_1", name=name, input=input),)
        assert asked.parts == (Text("?"),)
        assert result.parts[0].parts == (Text("ok"),)  # type: ignore[union-attr]
