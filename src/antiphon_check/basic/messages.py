"""Whole replies."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from antiphon_check.registry import API, SDK, check
from antiphon_check.server import Server
from antiphon_check.verdict import Unjudged, expect

STOP_REASONS = {
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "compaction",
    "model_context_window_exceeded",
}
_MESSAGE = SDK + "types/message.py"


def prompt_tokens(usage: dict[str, Any]) -> int:
    """All tokens of a prompt, wherever the usage counts them."""
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return sum(int(usage.get(name) or 0) for name in names)


def text(message: dict[str, Any]) -> str:
    """The text of a message's text blocks."""
    return "".join(str(block.get("text", "")) for block in message["content"] if block.get("type") == "text")


@check(
    "basic.message_fields",
    "A reply is an object of type `message` by the `assistant`, with an id and a model.",
    reason="The SDKs' `Message` declares these fields, and programs branch on `type` and `role`.",
    source=_MESSAGE,
)
def message_fields(server: Server) -> None:
    reply = server.message()
    expect(reply.get("type") == "message", f"`type` is {reply.get('type')!r}")
    expect(reply.get("role") == "assistant", f"`role` is {reply.get('role')!r}")
    for name in ("id", "model"):
        expect(isinstance(reply.get(name), str) and reply[name], f"`{name}` is {reply.get(name)!r}, not a string")


@check(
    "basic.message_ids",
    "Two replies have different ids.",
    reason="Coding assistants store messages by id, and drop what comes twice.",
    source=_MESSAGE,
)
def message_ids(server: Server) -> None:
    first, second = server.message().get("id"), server.message().get("id")
    expect(first != second, f"both ids are {first!r}")


@check(
    "basic.content_blocks",
    "`content` is a list of blocks, each with a type; those of text have their text.",
    reason="Programs walk over `content`, and read `text` of blocks of type `text`.",
    source=SDK + "types/content_block.py",
)
def content_blocks(server: Server) -> None:
    content = server.message()["content"]
    expect(isinstance(content, list), "`content` is not a list")
    for block in content:
        expect(isinstance(block, dict) and isinstance(block.get("type"), str), f"a block has no type: {block!r}")
        expect(block["type"] != "text" or isinstance(block.get("text"), str), f"a text block has no text: {block!r}")


@check(
    "basic.stop_reason",
    "`stop_reason` is one that the API knows, and there is no `stop_sequence` unless one was met.",
    reason="Agents end, continue or compact by `stop_reason`.",
    source=SDK + "types/stop_reason.py",
)
def stop_reason(server: Server) -> None:
    reply = server.message()
    expect(reply.get("stop_reason") in STOP_REASONS, f"`stop_reason` is {reply.get('stop_reason')!r}")
    met = reply["stop_reason"] == "stop_sequence"
    sequence = reply.get("stop_sequence")
    expect(met or sequence is None, f"`stop_sequence` is {sequence!r}, though none was met")


@check(
    "basic.usage",
    "`usage` counts the tokens of prompt and reply, and the reply keeps to `max_tokens`.",
    reason="Programs add these up for budgets and for the size of the context.",
    source=SDK + "types/usage.py",
)
def usage(server: Server) -> None:
    used = server.message(max_tokens=12).get("usage")
    expect(isinstance(used, dict), "there is no `usage`")
    assert isinstance(used, dict)
    for name in ("input_tokens", "output_tokens"):
        expect(type(used.get(name)) is int and used[name] >= 0, f"`{name}` is {used.get(name)!r}")
    expect(prompt_tokens(used) > 0, "the prompt has no tokens")
    expect(0 < used["output_tokens"] <= 12, f"`output_tokens` is {used['output_tokens']}, of at most 12")


@check(
    "basic.max_tokens",
    "A reply that reaches its limit says `max_tokens`.",
    reason="Agents ask for more when the limit ended a reply.",
    source=API + "messages",
)
def max_tokens(server: Server) -> None:
    reply = server.message(max_tokens=1, messages=[{"role": "user", "content": "Count from one to a hundred."}])
    expect(
        reply.get("stop_reason") in ("max_tokens", "end_turn"),
        f"`stop_reason` is {reply.get('stop_reason')!r} after one token",
    )
    if reply.get("stop_reason") == "end_turn" and text(reply).strip():
        expect(False, "one token was not all that the model had to say, but `stop_reason` is 'end_turn'")


