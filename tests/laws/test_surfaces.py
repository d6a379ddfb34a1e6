"""One stack, three surfaces: every recorded output says the same through both encoders, streamed and folded."""

from __future__ import annotations

import json
from itertools import count

import msgspec
import pytest

from antiphon.api.events import Started, Usage
from antiphon.api.reply import fold
from antiphon.api.seal import Seal
from antiphon.parsing.arguments import Signature
from antiphon.parsing.formats import format_named, reasoning_named
from antiphon.parsing.parser import Parser
from antiphon.parsing.stopping import finished
from antiphon.server_tools.registry import ServerTools
from antiphon.surfaces.chat_completions import encode as chat
from antiphon.surfaces.chat_completions import reply as chat_reply
from antiphon.surfaces.messages import encode as messages
from antiphon.surfaces.messages import message
from antiphon.surfaces.responses import encode as responses
from antiphon.surfaces.responses import items
from antiphon.surfaces.responses.reply import Style, whole
from antiphon.surfaces.responses.request import decode
from tests.outputs import cut, records

RECORDS = records()
USAGE = Usage(prompt=9, cached=4, output=5, thinking=2)
MESSAGES = message.Style(id="msg_1", model="m", seal=Seal(b"k"))
CHAT = chat_reply.Style(id="chatcmpl-1", created=1, model="m", usage=True)
RESPONSES = Style(
    id="resp_1",
    created=1,
    clock=lambda: 2.0,
    echo=decode.echo(decode.read(b'{"model": "m"}', ServerTools())),
    items=items.Style(new_id=lambda prefix: prefix, seal=Seal(b"k")),
)


def batches(name, record, pieces):
    """The events of a record's output, a batch for each piece."""
    format = format_named(name.split("/")[0])
    reasoning = reasoning_named(record.get("reasoning", format.reasoning))
    numbers = count()
    parser = Parser(
        format,
        reasoning,
        {tool["name"]: Signature(tool["input_schema"]) for tool in record.get("tools", ())},
        new_id=lambda: f"toolu_{next(numbers)}",
        starts_thinking=reasoning.opened_by(record.get("prompt_tail", "")),
    )
    told = [[Started(USAGE)], *(parser.feed(piece) for piece in pieces), parser.finish()]
    end = finished(USAGE, limit=False, window=False, sequence=None, calls=parser.calls, cut_call=parser.cut_call)
    return [*told, [end]]


def meaning(text, thought, calls):
    """What a reply says, as far as both APIs have a place for it."""
    return {"text": "".join(text), "thinking": "".join(thought), "calls": calls}


def of_messages_stream(told):
    encoder = messages.Encoder(MESSAGES)
    raw = b"".join(encoder.batch(batch) for batch in told).decode()
    data = [json.loads(line[6:]) for line in raw.split("\n") if line.startswith("data: ")]
    deltas = [event["delta"] for event in data if event["type"] == "content_block_delta"]
    starts = {event["index"]: event["content_block"] for event in data if event["type"] == "content_block_start"}
    calls = {index: [block["id"], block["name"], ""] for index, block in starts.items() if block["type"] == "tool_use"}
    for event in data:
        if event["type"] == "content_block_delta" and event["index"] in calls:
            calls[event["index"]][2] += event["delta"]["partial_json"]
    return meaning(
        [delta["text"] for delta in deltas if delta["type"] == "text_delta"],
        [delta["thinking"] for delta in deltas if delta["type"] == "thinking_delta"],
        [(id, name, json.loads(text or "{}")) for id, name, text in calls.values()],
    )


def of_messages_whole(reply):
    blocks = json.loads(message.whole(MESSAGES, reply))["content"]
    return meaning(
        [block["text"] for block in blocks if block["type"] == "text"],
        [block["thinking"] for block in blocks if block["type"] == "thinking"],
        [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"],
    )


def of_chat_stream(told):
    encoder = chat.Encoder(CHAT)
    raw = b"".join(encoder.batch(batch) for batch in told).decode()
    *lines, done, _ = raw.split("\n\n")
    assert done == "data: [DONE]"
    deltas = [choice["delta"] for line in lines for choice in json.loads(line[6:])["choices"]]
    calls = {}
    for delta in deltas:
        for call in delta.get("tool_calls", ()):
            known = calls.setdefault(call["index"], [call.get("id"), call["function"].get("name"), ""])
            known[2] += call["function"]["arguments"]
    assert list(calls) == list(range(len(calls)))
    return meaning(
        [delta["content"] for delta in deltas if "content" in delta],
        [delta["reasoning_content"] for delta in deltas if "reasoning_content" in delta],
        [(id, name, json.loads(text)) for id, name, text in calls.values()],
    )


def of_chat_whole(reply):
    message = json.loads(chat_reply.whole(CHAT, reply))["choices"][0]["message"]
    calls = [(call["id"], call["function"]) for call in message.get("tool_calls", ())]
    return meaning(
        [message["content"] or ""],
        [message.get("reasoning_content", "")],
        [(id, function["name"], json.loads(function["arguments"])) for id, function in calls],
    )


def of_response(output):
    """What the items of a response say."""
    parts = {"message": [], "reasoning": []}
    for item in output:
        parts.setdefault(item["type"], []).extend(part["text"] for part in item.get("content", ()))
    calls = [item for item in output if item["type"] == "function_call"]
    return meaning(
        parts["message"],
        parts["reasoning"],
        [(call["call_id"], call["name"], json.loads(call["arguments"])) for call in calls],
    )


def of_responses_stream(told):
    """What the deltas say, and that they are what the whole items say."""
    encoder = responses.Encoder(RESPONSES)
    raw = b"".join(encoder.batch(batch) for batch in told).decode()
    data = [json.loads(line[6:]) for line in raw.split("\n") if line.startswith("data: ")]
    deltas = {"output_text": [], "reasoning_text": [], "function_call_arguments": []}
    for event in data:
        if event["type"].endswith(".delta"):
            deltas[event["type"].split(".")[1]].append(event["delta"])
    output = data[-1]["response"]["output"]
    said = of_response(output)
    assert said["text"] == "".join(deltas["output_text"])
    assert said["thinking"] == "".join(deltas["reasoning_text"])
    calls = [item["arguments"] for item in output if item["type"] == "function_call"]
    assert "".join(calls) == "".join(deltas["function_call_arguments"])
    return said


def of_responses_whole(reply):
    return of_response(json.loads(msgspec.json.encode(whole(RESPONSES, reply)))["output"])


@pytest.mark.parametrize(("name", "record"), RECORDS, ids=[name for name, _ in RECORDS])
def test_every_surface_says_the_same(name, record):
    """Text, thinking, and the ids, names and inputs of calls: whole, word by word and character by character."""
    raw = record["raw"]
    reply = fold(event for batch in batches(name, record, [raw]) for event in batch)
    expected = of_messages_whole(reply)
    assert of_chat_whole(reply) == expected
    assert of_responses_whole(reply) == expected
    for pieces in ([raw], cut(raw, range(0, len(raw), 5)), list(raw)):
        told = batches(name, record, pieces)
        assert of_messages_stream(told) == expected
        assert of_chat_stream(told) == expected
        assert of_responses_stream(told) == expected
