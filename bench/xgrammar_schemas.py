"""What xgrammar takes of the schemas of `bench.schemas`. Run by a Python that has xgrammar, which this project has not.

Reads a line of JSON for each schema: itself and its instances, each written in one or more orders of its members.
Writes a line for each: null if no grammar was made of it, or for each instance whether that allows one of its orders.

Imports nothing of this project. Each schema has a process of its own, since some may end it, or take too long.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import xgrammar

_LONGEST = 10
"""Seconds for one schema and its instances."""


def main() -> None:
    vocabulary = [bytes([value]) for value in range(256)] + [b"<end>"]
    tokens = xgrammar.TokenizerInfo(vocabulary, stop_token_ids=[256])
    compiler = xgrammar.GrammarCompiler(tokens, max_threads=1, cache_enabled=False)
    for line in sys.stdin:
        schema, instances = json.loads(line)
        print(json.dumps(_alone(compiler, schema, instances)), flush=True)


def _alone(compiler: Any, schema: Any, instances: list[list[str]]) -> list[bool] | None:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(_LONGEST)
        # What the library says of a schema it does not take goes to the terminal.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.write(writer, json.dumps(_allowed(compiler, schema, instances)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as result:
        written = result.read()
    os.waitpid(child, 0)
    return json.loads(written) if written else None


def _allowed(compiler: Any, schema: Any, instances: list[list[str]]) -> list[bool] | None:
    try:
        # Objects stay as open as the schema leaves them.
        grammar = compiler.compile_json_schema(json.dumps(schema), strict_mode=False)
    except Exception:  # whatever native code raises
        return None
    return [any(_allows(grammar, text) for text in texts) for texts in instances]


def _allows(grammar: Any, text: str) -> bool:
    matcher = xgrammar.GrammarMatcher(grammar)
    return bool(matcher.accept_string(text) and matcher.is_completed())


if __name__ == "__main__":
    main()
