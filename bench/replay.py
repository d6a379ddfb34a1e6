"""Replays a growing agent conversation against a Messages API, and shows what each turn had to compute.

    python bench/replay.py http://127.0.0.1:8000 [--turns 24] [--key KEY] [--page 1] [--no-law]

The conversation is made on the way, for the replies are the server's own. It has what real agents send: a long system
prompt behind a billing line that changes with every request, tools, forced calls, parallel calls and their results,
system turns in the middle, cache marks that move to the last message, and a history that comes back in another form
than it was told (key order, a string or a list of blocks). The law: from the second turn on, what the server re-used is
at least the previous prompt and its reply, less one page. `--no-law` only prints.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from typing import Any, NamedTuple

import aiohttp

Fields = dict[str, Any]

RULES = (
    "Rule {n}: when a file named module_{n}.py is touched, read it first, change as little as possible, keep the "
    "comments, run the tests in tests/test_module_{n}.py and say in one sentence what changed and why.\n"
)
NAMES = ("read", "write", "search", "list", "run", "status")
FILES = ("module_1.py", "module_2.py", "README.md")


def tools() -> list[Fields]:
    """Six tools whose input is short whatever the model would like to write."""
    return [
        {
            "name": name,
            "description": f"Performs {name} in the working folder and gives the outcome as text.",
            "input_schema": {
                "type": "object",
                "properties": {"path": {"type": "string", "enum": list(FILES)}, "all": {"type": "boolean"}},
                "required": ["path", "all"],
                "additionalProperties": False,
            },
        }
        for name in NAMES
    ]


def system(turn: int, rules: int) -> list[Fields]:
    """The billing line of this request, and a long text with a cache mark."""
    body = "You are a coding agent. Follow these rules.\n" + "".join(RULES.format(n=n) for n in range(rules))
    return [
        {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1.0; cch={turn * 7919 % 65536:05x};\n"},
        {"type": "text", "text": body, "cache_control": {"type": "ephemeral"}},
    ]


def opening() -> list[Fields]:
    """A conversation that was begun elsewhere: a question, two calls at once, their results."""
    calls = [
        {"type": "tool_use", "id": f"toolu_open{n}", "name": "read", "input": {"path": FILES[n], "all": True}}
        for n in range(2)
    ]
    results = [
        {"type": "tool_result", "tool_use_id": f"toolu_open{n}", "content": f"def größe_{n}():\n    return {n}\n"}
        for n in range(2)
    ]
    return [
        {"role": "user", "content": "Look at the first two modules."},
        {"role": "assistant", "content": [{"type": "text", "text": "Reading both."}, *calls]},
        {"role": "user", "content": [*results, {"type": "text", "text": "What do they have in common?"}]},
    ]


def retold(messages: list[Fields], turn: int) -> list[Fields]:
    """The history in the form of this request: texts as strings in every other one, keys of inputs turned round, and
    the cache mark on the last message alone."""
    told = []
    for message in messages:
        content = message["content"]
        if isinstance(content, str):
            content = [{"type": "text", "text": content}] if turn % 2 else content
        else:
            content = [dict(block) for block in content]
            for block in content:
                if block["type"] == "tool_use" and turn % 3 == 0:
                    block["input"] = dict(reversed(block["input"].items()))
            if not turn % 2 and len(content) == 1 and content[0]["type"] == "text":
                content = content[0]["text"]
        told.append({**message, "content": content})
    last = next(message for message in reversed(told) if message["role"] == "user")
    if isinstance(last["content"], str):
        last["content"] = [{"type": "text", "text": last["content"]}]
    last["content"][-1]["cache_control"] = {"type": "ephemeral"}
    return told


def answer(reply: list[Fields], turn: int) -> list[Fields]:
    """What the client says to a reply: results of all calls, else a question; sometimes a system turn follows."""
    calls = [block for block in reply if block["type"] == "tool_use"]
    content: list[Fields] = [
        {"type": "tool_result", "tool_use_id": call["id"], "content": f"{call['name']}: line {turn} of 40, “done”\n"}
        for call in calls
    ]
    if not calls or turn % 4 == 0:
        content.append({"type": "text", "text": f"Step {turn}: go on with {FILES[turn % 3]}, please."})
    said: list[Fields] = [{"role": "user", "content": content}]
    if turn % 5 == 0:
        said.append({"role": "system", "content": f"<total_tokens>{90_000 - turn * 311} tokens left</total_tokens>"})
    return said


class Turn(NamedTuple):
    """One turn's figures: tokens, and seconds to the first content."""

    prompt: int
    reused: int
    computed: int
    output: int
    first: float
    stop: str


