"""The official SDKs, unmodified, over a loopback socket: they cannot tell the server from the original by shape."""

from __future__ import annotations

import shutil
import sys

import pytest

from tests.end_to_end.conftest import CLIENTS, HERE, Server, run_client

pytestmark = pytest.mark.xdist_group("engine")

# The newest SDK is installed with the tests; an early generation of it and the TypeScript one lie apart.
PYTHON = {"newest": "", "early": str(CLIENTS / "python-early")}


def python(generation: str, server: Server, kind: str) -> None:
    if PYTHON[generation] and not CLIENTS.exists():
        pytest.skip("`make clients` has not installed the other SDKs")
    program = str(HERE / "messages_client.py")
    run_client([sys.executable, program, server.url, "claude-sonnet-4-5", kind], PYTHON[generation])


@pytest.mark.parametrize("generation", PYTHON)
def test_the_python_sdk_works_on_a_real_model(generation: str, real_server: Server) -> None:
    """Text, streams, forced tools, counting, stop sequences, models and errors on the real model."""
    python(generation, real_server, "real")


@pytest.mark.parametrize("generation", PYTHON)
def test_the_python_sdk_works_as_the_script_has_it(generation: str, scripted_server: Server) -> None:
    """Thinking, parallel tools, a tool loop and failures in mid-stream, as the script has them."""
    python(generation, scripted_server, "scripted")


@pytest.mark.parametrize("kind", ["real", "scripted"])
def test_the_typescript_sdk_works(kind: str, real_server: Server, scripted_server: Server) -> None:
    """The same in the TypeScript SDK."""
    node = shutil.which("node")
    if node is None or not (CLIENTS / "node" / "node_modules").exists():
        pytest.skip("`make clients` has not installed the TypeScript SDK, or there is no node")
    server = real_server if kind == "real" else scripted_server
    program = CLIENTS / "node" / "messages_client.mjs"
    program.write_text((HERE / "messages_client.mjs").read_text())
    run_client([node, str(program), server.url, "claude-sonnet-4-5", kind])
