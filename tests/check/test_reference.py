"""The checks on servers that are right, and on servers that are nothing."""

from __future__ import annotations

import time

import pytest

from antiphon_check.registry import checks
from antiphon_check.runner import run
from antiphon_check.server import Target

from .reference import KEY, Answer, Request, handler, listening, serving


def test_everything_passes_on_the_reference() -> None:
    """No check fails on a server that does everything right, and each can be judged there."""
    with serving() as url:
        results = run(Target(url, key=KEY, seconds=60), checks())
    assert [(result.check.id, result.why) for result in results if result.outcome != "passed"] == []


@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_a_server_that_says_one_thing_scores_nothing(status: int) -> None:
    """A server that answers everything alike passes no check, whatever it answers."""
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens messages"}}
    for value in ({}, error, [], "fine"):

        def respond(request: Request, value: object = value) -> Answer:
            return Answer(status, value, headers={"request-id": "req_1"})

        with listening(handler(respond)) as url:
            results = run(Target(url, seconds=60), checks())
        assert [result.check.id for result in results if result.outcome == "passed"] == []


def test_a_server_that_hangs_scores_nothing() -> None:
    """A server that never answers is given up at once, and passes nothing."""

    def respond(request: Request) -> Answer:
        time.sleep(2)
        return Answer()

    with listening(handler(respond)) as url:
        results = run(Target(url, seconds=0.2), checks())
    assert {result.outcome for result in results} == {"failed"}


def test_a_server_that_is_not_there_scores_nothing() -> None:
    """A port that nobody listens on passes nothing, and every check says why."""
    with listening(handler(lambda request: Answer())) as url:
        pass
    results = run(Target(url, seconds=5), checks())
    assert {result.outcome for result in results} == {"failed"}
    assert all("broke off" in result.why for result in results)
