"""The conformance suite on this server, with the real engine and its small model."""

from __future__ import annotations

from antiphon_check.runner import chosen, run
from antiphon_check.server import Target

from .conftest import Server

_WHICH = (
    "basic.stream*",
    "basic.error*",
    "agent.tool_stream",
    "agent.tool_nested",
    "agent.count_usage",
    "full.structured",
)


def test_no_check_fails(real_server: Server) -> None:
    """Whatever the model says, no check fails. (The rest of the suite takes minutes on a busy machine.)"""
    results = run(Target(real_server.url, seconds=600), chosen(_WHICH))
    assert [(result.check.id, result.why) for result in results if result.outcome == "failed"] == []
