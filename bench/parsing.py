"""The parser's CPU time a token, early and late in a reply of 60,000 tokens: it must not grow.

Run it as `python bench/parsing.py [FORMAT …]`. Every format reads a long text, a long JSON answer, a long thinking
where it marks thinking, and a call with a long argument. Printed are microseconds a token at the beginning and at the
end, and the ratio of the two; last the worst ratio of all. Times are of this machine; the ratio is what counts."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from itertools import count

from antiphon.parsing.arguments import Signature
from antiphon.parsing.formats import Format, reasoning_named, registry
from antiphon.parsing.parser import Parser

TOKENS = 60_000
SPAN = 2_000
PROSE = [
    "The ",
    "quick ",
    "brown ",
    "fox ",
    "if ",
    "(a ",
    "< ",
    "b ",
    "&& ",
    "c[0] ",
    "> ",
    "d) ",
    "{",
    "x",
    "();",
    "}\n",
]
TOOLS = {"f": Signature({"type": "object", "properties": {"x": {"type": "string"}}})}


# Where the example's argument is no text, what the opening quote of one can stand in place of.
_VALUE = re.compile(r"""[:=]\s*(?P<value>1|"1"|\[1\]|'x')""")


def tokens(text: list[str]) -> Iterator[str]:
    """The long middle of a reply."""
    for index in range(TOKENS):
        yield text[index % len(text)]


def measure(format: Format, place: str, before: str, text: list[str]) -> tuple[float, float]:
    """Microseconds a token near the beginning and at the end."""
    numbers = count()
    parser = Parser(format, reasoning_named(format.reasoning), TOOLS, new_id=lambda: f"toolu_{next(numbers)}")
    parser.feed(before)
    times: list[float] = []
    for token in tokens(text):
        start = time.thread_time()
        parser.feed(token)
        times.append(time.thread_time() - start)
    parser.finish()
    assert (parser.calls > 0) == (place == "argument"), f"{format.name} took the {place} for something else"
    return _typical(times[100 : 100 + SPAN]), _typical(times[-SPAN:])


def _typical(times: list[float]) -> float:
    ordered = sorted(times)[: len(times) * 9 // 10]
    return 1e6 * sum(ordered) / len(ordered)


def places(format: Format) -> Iterator[tuple[str, str]]:
    """Where the long middle stands, and what comes before it."""
    yield "text", ""
    yield "data", '{"answer": "'
    reasoning = reasoning_named(format.reasoning)
    if reasoning.opens:
        yield "thinking", reasoning.opens[0]
    if format.example:
        head, found, _ = format.example.raw.partition("a b")
        value = _VALUE.search(format.example.raw)
        assert found or value, f"the example of {format.name} has no argument"
        yield "argument", head if found or not value else format.example.raw[: value.start("value")] + '"'


def main(names: list[str]) -> None:
    """Measure the formats of these names, or all."""
    print(f"{'format':20} {'where':10} {'early µs':>9} {'late µs':>9} {'ratio':>6}")
    worst = 0.0, ""
    for name, format in registry().items():
        if names and name not in names:
            continue
        for place, before in places(format):
            early, late = measure(format, place, before, PROSE)
            worst = max(worst, (late / early, f"{name} {place}"))
            print(f"{name:20} {place:10} {early:9.2f} {late:9.2f} {late / early:6.2f}", flush=True)
    print(f"worst: {worst[0]:.2f} ({worst[1]})")


if __name__ == "__main__":
    main(sys.argv[1:])
