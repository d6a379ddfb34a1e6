"""Schemas that were made to hurt: `python -m bench.hostile [number] [--server]`, or `make hostile`.

Each is lowered, made into a grammar and compiled here, and the slowest and the memory are told. With `--server` a real
server is started and sent them as well (`hostile_server.py`). The exit status is 1 when one takes above 10 s or all of
them 1 GB, when one ends in something else than a grammar or a refusal, or breaks the server.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from antiphon.api.errors import BadRequest
from antiphon.constraint import Json, lark
from antiphon.constraint.schema import lower
from bench import hostile_server
from bench.hostile_server import LARGEST, LONGEST

Schema = dict[str, Any]


def schemas(number: int, seed: int = 0) -> Iterator[tuple[str, Schema]]:
    """Hostile schemas by the name of their kind, each time the same."""
    for index in range(number):
        source = random.Random(f"{seed}:{index}")
        kind = _KINDS[index % len(_KINDS)]
        yield kind.__name__.strip("_"), kind(source)


def _size(source: random.Random) -> int:
    return int(10 ** source.uniform(1, 9))


def _member(schema: Schema) -> Schema:
    return {"type": "object", "properties": {"a": schema}, "required": ["a"]}


def _repeats(source: random.Random) -> Schema:
    pattern = source.choice(["a", "[a-z]", ".", "(a|b)", r"\w"])
    for _ in range(source.randint(1, 5)):
        pattern = f"({pattern}{{{source.choice(['0', '1', '50'])},{source.choice([50, 1000, 100_000])}}})"
    return _member({"type": "string", "pattern": f"^{pattern}$", "maxLength": _size(source)})


def _slow_patterns(source: random.Random) -> Schema:
    parts = source.choices(["(a+)+", "(a|aa)*", "(.*a){12}", "(a?){40}a{40}", "[^b]*b?", r"(\d+)*", "(?=a)"], k=4)
    return _member({"type": "string", "pattern": "".join(parts), "format": source.choice(["email", "uri"])})


def _enums(source: random.Random) -> Schema:
    size = min(_size(source), 100_000)
    return _member({"enum": [f"{index}{'x' * source.choice([1, 30])}" for index in range(size)]})


def _long_text(source: random.Random) -> Schema:
    text = source.choice('a"\\\n€') * min(_size(source), 1_000_000)
    return source.choice([{"const": text}, _member({"enum": [text]}), {"required": [text], "type": "object"}])


def _sizes(source: random.Random) -> Schema:
    schema: Schema = {"type": source.choice(["integer", "string", "boolean"])}
    for _ in range(source.randint(1, 6)):
        schema = {"type": "array", "items": schema, source.choice(["minItems", "maxItems"]): _size(source)}
    return _member({"anyOf": [schema, {"type": "string", source.choice(["minLength", "maxLength"]): _size(source)}]})


def _counts(source: random.Random) -> Schema:
    bounds = {"minProperties": _size(source), "maxProperties": _size(source)}
    return {"type": "object", "additionalProperties": {"type": "integer"}, **bounds}


def _nesting(source: random.Random) -> Schema:
    schema: Schema = {"type": "integer"}
    for _ in range(source.choice([50, 200, 400, 10_000])):
        schema = source.choice([_member, lambda inner: {"items": inner}, lambda inner: {"anyOf": [inner, False]}])(
            schema
        )
    return schema


def _loops(source: random.Random) -> Schema:
    size = source.choice([1, 2, 5, 2_000])
    way = source.choice(["allOf", "anyOf", "oneOf", "items", "not", "then", "properties", "required"])
    definitions: Schema = {}
    for index in range(size):
        to: Schema = {"$ref": f"#/$defs/n{(index + 1) % size}"}
        member = {"properties": {"n": to}, "required": ["n"]} if way in ("properties", "required") else {}
        inner: Any = [to, {"type": "object"}] if way.endswith("Of") else to
        definitions[f"n{index}"] = member or {way: inner, "if": True}
    return {"$ref": "#/$defs/n0", "$defs": definitions}


def _elsewhere(source: random.Random) -> Schema:
    where = [
        "http://127.0.0.1:1/x",
        "file:///etc/passwd",
        "#/$defs/none",
        "https://example.com/s#a",
        "//",
        "\x00",
        "#a/b",
    ]
    return _member({"$ref": source.choice(where)})


def _contradictions(source: random.Random) -> Schema:
    parts = source.sample(
        [{"type": "string"}, {"minimum": 5, "type": "integer"}, {"maximum": 4}, {"const": 4.5}, False], 2
    )
    return _member({"allOf": [*parts, {"not": parts[0]}]})


def _products(source: random.Random) -> Schema:
    def choice(keyword: str) -> Schema:
        many = source.choice([3, 20, 200])
        each = [
            {"properties": {f"p{source.randint(0, many)}": {"const": n}}, "required": [f"p{n}"]} for n in range(many)
        ]
        return {keyword: each}

    return {
        "type": "object",
        "allOf": [choice(source.choice(["anyOf", "oneOf"])) for _ in range(source.randint(2, 12))],
    }


def _dependencies(source: random.Random) -> Schema:
    many = source.choice([5, 60, 400])
    names = [f"p{index}" for index in range(many)]
    return {"type": "object", "dependentRequired": {name: source.sample(names, 3) for name in names}}


def _conditions(source: random.Random) -> Schema:
    schema: Schema = {"required": ["z"]}
    for index in range(source.choice([3, 30, 150])):
        schema = {
            "if": {"properties": {f"p{index}": {"const": index}}},
            "then": {"required": [f"q{index}"]},
            "else": schema,
        }
    return {"type": "object", **schema}


def _members(source: random.Random) -> Schema:
    names = [f"p{index}" for index in range(source.choice([100, 900, 10_000]))]
    needed = source.sample(names, source.choice([0, len(names) // 2]))
    return {"type": "object", "properties": {name: {"type": "number"} for name in names}, "required": needed}


def _name_patterns(source: random.Random) -> Schema:
    many = source.choice([3, 40, 300])
    patterns = {
        f"{source.choice(['^', ''])}{source.choice('abc')}{index}?": {"type": "integer"} for index in range(many)
    }
    return {"type": "object", "patternProperties": patterns, "additionalProperties": source.choice([True, False])}


def _numbers(source: random.Random) -> Schema:
    values = [1e308, -1e308, 5e-324, 10**400, 2**63, -(2**64), 0.1, 1e-300, 1e22]
    keywords = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]
    bounds = {keyword: source.choice(values) for keyword in source.sample(keywords, 2)}
    return _member({"type": source.choice(["integer", "number"]), **bounds})


def _garbage(source: random.Random) -> Schema:
    keywords = ["type", "enum", "properties", "required", "items", "allOf", "$ref", "$id", "pattern", "minItems", "not"]
    values: list[Any] = [None, True, -1, 1.5, "x", [], {}, [[]], [None], {"": []}, ["a", "a"], 10**30, "[", {"$ref": 1}]
    return {keyword: source.choice(values) for keyword in source.sample(keywords, 4)}


_KINDS: list[Callable[[random.Random], Schema]] = [
    *(_repeats, _slow_patterns, _enums, _long_text, _sizes, _counts, _nesting, _loops, _elsewhere, _contradictions),
    *(_products, _dependencies, _conditions, _members, _name_patterns, _numbers, _garbage),
]


def outcome(schema: Schema) -> str:
    """What becomes of a schema: `held`, `in part` or `refused`. Raises for everything else."""
    try:
        lowered = lower(schema, "llguidance", path="output_config.format.schema", window=4096)
    except BadRequest:
        return "refused"
    if problem := lark.problem(lark.lower(Json(lowered.schema), lambda text: None)):
        raise ValueError(problem)
    return "in part" if lowered.unheld else "held"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", nargs="?", type=int, default=2000)
    parser.add_argument("--server", action="store_true", help="send them to a server with the default model, too")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    told: Counter[str] = Counter()
    slowest: dict[str, float] = {}
    wrong = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for index, (kind, schema) in enumerate(schemas(options.number, options.seed)):
        start = time.perf_counter()
        try:
            told[outcome(schema)] += 1
        except Exception as error:  # whatever it is, it is to be told with the schema's number
            wrong.append(f"{index} {kind}: {type(error).__name__}: {str(error)[:200]}")
        slowest[kind] = max(slowest.get(kind, 0.0), time.perf_counter() - start)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(f"{options.number} schemas: " + ", ".join(f"{count} {name}" for name, count in told.items()))
    print(f"memory: {grown} MB more at most; slowest by kind:")
    print(
        "\n".join(f"  {seconds:7.3f} s  {kind}" for kind, seconds in sorted(slowest.items(), key=lambda each: -each[1]))
    )
    if options.server:
        borne = hostile_server.bear(schemas(options.number, options.seed))
        print(borne.told)
        wrong += borne.wrong
    print("\n".join(wrong))
    return int(bool(wrong) or grown > LARGEST or max(slowest.values()) > LONGEST)


if __name__ == "__main__":
    sys.exit(main())
