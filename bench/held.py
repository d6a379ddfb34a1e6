"""What it costs to hold calls that the model may make of its own accord: `python -m bench.held URL`.

The same request with ten tools, held (as tools are unless they say otherwise) and let go (`strict: false`), in turns,
by one stream and by eight. The reply is text: a grammar stands beside every token of it. Prints tokens a second, from
the first token to the last, and what the held ones have of the others' speed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from typing import Any

import anthropic

from bench.guarantees import SCHEMAS

LEAST = 0.97


async def speed(client: anthropic.AsyncAnthropic, tokens: int, held: bool) -> tuple[float, float, int]:
    """When the first token and the last of one reply came, and how many there were."""
    tools: Any = [{"name": f"fill_{name}", "input_schema": schema} for name, schema in SCHEMAS.items()]
    stream: Any = await client.messages.create(
        model="claude-test",
        max_tokens=tokens,
        stream=True,
        tools=tools if held else [{**tool, "strict": False} for tool in tools],
        messages=[{"role": "user", "content": "Tell a long story of a lighthouse keeper. Use no tool."}],
        extra_body={"temperature": 0.0},
    )
    first, count = 0.0, 0
    async for event in stream:
        if event.type == "content_block_delta":
            first = first or time.monotonic()
        elif event.type == "message_delta":
            count = event.usage.output_tokens
    return first or time.monotonic(), time.monotonic(), count


async def together(client: anthropic.AsyncAnthropic, streams: int, tokens: int, held: bool) -> float:
    """Tokens a second of so many streams at once."""
    found = await asyncio.gather(*(speed(client, tokens, held) for _ in range(streams)))
    first, last = min(first for first, _, _ in found), max(last for _, last, _ in found)
    return sum(count for _, _, count in found) / max(last - first, 1e-9)


async def compare(url: str, rounds: int, tokens: int) -> bool:
    """Whether the held ones are fast enough."""
    client = anthropic.AsyncAnthropic(base_url=url, api_key="any", timeout=600, max_retries=0)
    good = True
    print("| streams | held, tokens/s | let go | held of let go |\n|---|---|---|---|")
    for streams in (1, 8):
        found: dict[bool, list[float]] = {True: [], False: []}
        for held in (True, False):
            await together(client, streams, 8, held)
        for at in range(2 * rounds):
            # Each goes first as often as the other.
            held = (at % 2 == 0) == (at // 2 % 2 == 0)
            found[held].append(await together(client, streams, tokens, held))
        held_speed, free_speed = statistics.median(found[True]), statistics.median(found[False])
        good &= held_speed >= LEAST * free_speed
        print(f"| {streams} | {held_speed:.1f} | {free_speed:.1f} | {held_speed / free_speed:.3f} |", flush=True)
    return good


def main() -> int:
    """Measure, print; the exit status is 1 where holding costs too much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=128)
    options = parser.parse_args()
    return 0 if asyncio.run(compare(options.url, options.rounds, options.tokens)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
