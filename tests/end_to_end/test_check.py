"""The conformance suite on this server: all of it over a script, some of it with the embedded engine and its model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from antiphon_check.registry import checks
from antiphon_check.runner import chosen, run
from antiphon_check.server import Target

from .conftest import Server, serving

_WHICH = (
    "basic.stream*",
    "basic.error*",
    "agent.tool_stream",
    "agent.tool_nested",
    "agent.count_usage",
    "full.structured",
)
_KEY = "key-of-the-check"


def _call(name: str, **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


RULES = (
    {"when": "Describe your day", "text": json.dumps({"mood": "good", "done": True})},
    {"when": "27 times 453[^§]*assistant\n<think>\n\n</think>", "text": "It is 12231."},
    {"when": "27 times 453", "text": "<think>\n27 times 453 is 12231.\n</think>\n\nIt is 12231."},
    {
        "when": "Make a plan",
        "text": _call("plan", steps=[{"kind": "edit", "count": 1}], urgent=False, owner=None),
    },
    {"when": '"bash"[^§]*weather in Graz', "text": _call("bash", command="ls")},
    {"when": "weather in Graz", "text": _call("get_weather", city="Graz")},
    {"when": "<id>nefi</id>", "text": "As it says, <cite nefi.2>it has 97 steps</cite>."},
    {"text": "Hello there, this is a reply of some words, and then of some more."},
)
"""What a model would do that is fit for everything: it thinks, calls what it must, and cites."""


def test_every_check_passes(tmp_path: Path) -> None:
    """With a model that does what checks need, each is judged, and passes."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"rules": RULES, "window": 4096, "slots": 4}), "utf-8")
    with serving(tmp_path, f"scripted+{script}", "--api-key", _KEY) as server:
        results = run(Target(server.url, key=_KEY, seconds=600), checks())
    assert [(result.check.id, result.why) for result in results if result.outcome != "passed"] == []


def test_no_check_fails(real_server: Server) -> None:
    """Whatever the model says, no check fails. (The rest of the suite takes minutes on a busy machine.)"""
    results = run(Target(real_server.url, seconds=600), chosen(_WHICH))
    assert [(result.check.id, result.why) for result in results if result.outcome == "failed"] == []
