"""How sure are calls and structured outputs? Asks a running server for many of each and judges every reply by an
independent validator: `python -m bench.guarantees http://127.0.0.1:8000 [number of each]`.

Ten schemas, temperature 1, streamed and not, with and without thinking asked for: calls that are forced, structured
outputs, and calls that the model makes of its own accord, because earlier turns of the conversation have some. Prints a
line of each; the exit status is 1 when any reply was invalid. A server that was started with `--hold-calls never` shows
what the last kind would be without.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import anthropic
import jsonschema_rs

from bench.kept import Kept

_CALL_TOKENS = 120
"""What a call of these tools takes, and more. A model that writes on is cut."""

SHORT = {"type": "string", "maxLength": 24}
SCHEMAS: dict[str, dict[str, Any]] = {
    "plain": {"type": "object", "properties": {"city": SHORT}, "required": ["city"]},
    "nested": {
        "type": "object",
        "properties": {
            "a": {
                "type": "object",
                "properties": {"b": {"type": "object", "properties": {"c": SHORT}, "required": ["c"]}},
                "required": ["b"],
            }
        },
        "required": ["a"],
    },
    "enums": {
        "type": "object",
        "properties": {"unit": {"enum": ["celsius", "fahrenheit", None]}, "level": {"enum": [1, 2, 3]}},
        "required": ["unit", "level"],
    },
    "arrays": {
        "type": "object",
        "properties": {
            "tags": {"type": "array", "items": SHORT, "minItems": 1, "maxItems": 3},
            "grid": {
                "type": "array",
                "maxItems": 2,
                "items": {"type": "array", "maxItems": 2, "items": {"type": "integer", "minimum": 0, "maximum": 9}},
            },
        },
        "required": ["tags", "grid"],
    },
    "any_of": {
        "type": "object",
        "properties": {"id": {"anyOf": [{"type": "integer", "maximum": 9999, "minimum": 0}, SHORT, {"type": "null"}]}},
        "required": ["id"],
    },
    "formats": {
        "type": "object",
        "properties": {
            "day": {"type": "string", "format": "date"},
            "at": {"type": "string", "format": "date-time"},
            "key": {"type": "string", "format": "uuid"},
        },
        "required": ["day", "at", "key"],
    },
    "recursive": {
        "type": "object",
        "properties": {"tree": {"$ref": "#/$defs/node"}},
        "required": ["tree"],
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "name": SHORT,
                    "children": {"type": "array", "maxItems": 1, "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["name"],
            }
        },
    },
    "unicode": {
        "type": "object",
        "properties": {
            "größe": {"type": "number", "minimum": 0, "maximum": 9},
            "名前": SHORT,
            "emoji 🙂": {"type": "boolean"},
        },
        "required": ["größe", "名前"],
    },
    "patterns": {
        "type": "object",
        "properties": {
            "zip": {"type": "string", "pattern": "^[0-9]{5}$"},
            "code": {"type": "string", "pattern": "^[A-Z]{2}-\\d{1,3}$"},
        },
        "required": ["zip"],
    },
    "optional": {
        "type": "object",
        "properties": {
            "q": SHORT,
            "limit": {"type": ["integer", "null"], "minimum": 1, "maximum": 50},
            "deep": {"type": "boolean"},
        },
        "required": ["q"],
        "additionalProperties": False,
    },
}  # fmt: skip


def ask(client: anthropic.Anthropic, number: int, *, structured: bool) -> str:
    """One request; returns `valid`, or what was wrong, or `cut` for a reply that met its token limit."""
    name, schema = list(SCHEMAS.items())[number % len(SCHEMAS)]
    streamed, thinking = bool(number // 10 % 2), bool(number // 20 % 2)
    body: dict[str, Any] = {
        "model": "claude-test",
        "max_tokens": 1500,
        "messages": [{"role": "user", "content": f"Fill in the form about subject number {number}."}],
        "extra_body": {"temperature": 1.0},
    }
    if thinking:
        body["thinking"] = {"type": "enabled", "budget_tokens": 1024}
    if structured:
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    else:
        body["tools"] = [{"name": f"fill_{each}", "input_schema": SCHEMAS[each]} for each in SCHEMAS]
        body["tool_choice"] = {"type": "any"} if number % 3 == 0 else {"type": "tool", "name": f"fill_{name}"}
    if streamed:
        with client.messages.stream(**body) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(**body)
    return judge(message, schema, name, structured)


def offer(client: anthropic.Anthropic, number: int) -> str:
    """One request that may be answered with a call or without. Returns `valid` or what was wrong of the calls in the
    reply, `cut`, or `text` where there was none."""
    tools: Any = [{"name": f"fill_{each}", "input_schema": SCHEMAS[each]} for each in SCHEMAS]
    given: Any = [("plain", {"city": "Graz"}), ("enums", {"unit": "celsius", "level": 2}), ("plain", {"city": "Bern"})]
    turns: Any = []
    for at, (name, value) in enumerate(given):
        call = {"type": "tool_use", "id": f"toolu_{at}", "name": f"fill_{name}", "input": value}
        turns.append({"role": "user", "content": f"Fill in the form `{name}` about subject number {at}."})
        turns.append({"role": "assistant", "content": [call]})
        turns.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": "ok"}]})
        turns.append({"role": "assistant", "content": "Done."})
    asked = list(SCHEMAS)[number % len(SCHEMAS)]
    turns.append({"role": "user", "content": f"Fill in the form `{asked}` about subject number {number}."})
    message = client.messages.create(
        model="claude-test",
        max_tokens=_CALL_TOKENS,
        system="Every request is answered with a call of the tool whose name has the form's name in it.",
        tools=tools,
        messages=turns,
        extra_body={"temperature": 1.0},
    )
    calls = [block for block in message.content if block.type == "tool_use"]
    if message.stop_reason == "max_tokens":
        return "cut"
    if not calls:
        return "text"
    found = [
        verdict(SCHEMAS[name], call.input) if (name := call.name.removeprefix("fill_")) in SCHEMAS else "no such tool"
        for call in calls
    ]
    return next((each.partition(":")[0] for each in found if each != "valid"), "valid")


def judge(message: Any, schema: dict[str, Any], name: str, structured: bool) -> str:
    """`valid`, `cut`, or what is wrong with a reply."""
    if message.stop_reason == "max_tokens":
        return "cut"
    blocks = [block for block in message.content if block.type != "thinking"]
    if structured:
        text = "".join(block.text for block in blocks)
        return (
            verdict(schema, json.loads(text))
            if message.stop_reason == "end_turn"
            else f"ended by {message.stop_reason}"
        )
    if message.stop_reason != "tool_use" or not blocks:
        return f"ended by {message.stop_reason}"
    for block in blocks:
        if block.type != "tool_use" or block.name.removeprefix("fill_") not in SCHEMAS:
            return f"a block {block}"
        result = verdict(SCHEMAS[block.name.removeprefix("fill_")], block.input)
        if result != "valid":
            return result
    return "valid"


def verdict(schema: dict[str, Any], value: Any) -> str:
    """What the validator says."""
    try:
        jsonschema_rs.validate(schema, value, validate_formats=True)
    except jsonschema_rs.ValidationError as error:
        return f"invalid: {error.message}"
    return "valid"


KINDS: dict[str, Callable[[anthropic.Anthropic, int], str]] = {
    "own": offer,
    "forced": partial(ask, structured=False),
    "structured": partial(ask, structured=True),
}
"""Calls of the model's own accord, forced calls, structured outputs."""


