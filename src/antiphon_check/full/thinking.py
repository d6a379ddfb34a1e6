"""Thinking."""

from __future__ import annotations

from typing import Any

from antiphon_check.registry import API, GUIDE, SDK, check
from antiphon_check.server import Server, Stream
from antiphon_check.verdict import Failed, Unjudged, expect

_GUIDE = GUIDE + "extended-thinking"
ENABLED = {"type": "enabled", "budget_tokens": 1024}
ASKED = [{"role": "user", "content": "What is 27 times 453?"}]


def _thought(server: Server) -> dict[str, Any]:
    exchange = server.request("POST", "/v1/messages", server.plain(max_tokens=1500, thinking=ENABLED, messages=ASKED))
    if exchange.status == 400:
        server.works()
        raise Unjudged("the server refuses to let this model think")
    reply = server.accepted(exchange, "content")
    if not any(block.get("type") == "thinking" for block in reply["content"]):
        raise Unjudged("the model did not think")
    return reply


@check(
    "full.thinking",
    "Thinking comes in blocks of its own, before the text, each with a signature.",
    reason="Programs show it separately, and must send it back unchanged.",
    source=SDK + "types/thinking_block.py",
)
def thinking(server: Server) -> None:
    kinds = []
    for block in _thought(server)["content"]:
        kinds.append(block.get("type"))
        if block.get("type") == "thinking":
            expect(isinstance(block.get("thinking"), str), f"`thinking` is {block.get('thinking')!r}")
            expect(isinstance(block.get("signature"), str) and block["signature"], "a thinking block has no signature")
    expect(kinds[0] in ("thinking", "redacted_thinking"), f"the first block is {kinds[0]!r}")


@check(
    "full.thinking_stream",
    "It is streamed as thinking deltas, with the signature before the block ends.",
    reason="The SDKs put signature and text of a block together from these.",
    source=SDK + "types/signature_delta.py",
)
def thinking_stream(server: Server) -> None:
    try:
        stream: Stream = server.stream(max_tokens=1500, thinking=ENABLED, messages=ASKED)
    except Failed:
        _thought(server)  # Not judged where it is refused as a whole reply, too.
        raise
    blocks = [block for block in stream.message["content"] if block.get("type") == "thinking"]
    if not blocks:
        raise Unjudged("the model did not think")
    expect(all(block.get("signature") for block in blocks), "a thinking block ended without a signature_delta")


@check(
    "full.thinking_back",
    "A reply with thinking can be sent back as it is.",
    reason="The API demands it within a turn of tool calls.",
    source=_GUIDE,
)
def thinking_back(server: Server) -> None:
    content = _thought(server)["content"]
    messages = [*ASKED, {"role": "assistant", "content": content}, {"role": "user", "content": "And twice that?"}]
    server.message(max_tokens=1500, thinking=ENABLED, messages=messages)


@check(
    "full.thinking_off",
    "With thinking disabled there is no thinking.",
    reason="Programs that show every block would show it.",
    source=_GUIDE,
)
def thinking_off(server: Server) -> None:
    reply = server.message(max_tokens=200, thinking={"type": "disabled"}, messages=ASKED)
    expect(not any(block.get("type") == "thinking" for block in reply["content"]), "there is a thinking block")


@check(
    "full.thinking_refused",
    "A budget that is not below `max_tokens`, or an unknown type, is a 400.",
    reason="No room would be left for the answer.",
    source=API + "messages",
)
def thinking_refused(server: Server) -> None:
    for value in ({"type": "enabled", "budget_tokens": 5000}, {"type": "sometimes"}):
        body = server.plain(max_tokens=2000, thinking=value)
        server.refused(server.request("POST", "/v1/messages", body), 400)
