"""A server on loopback whose model follows a script and whose tools run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from antiphon import surfaces
from antiphon.engines.scripted import Rule, Scripted
from antiphon.server_tools.registry import ServerTools
from antiphon.serving.service import Service
from tests.laws.growing import tokens
from tests.loopback import listening
from tests.serving.served import served

Fields = dict[str, Any]

SEARCH: Fields = {"type": "web_search_20250305", "name": "web_search"}
FETCH: Fields = {"type": "web_fetch_20250910", "name": "web_fetch"}
LOOK: Fields = {"name": "look", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}


def call(name: str, **input: Any) -> str:
    """A call as the scripted model writes it."""
    return f'<tool_call>\n{{"name": "{name}", "arguments": {json.dumps(input)}}}\n</tool_call>'


def says(*outputs: str) -> list[Rule]:
    """The model's replies, one after the other, whatever it is asked."""
    control = ("<tool_call>", "</tool_call>", "<think>", "</think>")
    return [Rule(pieces=tokens(text, control), times=1) for text in outputs]


class Running:
    """The server, its engine, and requests to it."""

    def __init__(self, service: Service, engine: Scripted, url: str, client: aiohttp.ClientSession) -> None:
        self.service, self.engine, self.url, self._client = service, engine, url, client

    async def post(self, path: str = "/v1/messages", **fields: Any) -> Fields:
        """The JSON of an answer."""
        status, answer = await self.answer(path, **fields)
        assert status == 200, answer
        return answer

    async def answer(self, path: str = "/v1/messages", **fields: Any) -> tuple[int, Fields]:
        """Status and JSON of an answer."""
        body = {"model": "claude-test", "max_tokens": 1000, **fields}
        async with self._client.post(
            self.url + path, json=body, headers={"anthropic-version": "2023-06-01"}
        ) as response:
            return response.status, await response.json()

    async def stream(self, **fields: Any) -> bytes:
        """The bytes of a streamed reply."""
        body = {"model": "claude-test", "max_tokens": 1000, "stream": True, **fields}
        headers = {"anthropic-version": "2023-06-01"}
        async with self._client.post(self.url + "/v1/messages", json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
            return await response.read()


@asynccontextmanager
async def running(
    tools: ServerTools, rules: Sequence[Rule], kind: type[Scripted] = Scripted, window: int = 200_000, **options: Any
) -> AsyncIterator[Running]:
    """A server with these tools, whose model follows these rules in an engine of this kind, within this window."""
    service, engine = await served(*rules, kind=kind, window=window)
    given = surfaces.Options(seal_key=b"a key for tests", server_tools=tools, **options)
    async with listening(surfaces.build(service, given)) as url, aiohttp.ClientSession() as client:
        try:
            yield Running(service, engine, url, client)
        finally:
            await tools.close()


def user(text: str | list[Fields]) -> Fields:
    """What a user says."""
    return {"role": "user", "content": text}


def folded(raw: bytes) -> Fields:
    """The message that a stream amounts to, as an SDK puts it together."""
    message: Fields = {}
    inputs: dict[int, str] = {}
    for line in raw.decode().split("\n"):
        if not line.startswith("data: "):
            continue
        event = json.loads(line[6:])
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                message["content"].append(event["content_block"])
            case "content_block_delta":
                block, delta = message["content"][event["index"]], event["delta"]
                match delta["type"]:
                    case "text_delta":
                        block["text"] += delta["text"]
                    case "citations_delta":
                        block["citations"].append(delta["citation"])
                    case "thinking_delta":
                        block["thinking"] += delta["thinking"]
                    case "signature_delta":
                        block["signature"] = delta["signature"]
                    case "input_json_delta":
                        inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
            case "content_block_stop":
                if event["index"] in inputs:
                    message["content"][event["index"]]["input"] = json.loads(inputs[event["index"]] or "{}")
            case "message_delta":
                message |= {key: event["delta"][key] for key in ("stop_reason", "stop_sequence", "stop_details")}
                message["usage"] |= event["usage"]
    return message