def main() -> int:
    """Ask, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("number", nargs="?", type=int, default=200, help="requests of each kind")
    parser.add_argument("--kind", choices=KINDS, help="only this one")
    parser.add_argument("--keep", type=Path, help="the file for results")
    parser.add_argument("--seconds", type=float, default=0, help="how long to ask for more (0: to the end)")
    options = parser.parse_args()
    client = anthropic.Anthropic(base_url=options.url, api_key="any", timeout=600)
    names = [f"{kind} {at}" for kind in KINDS if options.kind in (None, kind) for at in range(options.number)]
    kept = Kept(options.keep, options.seconds)

    def one(name: str) -> str:
        kind, _, number = name.partition(" ")
        return KINDS[kind](client, int(number))

    due = kept.due(names)
    with ThreadPoolExecutor(4) as pool:
        while asked := list(itertools.islice(due, 8)):
            for name, result in zip(asked, pool.map(one, asked), strict=True):
                kept.add(name, result)
    counts = {kind: Counter[str]() for kind in KINDS}
    for name, result in kept.results.items():
        counts[name.partition(" ")[0]][result] += 1
    bad = 0
    for kind, results in counts.items():
        begun = results.total() - results["text"]
        wrong = begun - results["valid"] - results["cut"]
        bad += wrong
        if begun:
            print(f"{kind}: {results.total()}, {100 * (1 - wrong / begun):.1f} % of {begun} are right: {dict(results)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
