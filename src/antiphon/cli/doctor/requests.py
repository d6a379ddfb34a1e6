"""A real request, streamed and with a tool: to the server that runs, or to one that is started for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from antiphon.cli.client import Reply, Server, Unreachable, events, listed
from antiphon.cli.doctor.finding import FAIL, FINE, NOTE, Finding
from antiphon.process import banner, supervisor
from antiphon.settings.sources import Settings, shown

_PATIENCE = 300.0
_SLOW = 5.0
_TOOL = {
    "name": "report",
    "description": "Report how it goes.",
    "input_schema": {
        "type": "object",
        "properties": {"status": {"enum": ["well", "badly"]}, "level": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["status", "level"],
    },
}
_LAST_LINES = 5


class _NotUp(Exception):
    """The server that was started for the request did not come up."""


def engines_and_requests(settings: Settings, *, running: bool, say: Callable[[str], None]) -> Iterator[Finding]:
    """A request to each model, with what it took to have a server for it."""
    if running:
        server = Server(banner.address(settings), next(iter(settings.api_keys), ""))
        yield from _requests(server, "the server's log has a line for each request, with the true cause")
        return
    try:
        with _serving(settings, say) as (server, seconds):
            yield Finding("start", FINE, f"a server with these settings answered after {seconds:.1f} s")
            yield from _requests(server, "start it with --log-level debug and look at what it prints")
    except _NotUp as error:
        yield Finding("start", FAIL, str(error), "`antiphon serve --log-level debug` shows the engine's own log")


@contextlib.contextmanager
def _serving(settings: Settings, say: Callable[[str], None]) -> Iterator[tuple[Server, float]]:
    """A server of these settings on a free loopback port, without keys, and how long it took to start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        changed = msgspec.structs.replace(
            settings, host="127.0.0.1", port=port, api_keys=(), no_auth=False, workers=1, state_dir=folder
        )
        file, log = Path(folder) / "antiphon.toml", Path(folder) / "serve.log"
        file.write_text(shown(changed), "utf-8")
        # The environment would win over the file.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
        say("starting a server of its own, with these settings …")
        begun = time.monotonic()
        with log.open("wb") as out:
            command = [sys.executable, "-m", "antiphon", "serve", "--config", str(file)]
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            while supervisor.ask_health(changed) is None:
                if process.poll() is not None or time.monotonic() - begun > _PATIENCE:
                    raise _NotUp("\n".join(log.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:]))
                time.sleep(0.1)
            yield Server(banner.address(changed)), time.monotonic() - begun
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _requests(server: Server, remedy: str) -> Iterator[Finding]:
    try:
        models = listed(server)
    except Unreachable as error:
        wanted = "give the server's key with --api-key" if " 401" in str(error) else remedy
        yield Finding("a request", FAIL, str(error), wanted)
        return
    for model in models:
        yield _request(server, model.name, remedy)
        yield _holding(server, model.name)


def _request(server: Server, model: str, remedy: str) -> Finding:
    """A forced call of a tool, streamed. A grammar or the format holds the model to it, however small it is."""
    check = f"a request to {model}"
    body = {
        "model": model,
        "max_tokens": 200,
        "stream": True,
        "tools": [_TOOL],
        "tool_choice": {"type": "tool", "name": _TOOL["name"]},
        "messages": [{"role": "user", "content": "How does it go? Report it."}],
    }
    timed = TimedReply()
    try:
        asyncio.run(asyncio.wait_for(_ask(server, body, timed), _PATIENCE))
    except (Unreachable, aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
        return Finding(check, FAIL, str(error) or type(error).__name__, remedy)
    wrong = timed.wrong()
    if wrong:
        return Finding(
            check, FAIL, wrong, "report it, with the server's log; `antiphon parse` shows how an output is read"
        )
    detail = f"streamed a call of a tool, first word after {timed.first:.2f} s, {timed.speed():.0f} tokens/s"
    if timed.first > _SLOW:
        return Finding(
            check, NOTE, detail, "the machine is busy or slow; a smaller model or an attached engine is quicker"
        )
    return Finding(check, FINE, detail)


def _holding(server: Server, model: str) -> Finding:
    """What holds a call that the model makes of its own accord, by what the server says of a schema."""
    check = f"calls by {model}"
    remedy = "what a request forces is checked all the same; docs/engines.md says which engines take grammars"
    body = {"model": model, "max_tokens": 1, "tools": [_TOOL], "messages": [{"role": "user", "content": "Hello"}]}
    try:
        rendered = asyncio.run(asyncio.wait_for(_rendered(server, body), _PATIENCE))
    except (Unreachable, aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
        return Finding(check, NOTE, f"the server does not say what holds them: {error or type(error).__name__}", remedy)
    schema = rendered["schemas"][0]
    if schema["held"] == "none":
        return Finding(check, NOTE, f"nothing holds them to the tools and their schemas: {schema['reason']}", remedy)
    left = ", ".join(f"{each['keyword']} ({each['reason']})" for each in schema["checked"])
    detail = "held by a grammar to the tools and their schemas once one begins"
    return Finding(check, FINE, f"{detail}, but for {left}" if left else detail)


async def _rendered(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    async with server.session() as session, session.post(f"{server.base}/v1/messages/render", json=body) as response:
        rendered: dict[str, Any] = await response.json()
        if response.status != 200:
            raise Unreachable(rendered["error"]["message"])
        return rendered


class TimedReply:
    """A streamed reply with its times, in seconds since it was asked for."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.blocks: list[dict[str, Any]] = []
        self.reason: str | None = None
        self.first = self.last = 0.0
        self._tokens = 0
        self._begun = time.monotonic()

    def take(self, event: dict[str, Any]) -> None:
        """Note an event."""
        self.last = time.monotonic() - self._begun
        self.names.append(event["type"])
        if event["type"] == "content_block_delta" and not self.first:
            self.first = self.last
        if event["type"] == "message_delta":
            self.reason, self._tokens = event["delta"]["stop_reason"], event["usage"]["output_tokens"]

    def speed(self) -> float:
        """Tokens a second, after the first."""
        return max(0, self._tokens - 1) / max(self.last - self.first, 1e-3)

    def wrong(self) -> str:
        """What is not as it must be, or nothing."""
        if self.names[:1] != ["message_start"] or self.names[-1:] != ["message_stop"]:
            return f"the stream began with {self.names[:1]} and ended with {self.names[-1:]}"
        calls = [block for block in self.blocks if block["type"] == "tool_use"]
        if self.reason != "tool_use" or [call["name"] for call in calls] != [_TOOL["name"]]:
            return f"no call of the tool that was demanded: {self.reason}, {[block['type'] for block in self.blocks]}"
        given = calls[0]["input"]
        if given.get("status") not in ("well", "badly") or not isinstance(given.get("level"), int):
            return f"the call does not match its schema: {given}"
        return ""


async def _ask(server: Server, body: dict[str, Any], timed: TimedReply) -> None:
    reply = Reply(show=False)
    async with server.session() as session, session.post(f"{server.base}/v1/messages", json=body) as response:
        if response.status != 200:
            raise Unreachable(f"{response.status}: {(await response.text())[:500]}")
        async for event in events(response):
            timed.take(event)
            reply.take(event)
    timed.blocks = reply.blocks
