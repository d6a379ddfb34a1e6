"""The parser's time a token, early and late in a reply of 60,000 tokens: it must not grow.

Run it as `python bench/parsing.py [FORMAT …]`. For every format with an example, the example's argument is made as long
as the reply, and so is a text before it. Printed are microseconds a token at the beginning and at the end, and the
ratio of the two. Times are of this machine; the ratio is what counts."""

from __future__ import annotations

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


def tokens(text: list[str]) -> Iterator[str]:
    """The long middle of a reply."""
    for index in range(TOKENS):
        yield text[index % len(text)]


def measure(format: Format, before: str, text: list[str]) -> tuple[float, float]:
    """Microseconds a token near the beginning and at the end."""
    numbers = count()
    parser = Parser(format, reasoning_named(format.reasoning), TOOLS, new_id=lambda: f"toolu_{next(numbers)}")
    parser.feed(before)
    times: list[float] = []
    for token in tokens(text):
        start = time.perf_counter()
        parser.feed(token)
        times.append(time.perf_counter() - start)
    parser.finish()
    return _typical(times[100 : 100 + SPAN]), _typical(times[-SPAN:])


def _typical(times: list[float]) -> float:
    ordered = sorted(times)[: len(times) * 9 // 10]
    return 1e6 * sum(ordered) / len(ordered)


def main(names: list[str]) -> None:
    """Measure the formats of these names, or all."""
    print(f"{'format':20} {'where':10} {'early µs':>9} {'late µs':>9} {'ratio':>6}")
    for name, format in registry().items():
        if format.example is None or (names and name not in names):
            continue
        places = [("text", "")]
        head, found, _ = format.example.raw.partition("a b")
        if found:
            places.append(("argument", head))
        for place, before in places:
            early, late = measure(format, before, PROSE)
            print(f"{name:20} {place:10} {early:9.2f} {late:9.2f} {late / early:6.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