@check(
    "basic.stop_sequences",
    "A reply ends before a stop sequence, and names it.",
    reason="Programs that parse text rely on the sequence not being in it.",
    source=API + "messages",
)
def stop_sequences(server: Server) -> None:
    sequences = ["e", "a", "o", "i"]
    reply = server.message(max_tokens=48, stop_sequences=sequences)
    said = text(reply)
    found = [each for each in sequences if each in said]
    expect(not found, f"the text has {found and found[0]!r} in it: {said!r}")
    if reply.get("stop_reason") == "stop_sequence":
        expect(reply.get("stop_sequence") in sequences, f"`stop_sequence` is {reply.get('stop_sequence')!r}")
    elif said:
        raise Unjudged("the model ended without meeting one of the stop sequences")


@check(
    "basic.content_forms",
    "A string means the same as one text block, in messages and in `system`.",
    reason="SDKs and programs use either form.",
    source=API + "messages",
)
def content_forms(server: Server) -> None:
    string = server.message(system="Be brief.", messages=[{"role": "user", "content": "Hello."}])
    block = {"type": "text", "text": "Hello."}
    blocks = server.message(
        system=[{"type": "text", "text": "Be brief."}], messages=[{"role": "user", "content": [block]}]
    )
    one, other = (prompt_tokens(reply.get("usage") or {}) for reply in (string, blocks))
    expect(one == other, f"the prompt has {one} tokens with strings, {other} with blocks")


@check(
    "basic.turns",
    "Conversations of several turns are accepted, also with two turns of the same role in a row.",
    reason="The API joins turns of the same role; agents send such histories.",
    source=API + "messages",
)
def turns(server: Server) -> None:
    server.message(
        messages=[
            {"role": "user", "content": "Hello."},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "I have a question."},
            {"role": "user", "content": "How are you?"},
        ]
    )


@check(
    "basic.optional_fields",
    "Sampling parameters, `metadata` and `service_tier` are accepted.",
    reason="Programs of the first version of the API send them with every request.",
    source=SDK + "types/message_create_params.py",
)
def optional_fields(server: Server) -> None:
    server.message(
        temperature=0.7, top_p=0.9, top_k=40, metadata={"user_id": "somebody"}, service_tier="auto", stop_sequences=[]
    )


@check(
    "basic.unicode",
    "Characters outside ASCII come through, escaped or not.",
    reason="JSON allows both spellings, and SDKs differ.",
    source="https://www.rfc-editor.org/rfc/rfc8259#section-8",
)
def unicode(server: Server) -> None:
    said = "Grüße, \U0001f600 שלום \u2028 — 你好"
    plain = server.plain(messages=[{"role": "user", "content": said}])
    counts = []
    for escaped in (False, True):
        body = json.dumps(plain, ensure_ascii=escaped).encode()
        exchange = server.request("POST", "/v1/messages", raw=body)
        counts.append(prompt_tokens(server.accepted(exchange, "content").get("usage") or {}))
    expect(counts[0] == counts[1], f"the prompt has {counts[0]} tokens unescaped, {counts[1]} escaped")


@check(
    "basic.headers",
    "Replies are `application/json`, and have a `request-id`, as errors have.",
    reason="The SDKs parse bodies of that type only, and show the id of a request in every error.",
    source=API + "overview",
)
def headers(server: Server) -> None:
    server.message()
    accepted = server.exchanges[-1].headers
    media_type = accepted.get("content-type", "")
    expect(media_type.startswith("application/json"), f"the type is {media_type!r}")
    refused = server.request("POST", "/v1/messages", {"model": server.target.model}).headers
    for found, exchange in ((accepted, "a reply"), (refused, "an error")):
        expect(found.get("request-id"), f"{exchange} has no header `request-id`")


@check(
    "basic.at_once",
    "Four requests at once are all answered.",
    reason="Agents run sub-agents beside one another.",
    source=API + "messages",
)
def at_once(server: Server) -> None:
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: server.message(), range(4)))
    ids = {reply.get("id") for reply in replies}
    expect(all(isinstance(reply["content"], list) for reply in replies), f"not every reply has content: {ids}")
