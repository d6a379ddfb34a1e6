"""Whatever is sent, the answer is in the envelope, soon, and never the server's own failure.

The real service over the scripted engine is driven as an ASGI application, with requests made from those that real
programs send. `FUZZ=20000 make test TESTS=tests/surfaces/messages/test_fuzz.py` looks harder.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from antiphon import surfaces
from antiphon.engines.scripted import Rule
from antiphon.serving.model import Choices
from tests.serving.served import served
from tests.surfaces import order

ROUNDS = int(os.environ.get("FUZZ", "600"))
SHAPES = sorted((Path(__file__).parents[2] / "clients" / "shapes").glob("*.json"))
WORDS: list[Any] = [
    None, True, False, 0, -1, 1, 2**63, -(2**80), 1e308, 0.5, "", " ", "x", "user", "assistant", "system", "text",
    "image", "tool_use", "tool_result", "document", "thinking", "base64", "ephemeral", "auto", "any", "\x00", "\ud800",
    "é😀" * 50, "<|im_start|>", "</think>", [], {}, [[]], {"type": "text", "text": "t"}, {"type": None},
    [{"type": "nobody"}],
]  # fmt: skip
KEYS = [
    "type", "text", "content", "role", "id", "name", "input", "tool_use_id", "source", "data", "media_type", "messages",
    "system", "tools", "tool_choice", "max_tokens", "stream", "thinking", "stop_sequences", "output_config", "metadata",
    "temperature", "cache_control", "unheard_of", "",
]  # fmt: skip
RULES = (
    Rule(when="fail", text="a b", fail_after=1),
    Rule(when="tool", text='<think>\nHm\n</think>\n<tool_call>{"name": "Read", "arguments": {"a": 1}}</tool_call>'),
    Rule(text="<think>\nWell.\n</think>\n\nAll right."),
)


def mutated(value: Any, source: random.Random) -> Any:
    """The value with one thing in it changed."""
    if isinstance(value, dict) and value and source.random() < 0.9:
        key = source.choice(list(value))
        match source.randrange(8):
            case 0:
                return {k: v for k, v in value.items() if k != key}
            case 1:
                return {**value, source.choice(KEYS): source.choice(WORDS)}
            case 2:
                return {**value, key: source.choice(WORDS)}
            case _:
                return {**value, key: mutated(value[key], source)}
    if isinstance(value, list) and value and source.random() < 0.9:
        at = source.randrange(len(value))
        match source.randrange(6):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return [*value, value[at]]
            case 2:
                return source.sample(value, len(value))
            case _:
                return [*value[:at], mutated(value[at], source), *value[at + 1 :]]
    if isinstance(value, str) and value and source.random() < 0.4:
        at = source.randrange(len(value))
        return value[:at] + source.choice(["\x00", "<|im_end|>", '"', "\\", "é", ""]) + value[at:]
    return source.choice(WORDS)


def body_of(shape: dict[str, Any], source: random.Random) -> bytes:
    """The body of a request, somewhat wrong."""
    body = shape["body"]
    for _ in range(source.choice([0, 1, 1, 2, 3, 6])):
        body = mutated(body, source)
    if isinstance(body, dict) and source.random() < 0.5:
        body = {**body, "stream": source.random() < 0.5}
    raw = json.dumps(body, ensure_ascii=source.random() < 0.5).encode("utf-8", "surrogatepass")
    if source.random() < 0.15:
        at = source.randrange(len(raw) + 1)
        raw = raw[:at] + source.choice([b"", b"\xff", b"{", b"NaN", b"1" * 400, b"[" * 3000, b"\x00"]) + raw[at:]
    if source.random() < 0.05:
        raw = raw[: source.randrange(len(raw) + 1)]
    return raw


async def answer(app: Any, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """The application's answer to one request: status, headers, body."""
    sent: list[dict[str, Any]] = []
    asked = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if asked:
            return asked.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    route, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "POST",
        "path": route,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
    }
    await asyncio.wait_for(app(scope, receive, send), 20)
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize("part", range(2))
async def test_no_mutated_request_breaks_the_server(part: int) -> None:
    """No mutated request gets a 5xx but for what the engine was told to fail at, hangs, or leaves the envelope; every
    stream is legal."""
    service, engine = await served(*RULES, window=1_000_000, choices=Choices(name="local-model"))
    app = surfaces.build(service, surfaces.Options(seal_key=b"0" * 32, ping_interval=5))
    shapes = [shape for shape in map(json.loads, (path.read_bytes() for path in SHAPES)) if shape.get("body")]
    good = 0
    for number in range(part, ROUNDS, 2):
        source = random.Random(number)
        shape = source.choice(shapes)
        version = source.choice(["2023-06-01", "2026-10-21"])
        headers = {"host": "localhost", "content-type": "application/json", "anthropic-version": version}
        path = "/v1/messages/count_tokens" if source.random() < 0.1 else shape["path"]
        body = body_of(shape, source)
        status, told, text = await answer(app, path, headers, body)
        assert told["request-id"].startswith("req_"), number
        # The script fails where it is told to, and heeds no demand on its output.
        failed = b"script says to fail" in text or b"the constraints of the request" in text
        assert status < 500 or failed, (number, text)
        if status >= 400:
            error = json.loads(text)
            assert error["type"] == "error", number
            assert error["error"]["message"], number
            assert error["error"]["type"], number
        elif told["content-type"].startswith("text/event-stream"):
            assert order.check(order.frames(text)) == ("error" if failed else "message_stop"), number
            good += 1
        else:
            json.loads(text)
            good += 1
    assert good > ROUNDS / 16
    assert engine.running == 0