async def ask(client: aiohttp.ClientSession, url: str, body: Fields) -> tuple[Turn, list[Fields]]:
    """One streamed request: its figures and the content of the reply."""
    began, first, usage, stop = time.perf_counter(), 0.0, {}, ""
    blocks: list[Fields] = []
    headers = {"anthropic-version": "2023-06-01", "x-claude-code-session-id": "replay-1"}
    async with client.post(url + "/v1/messages", json={**body, "stream": True}, headers=headers) as response:
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
                    delta = event["delta"]
                    if delta["type"] == "text_delta":
                        blocks[-1]["text"] += delta["text"]
                    elif delta["type"] == "input_json_delta":
                        blocks[-1]["json"] += delta["partial_json"]
                case "message_delta":
                    usage = {**usage, **{key: value for key, value in event["usage"].items() if value is not None}}
                    stop = event["delta"]["stop_reason"]
                case "error":
                    raise SystemExit(f"the stream broke off: {event['error']}")
    reused = usage.get("cache_read_input_tokens") or 0
    computed = usage["input_tokens"] + (usage.get("cache_creation_input_tokens") or 0)
    return Turn(reused + computed, reused, computed, usage["output_tokens"], first, stop), [_kept(b) for b in blocks]


def _kept(block: Fields) -> Fields:
    if block["type"] == "tool_use":
        return {
            "type": "tool_use",
            "id": block["id"],
            "name": block["name"],
            "input": json.loads(block["json"] or "{}"),
        }
    return {key: block[key] for key in ("type", "text", "thinking", "signature") if key in block}


async def replay(arguments: argparse.Namespace) -> list[Turn]:
    """All turns, printed as they come."""
    headers = {"x-api-key": arguments.key} if arguments.key else {}
    messages = opening()
    past: list[Turn] = []
    print("| turn | prompt | re-used | computed | sampled | first token, s | ended by |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    # Some servers close a connection after a stream without saying so.
    timeout, connector = aiohttp.ClientTimeout(total=900), aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as client:
        for number in range(1, arguments.turns + 1):
            body = {
                "model": arguments.model,
                "max_tokens": 64 if number % 3 == 1 else 16,
                "temperature": 0.7,
                "system": system(number, arguments.rules),
                "tools": tools(),
                "tool_choice": {"type": "any" if number % 3 == 1 else "auto"},
                "messages": retold(messages, number),
            }
            turn, reply = await ask(client, arguments.url.rstrip("/"), body)
            print(
                f"| {number} | {turn.prompt} | {turn.reused} | {turn.computed} | {turn.output} | {turn.first:.2f} "
                f"| {turn.stop} |",
                flush=True,
            )
            past.append(turn)
            # A client has no use for a reply without content, and the API takes none back.
            spoken = [block for block in reply if block["type"] != "text" or block["text"].strip()]
            messages.append({"role": "assistant", "content": spoken or [{"type": "text", "text": "…"}]})
            messages += answer(reply, number)
    return past


def broken(past: list[Turn], page: int) -> list[str]:
    """Where the law does not hold, a sentence each."""
    return [
        f"turn {number}: {turn.reused} re-used, but the turn before had {before.prompt} and sampled {before.output}"
        for number, (before, turn) in enumerate(itertools.pairwise(past), 2)
        if turn.reused < before.prompt + before.output - page
    ]


def main() -> int:
    """Replay, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--turns", type=int, default=24)
    parser.add_argument("--rules", type=int, default=55, help="length of the system prompt, about 50 tokens each")
    parser.add_argument("--page", type=int, default=1, help="tokens the engine may compute again")
    parser.add_argument("--model", default="claude-replay")
    parser.add_argument("--key", default="")
    parser.add_argument("--no-law", action="store_true")
    arguments = parser.parse_args()
    past = asyncio.run(replay(arguments))
    later = past[1:]
    computed, prompts = (
        sum(figures) for figures in zip(*((turn.computed, turn.prompt) for turn in later), strict=True)
    )
    first = sorted(turn.first for turn in later)[len(later) // 2]
    print(f"\nfrom turn 2 on: {computed} of {prompts} prompt tokens computed; first token after {first:.2f} s (median)")
    complaints = [] if arguments.no_law else broken(past, arguments.page)
    print("\n".join(complaints) or "the law holds" if not arguments.no_law else "")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
