"""The tools that run on the server: each that is set up is tried once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator

from antiphon.cli.doctor.finding import FAIL, FINE, Finding
from antiphon.process.parts import server_tools
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.tool import ToolFailed
from antiphon.settings.sources import Settings

_SETUP = "see docs/server-tools.md for how each is set up"


def tools(settings: Settings) -> Iterator[Finding]:
    """Whether each works."""
    reaching = settings.web_search or settings.web_fetch or settings.mcp or settings.mcp_connector
    if not (reaching or settings.code_execution):
        return
    try:
        offered = server_tools(settings)
    except ValueError as error:
        yield Finding("server tools", FAIL, str(error), _SETUP)
        return
    yield from asyncio.run(_tried(offered, settings))


async def _tried(offered: ServerTools, settings: Settings) -> list[Finding]:
    findings = [await _finding(each.name, each.trial(), settings.tool_timeout) for each in offered.families]
    if offered.connector is not None:
        trials = ((f"MCP server {name}", offered.connector.trial(name)) for name in settings.mcp)
        findings += [await _finding(name, trial, settings.tool_timeout) for name, trial in trials]
    await offered.close()
    return findings


async def _finding(check: str, trial: Awaitable[str], seconds: float) -> Finding:
    try:
        async with asyncio.timeout(seconds):
            return Finding(check, FINE, await trial)
    except TimeoutError:
        return Finding(check, FAIL, f"it did not answer within {seconds:g} seconds", _SETUP)
    except (ToolFailed, OSError) as error:
        return Finding(check, FAIL, str(error), _SETUP)
