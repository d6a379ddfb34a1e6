"""Hostile schemas sent to a real server, by two clients at once, beside paced streams of somebody else.

The server has the default model, which they are for, and one that is only a clock, which the paced streams come from:
their gaps show whether the worker that both share is held up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

from bench import servers
from tests.faults import processes

LONGEST = 10.0
"""Seconds until the first byte of an answer, or its error. The rest of the answer takes what the model takes."""
LARGEST = 1024
"""Megabytes that the engine, or the worker, may have more than before."""
GAP = 0.1
"""Seconds between two tokens of the paced streams, at p99."""
MANY = 5_000
"""Tools of one request."""
_CLIENTS = 2
HEADERS = {"anthropic-version": "2023-06-01", "content-type": "application/json"}

Schema = dict[str, Any]


class Borne(NamedTuple):
    """What came of it, in words, and what went wrong."""

    told: str
    wrong: list[str]


def bear(schemas: Iterable[tuple[str, Schema]]) -> Borne:
    """Send them all, by the name of their kind, and look at the server's processes meanwhile."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with servers.upstream(folder) as clock:
            config = folder / "antiphon.toml"
            models = {"default": "", "paced": f"llama.cpp+{clock.url}"}
            tables = [f'[models.{name}]\nmodel = "{model}"\n' for name, model in models.items()]
            config.write_text('default_model = "default"\n' + "".join(tables))
            with servers.antiphon(folder, "", "--config", str(config)) as server:
                return _Trial(server).run(schemas)


class _Trial:
    def __init__(self, server: servers.Running) -> None:
        self._server = server
        pid = server.process.pid
        self._places = {"engine": processes.engines(pid)[0], "worker": processes.workers(pid)[0]}
        self._client = httpx2.Client(base_url=server.url, timeout=120, headers=HEADERS)
        self._statuses: Counter[int] = Counter()
        self._slowest: dict[str, float] = {}
        self._peak = dict.fromkeys(self._places, 0)
        self._gaps: list[float] = []
        self._over = threading.Event()
        self._wrong: list[str] = []

    def run(self, schemas: Iterable[tuple[str, Schema]]) -> Borne:
        self._send(0, "first", {"messages": [{"role": "user", "content": "Go."}]})
        before = {name: processes.memory(pid) for name, pid in self._places.items()}
        beside = threading.Thread(target=self._paced)
        beside.start()
        try:
            with ThreadPoolExecutor(_CLIENTS) as pool:
                for _ in pool.map(lambda each: self._send(*each), requests(schemas)):
                    pass
        finally:
            self._over.set()
            beside.join()
        grown = {name: (self._peak[name] - before[name]) // 2**20 for name in before}
        self._wrong += [f"the {name} grew by {size} MB" for name, size in grown.items() if size > LARGEST]
        self._wrong += [f"a p99 of {gap * 1000:.0f} ms between paced tokens" for gap in self._gaps if gap > GAP]
        kinds = sorted(self._slowest.items(), key=lambda each: -each[1])[:5]
        lines = [
            f"server: {dict(self._statuses)}",
            "slowest: " + ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in kinds),
            "memory: " + ", ".join(f"{name} {size} MB more at most" for name, size in grown.items()),
            f"p99 between paced tokens, of windows of 5 s: {max(self._gaps, default=0) * 1000:.0f} ms at most",
        ]
        return Borne("\n".join(lines), self._wrong)

    def _send(self, number: int, kind: str, fields: dict[str, Any]) -> None:
        asked = {"model": "default", "max_tokens": 8, "messages": [{"role": "user", "content": "Go."}], **fields}
        body = written({**asked, "stream": True})
        start = time.perf_counter()
        try:
            with self._client.stream("POST", "/v1/messages", content=body) as answer:
                pieces = iter(answer.iter_text())
                first = next(pieces, "")
                seconds = time.perf_counter() - start
                text = first + "".join(pieces)
        except httpx2.HTTPError as error:
            self._wrong.append(f"{number} {kind}: the server broke off: {error}")
            return
        self._statuses[answer.status_code] += 1
        self._slowest[kind] = max(self._slowest.get(kind, 0.0), seconds)
        # What is left to check may end in an honest error; everything else is the server's fault.
        honest = answer.status_code < 500 or "does not match its schema" in text
        if not honest or seconds > LONGEST:
            self._wrong.append(f"{number} {kind}: {answer.status_code} after {seconds:.1f} s: {text[:200]}")
        for name, pid in self._places.items():
            try:
                self._peak[name] = max(self._peak[name], processes.memory(pid))
            except OSError:
                self._wrong.append(f"{number} {kind}: the {name} is gone")

    def _paced(self) -> None:
        asked = {"model": "paced", "stream": True, "max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]}
        command = [sys.executable, "-m", "bench.load", self._server.url + "/v1/messages", json.dumps(asked)]
        while not self._over.is_set():
            done = subprocess.run(
                [*command, "--streams", "4", "--seconds", "5"], capture_output=True, check=True, text=True
            )
            self._gaps.append(json.loads(done.stdout)["gap_p99"])


def requests(schemas: Iterable[tuple[str, Schema]]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Each schema in a request: that of the output, of a tool that must be called, or of one that may be. Every
    hundredth is followed by one with very many tools, or with the last schemas as that many tools."""
    last: list[Schema] = []
    for number, (kind, schema) in enumerate(schemas):
        tool = {"name": "f", "input_schema": {**schema, "type": "object"}}
        if number % 3 == 0:
            yield number, kind, {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
        elif number % 3 == 1:
            yield number, kind, {"tools": [tool], "tool_choice": {"type": "tool", "name": "f"}}
        else:
            yield number, kind, {"tools": [tool]}
        last = [*last[-19:], tool["input_schema"]]
        if number % 100 == 99:
            several = number // 100 % 2
            given = last if several else [{"type": "object", "properties": {"a": {"type": "integer"}}}] * MANY
            tools = [{"name": f"f{index}", "input_schema": each} for index, each in enumerate(given)]
            yield number, "hostile tools" if several else "many tools", {"tools": tools, "tool_choice": {"type": "any"}}


def written(value: Any) -> bytes:
    """The JSON of a value, however deep it is nested."""
    parts: list[str] = []
    left: list[Any] = [value]
    while left:
        match left.pop():
            case _Text(text):
                parts.append(text)
            case dict() as members:
                items = [[_Text(f"{json.dumps(key)}:"), item, _Text(",")] for key, item in members.items()]
                left += reversed([_Text("{"), *[each for item in items for each in item][:-1], _Text("}")])
            case list() as members:
                items = [[item, _Text(",")] for item in members]
                left += reversed([_Text("["), *[each for item in items for each in item][:-1], _Text("]")])
            case scalar:
                parts.append(json.dumps(scalar))
    return "".join(parts).encode()


class _Text(NamedTuple):
    text: str
