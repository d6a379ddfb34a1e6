"""What it costs to hold the calls of many tools: `python -m bench.grammars [--tools 50]`.

The tools are those of recorded requests of coding assistants, again under other names where they are too few. For each
format, from the client's JSON to a grammar that was compiled once, in processor time, with the choice of tools left to
the model; and the same request once more.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from antiphon.api.conversation import Conversation, GenerationParams, Text, Tool, Turn
from antiphon.constraint import compiler, lark
from antiphon.constraint.plan import Speech
from antiphon.constraint.schema import lowering, patterns
from antiphon.parsing.formats import reasoning_named, registry
from antiphon.serving.token_model.grammar_cache import GrammarCache

_SHAPES = Path(__file__).parents[1] / "tests/clients/shapes"
_ROUNDS = 3


def declared(node: Any) -> Iterator[dict[str, Any]]:
    """The tools that stand in recorded requests."""
    if isinstance(node, dict):
        if isinstance(node.get("input_schema"), dict) and "name" in node:
            yield node
        node = list(node.values())
    if isinstance(node, str) and node.startswith("{"):
        try:
            node = [json.loads(node)]
        except ValueError:
            return
    for each in node if isinstance(node, list) else ():
        yield from declared(each)


def recorded(count: int) -> tuple[Tool, ...]:
    """So many tools of different names."""
    found = {}
    for path in sorted(_SHAPES.glob("*.json")):
        found |= {tool["name"]: tool["input_schema"] for tool in declared(json.loads(path.read_text("utf-8")))}
    named = ((f"{name}_{again}" if again else name, found[name]) for again in itertools.count() for name in found)
    return tuple(Tool(name=name, schema=schema) for name, schema in itertools.islice(named, count))


async def measure(name: str, tools: tuple[Tool, ...]) -> tuple[float, float]:
    """Milliseconds of the first request and of the next."""
    format = registry()[name]
    speech = Speech(format=format, reasoning=reasoning_named(format.reasoning))
    conversation = Conversation(turns=(Turn(role="user", parts=(Text("Hi."),)),), tools=tools)
    best = (float("inf"), float("inf"))
    for _ in range(_ROUNDS):
        for cache in (lowering.lowered, patterns.problem, patterns.is_exhausted, lark.problem):
            cache.cache_clear()
        grammars, times = GrammarCache(lambda text: None, "always"), []
        for _ in range(2):
            start = time.process_time()
            await grammars.held(conversation, GenerationParams(), speech, "llguidance")
            times.append(1000 * (time.process_time() - start))
        best = min(best, (times[0], times[1]))
    return best


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tools", type=int, default=50)
    options = parser.parse_args()
    compiler.embedded()
    tools = recorded(options.tools)
    found = {name: asyncio.run(measure(name, tools)) for name, format in registry().items() if format.grammar}
    print("| format | first, ms | again, ms |\n|---|---|---|")
    for name, (first, again) in sorted(found.items(), key=lambda item: -item[1][0]):
        print(f"| {name} | {first:.0f} | {again:.1f} |")


if __name__ == "__main__":
    main()
