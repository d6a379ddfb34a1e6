"""Counting, and contexts that grow too large."""

from __future__ import annotations

import re
from typing import Any

from antiphon_check.agent.tools import WEATHER
from antiphon_check.basic.messages import prompt_tokens
from antiphon_check.registry import API, check
from antiphon_check.server import Server
from antiphon_check.verdict import Unjudged, expect

_COUNT = API + "messages-count-tokens"


def counted(server: Server, **fields: Any) -> int:
    """What `count_tokens` says of a small request with these fields."""
    body = server.plain(**{"max_tokens": None, **fields})
    reply = server.accepted(server.request("POST", "/v1/messages/count_tokens", body), "input_tokens")
    expect(type(reply["input_tokens"]) is int and reply["input_tokens"] > 0, f"it says {reply['input_tokens']!r}")
    return int(reply["input_tokens"])


@check(
    "agent.count",
    "`count_tokens` counts a request without `max_tokens`.",
    reason="Assistants show how full the context is, and compact it by this count.",
    source=_COUNT,
)
def count(server: Server) -> None:
    counted(server)


@check(
    "agent.count_parts",
    "It counts the system prompt, the tools and every turn.",
    reason="A count that leaves tools out is short by thousands of tokens.",
    source=_COUNT,
)
def count_parts(server: Server) -> None:
    bare = counted(server)
    turns = [{"role": "user", "content": "Hello. " * 20}]
    for name, fields in (
        ("system", {"system": "Be brief. " * 20}),
        ("tools", {"tools": [WEATHER]}),
        ("messages", {"messages": turns}),
    ):
        found = counted(server, **fields)
        expect(found > bare + 8, f"{bare} tokens without more {name}, {found} with")


@check(
    "agent.count_usage",
    "It agrees with the usage of the same request, within five percent.",
    reason="Otherwise programs compact too early, or run into the window.",
    source=_COUNT,
)
def count_usage(server: Server) -> None:
    fields: dict[str, Any] = {"system": "Be brief.", "tools": [WEATHER]}
    found = counted(server, **fields)
    used = prompt_tokens(server.message(**fields).get("usage") or {})
    expect(abs(found - used) <= max(used * 0.05, 4), f"it says {found}, the usage {used}")


@check(
    "agent.count_refused",
    "It refuses a bad request, like the route itself.",
    reason="Programs count first, and would learn of it only later.",
    source=_COUNT,
)
def count_refused(server: Server) -> None:
    server.refused(server.request("POST", "/v1/messages/count_tokens", server.plain(max_tokens=None, messages=[])), 400)


@check(
    "agent.max_tokens_large",
    "`max_tokens` of 32,000 is accepted.",
    reason="Assistants send it with every request, whatever the model.",
    source="Claude Code 2, as recorded",
)
def max_tokens_large(server: Server) -> None:
    with server.streaming(max_tokens=32000) as events:
        first = next(events, None)
    expect(first is not None and first.type == "message_start", "the stream does not begin")


@check(
    "agent.too_long",
    "A prompt beyond the window is a 400 that says `prompt is too long`, with both numbers.",
    reason="Coding assistants match these words, and compact the conversation.",
    source=API + "errors",
)
def too_long(server: Server) -> None:
    window = server.target.window or _window(server)
    per_hundred = counted(server, messages=[{"role": "user", "content": "word " * 1100}]) / 11
    text = "word " * int(window / per_hundred * 100 * 1.2 + 100)
    exchange = server.request("POST", "/v1/messages", server.plain(messages=[{"role": "user", "content": text}]))
    server.refused(exchange, 400)
    message = exchange.json()["error"]["message"]
    expect(
        re.search(r"prompt is too long: \d+ tokens > \d+ maximum", message),
        f"the message is {message!r}",
    )


def _window(server: Server) -> int:
    models = server.request("GET", "/v1/models").json()
    listed = models.get("data") if isinstance(models, dict) else None
    known = {model.get("id"): model.get("max_input_tokens") for model in listed or [] if isinstance(model, dict)}
    window = known.get(server.target.model) or next(filter(None, known.values()), None)
    if not isinstance(window, int):
        raise Unjudged("the list of models does not say how large the window is; give --window")
    if window > 300_000:
        raise Unjudged(f"a window of {window} tokens takes too long to fill")
    return window
