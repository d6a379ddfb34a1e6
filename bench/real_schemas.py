"""Real schemas, asked of a real model: `python -m bench.real_schemas URL DATA [--each 12] [--keep FILE]`.

DATA is the folder `maskbench/data` of github.com/guidance-ai/jsonschemabench. So many schemas of each of its sets, at
temperature 1, as structured output and as forced call, streamed and whole. Every reply must be valid by an independent
validator, or have met its token limit and then be a beginning of what its grammar takes. Prints what came of each set;
the exit status is 1 when any reply was neither, or the server failed. With `--keep` and `--seconds` several runs make
one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import anthropic
import jsonschema_rs

from antiphon.api.errors import BadRequest
from bench.kept import Kept
from bench.schemas import set_of
from tests.constraint.matching import Grammar

_CLOSED = re.compile(r'(null)?"?[]}]*\Z')


class Question(NamedTuple):
    """One request, and the set that its schema is of."""

    set: str
    file: str
    schema: dict[str, Any]
    called: bool
    streamed: bool

    @property
    def name(self) -> str:
        """What tells it from all others."""
        return f"{self.file} {'call' if self.called else 'output'} {'streamed' if self.streamed else 'whole'}"


def questions(data: Path, each: int, longest: int) -> list[Question]:
    """The schemas of every set up to so many characters, evenly spread over it, in all four ways; one of each set, then
    the next of each."""
    sets: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for path in sorted(data.glob("*.json")):
        found = json.loads(path.read_text("utf-8"))
        fits = len(json.dumps(found["schema"])) <= longest
        if isinstance(found["schema"], dict) and any(test["valid"] for test in found["tests"]) and fits:
            sets[set_of(path)].append((path.name, found["schema"]))
    chosen = [
        (name, *schemas[at * len(schemas) // min(each, len(schemas))])
        for at in range(each)
        for name, schemas in sets.items()
        if at < len(schemas)
    ]
    return [
        Question(*one, called, streamed) for one in chosen for called in (False, True) for streamed in (False, True)
    ]


def ask(client: anthropic.Anthropic, question: Question, most_tokens: int) -> str:
    """`valid`, `cut`, `refused` (with the value's path), or what is wrong."""
    body: dict[str, Any] = {
        "model": "claude-test",
        "max_tokens": most_tokens,
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
    return "cut" if text is None or _begins(question, text) else f"cut, and no beginning: {text}"[:400]


def _begins(question: Question, text: str) -> bool:
    """Whether the text begins what the grammar takes. What was open in a call when it was cut is closed by the server,
    so that every client can read it: there a beginning is what remains without that."""
    try:
        grammar = Grammar(question.schema, closing=True)
    except BadRequest:
        return False
    least = len(_CLOSED.sub("", text)) if question.called else len(text)
    return any(grammar.begins(text[:end]) for end in range(least, len(text) + 1))


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
    parser.add_argument(
        "--longest", type=int, default=6_000, help="characters of a schema: a window must hold it twice as a tool's"
    )
    parser.add_argument("--tokens", type=int, default=160, help="the most of a reply")
    parser.add_argument("--keep", type=Path, help="the file for results")
    parser.add_argument("--seconds", type=float, default=0, help="how long to ask for more (0: to the end)")
    options = parser.parse_args()
    client = anthropic.Anthropic(base_url=options.url, api_key="any", timeout=600, max_retries=0)
    asked = {question.name: question for question in questions(options.data, options.each, options.longest)}
    kept = Kept(options.keep, options.seconds)
    with ThreadPoolExecutor(4) as pool:
        due = kept.due(asked)
        # A few at a time, so that those that are not due any more are not asked.
        while names := list(itertools.islice(due, 8)):
            results = pool.map(lambda name: ask(client, asked[name], options.tokens), names)
            for name, result in zip(names, results, strict=True):
                kept.add(name, result)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, result in kept.results.items():
        kind = result.partition(":")[0]
        counts[asked[name].set][kind] += 1
        if kind not in _SOUND:
            print(f"{name}: {result}")
    _print_table(counts)
    bad = sum(count for each in counts.values() for kind, count in each.items() if kind not in _SOUND)
    print(f"{len(kept.results)} of {len(asked)}")
    return 1 if bad else 0


_SOUND = {
    "valid": "valid",
    "cut": "cut, and a beginning",
    "told as failed": "told as failed, with the place",
    "refused": "no object can match",
}


def _print_table(counts: dict[str, Counter[str]]) -> None:
    print(
        "\n| | replies | " + " | ".join(_SOUND.values()) + " | anything else |\n|---|---|" + "---|" * (len(_SOUND) + 1)
    )
    for name, each in [*sorted(counts.items()), ("all", sum(counts.values(), Counter()))]:
        sound = [each[kind] for kind in _SOUND]
        print(f"| {name} | " + " | ".join(map(str, [each.total(), *sound, each.total() - sum(sound)])) + " |")


if __name__ == "__main__":
    sys.exit(main())
