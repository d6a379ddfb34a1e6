"""One streamed request to a Messages API: its figures, and the content of the reply."""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple

import aiohttp

Fields = dict[str, Any]


class Turn(NamedTuple):
    """One turn's figures: tokens, and seconds to the first content."""

    prompt: int
    reused: int
    computed: int
    output: int
    first: float
    stop: str

    def row(self) -> str:
        """The figures as a row of a table."""
        return f"{self.prompt} | {self.reused} | {self.computed} | {self.output} | {self.first:.2f} | {self.stop}"


def connected() -> aiohttp.ClientSession:
    """A client whose every request has a connection of its own: some servers close one after a stream without saying
    so, and each may reach another worker."""
    timeout, connector = aiohttp.ClientTimeout(total=900), aiohttp.TCPConnector(force_close=True)
    return aiohttp.ClientSession(timeout=timeout, connector=connector, headers={"anthropic-version": "2023-06-01"})


async def ask(client: aiohttp.ClientSession, url: str, body: Fields) -> tuple[Turn, list[Fields]]:
    """The figures of a request and the blocks of the reply. SystemExit where it fails."""
    began, first, usage, stop = time.perf_counter(), 0.0, {}, ""
    blocks: list[Fields] = []
    async with client.post(url + "/v1/messages", json={**body, "stream": True}) as response:
        if response.status != 200:
            raise SystemExit(f"status {response.status}: {await response.text()}")
        async for line in response.content:
            if not line.startswith(b"data: "):
                continue
            event = json.loads(line[6:])
            match event["type"]:
                case "message_start":
                    usage = event["message"]["usage"]
                case "content_block_start":
                    first = first or time.perf_counter() - began
                    blocks.append({**event["content_block"], "json": ""})
                case "content_block_delta":
                    _grow(blocks[-1], event["delta"])
                case "message_delta":
                    usage = {**usage, **{key: value for key, value in event["usage"].items() if value is not None}}
                    stop = event["delta"]["stop_reason"]
                case "error":
                    raise SystemExit(f"the stream broke off: {event['error']}")
    reused = usage.get("cache_read_input_tokens") or 0
    computed = usage["input_tokens"] + (usage.get("cache_creation_input_tokens") or 0)
    return Turn(reused + computed, reused, computed, usage["output_tokens"], first, stop), [_kept(b) for b in blocks]


def _grow(block: Fields, delta: Fields) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "input_json_delta":
            block["json"] += delta["partial_json"]


def _kept(block: Fields) -> Fields:
    if block["type"] == "tool_use":
        return {**{key: block[key] for key in ("type", "id", "name")}, "input": json.loads(block["json"] or "{}")}
    return {key: block[key] for key in ("type", "text", "thinking", "signature") if key in block}
