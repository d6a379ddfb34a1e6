"""The official OpenAI SDK, unmodified, over a loopback socket."""

from __future__ import annotations

import sys

import pytest

from tests.end_to_end.conftest import HERE, Server, run_client

pytestmark = pytest.mark.xdist_group("engine")


def ask(server: Server, kind: str) -> None:
    run_client([sys.executable, str(HERE / "openai_client.py"), server.url, "default", kind])


def test_the_sdk_works_on_a_real_model(real_server: Server) -> None:
    """Text, streams, forced tools, functions, structured output, stops, models and errors on the real model."""
    ask(real_server, "real")


def test_the_sdk_works_as_the_script_has_it(scripted_server: Server) -> None:
    """Reasoning, parallel tools, a tool loop and failures in mid-stream, as the script has them."""
    ask(scripted_server, "scripted")
