"""Real schemas, asked of a real model: `python -m bench.real_schemas URL DATA [--each 12]`.

DATA is the folder `maskbench/data` of github.com/guidance-ai/jsonschemabench. So many schemas of each of its sets, at
temperature 1, as structured output and as forced call, streamed and whole. Every reply must be valid by an independent
validator, or have met its token limit and then be a beginning of what its grammar takes. Prints what came of each set;
the exit status is 1 when any reply was neither, or the server failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import anthropic
import jsonschema_rs

from antiphon.api.errors import BadRequest
from bench.schemas import set_of
from tests.constraint.matching import Grammar

_MOST_TOKENS = 160
_LONGEST = 6_000
"""Of a schema, in characters: a window of 8k tokens must hold it twice, since a tool's is in the prompt."""


class Question(NamedTuple):
    """One request, and the set that its schema is of."""

    set: str
    file: str
    schema: dict[str, Any]
    called: bool
    streamed: bool


def questions(data: Path, each: int) -> list[Question]:
    """The schemas of every set, evenly spread over it, in all four ways."""
    sets: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for path in sorted(data.glob("*.json")):
        found = json.loads(path.read_text("utf-8"))
        fits = len(json.dumps(found["schema"])) <= _LONGEST
        if isinstance(found["schema"], dict) and any(test["valid"] for test in found["tests"]) and fits:
            sets[set_of(path)].append((path.name, found["schema"]))
    chosen = [
        (name, *schemas[at * len(schemas) // min(each, len(schemas))])
        for name, schemas in sets.items()
        for at in range(min(each, len(schemas)))
    ]
    return [
        Question(*one, called, streamed) for one in chosen for called in (False, True) for streamed in (False, True)
    ]


def ask(client: anthropic.Anthropic, question: Question) -> str:
    """`valid`, `cut`, `refused` (with the value's path), or what is wrong."""
    body: dict[str, Any] = {
        "model": "claude-test",
        "max_tokens": _MOST_TOKENS,
        "messages": [{"role": "user", "content": "Make up a short example."}],
        "extra_body": {"temperature": 1.0},
    }
    if question.called:
        body["tools"] = [{"name": "f", "description": "Takes an example.", "input_schema": question.schema}]
        body["tool_choice"] = {"type": "tool", "name": "f"}
    else:
        body["output_config"] = {"format": {"type": "json_schema", "schema": question.schema}}
    try:
        if not question.streamed:
            return _judged(question, client.messages.create(**body), None)
        with client.messages.stream(**body) as stream:
            written = "".join(event.partial_json for event in stream if event.type == "input_json")
            return _judged(question, stream.get_final_message(), written)
    except anthropic.APIError as error:
        # What is left to check may fail at every attempt; that is said, with the place.
        honest = "does not match its schema: at $" in str(error)
        no_object = question.called and isinstance(error, anthropic.BadRequestError)
        return "told as failed" if honest else "refused" if no_object else f"failed: {error}"


def _judged(question: Question, message: Any, written: str | None) -> str:
    cut = message.stop_reason == "max_tokens"
    if question.called:
        calls = [block for block in message.content if block.type == "tool_use"]
        if len(calls) != 1 or len(message.content) != 1:
            return "cut" if cut and not message.content else f"no call: {message.content}"[:200]
        if not cut:
            return _verdict(question.schema, calls[0].input)
        text = written
    else:
        text = "".join(block.text for block in message.content)
        if not cut:
            try:
                return _verdict(question.schema, json.loads(text))
            except ValueError:
                return f"no JSON: {message}"[:600]
    return "cut" if text is None or _begins(question, text) else f"cut, and no beginning: {text}"[:200]


def _begins(question: Question, text: str) -> bool:
    try:
        return Grammar(question.schema, closing=True).begins(text)
    except BadRequest:
        return False


def _verdict(schema: dict[str, Any], value: Any) -> str:
    try:
        jsonschema_rs.validate(schema, value)
    except jsonschema_rs.ValidationError as error:
        return f"invalid: {error.message}"[:200]
    return "valid"


def main() -> int:
    """Ask, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("data", type=Path)
    parser.add_argument("--each", type=int, default=12, help="schemas of each set")
    options = parser.parse_args()
    client = anthropic.Anthropic(base_url=options.url, api_key="any", timeout=600, max_retries=0)
    asked = questions(options.data, options.each)
    began, found, bad = time.monotonic(), defaultdict[str, Counter[str]](Counter), 0
    with ThreadPoolExecutor(4) as pool:
        for question, result in zip(asked, pool.map(lambda each: ask(client, each), asked), strict=True):
            kind = result.partition(":")[0]
            found[question.set][kind] += 1
            if kind not in ("valid", "cut", "told as failed", "refused"):
                bad += 1
                print(f"{question.file} {'call' if question.called else 'output'}: {result}", flush=True)
    for name, counts in found.items():
        print(f"{name}: {dict(counts)}")
    print(f"{len(asked)} in {time.monotonic() - began:.0f} s: {dict(sum(found.values(), Counter()))}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
