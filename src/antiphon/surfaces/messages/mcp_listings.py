"""What MCP servers listed, as `mcp_tool_listing` blocks: a reply tells of it, and a conversation that has it goes on
with the same tools, whatever the servers list by then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from antiphon.api.errors import BadRequest
from antiphon.server_tools.mcp.client import Listed
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.messages.request import checks, wire

BETA = "mcp-client-2026-09-15"
"""The version of the connector that has these blocks. Programs written for an earlier one may not expect them."""
_KIND = "mcp_tool_listing"


def expected(exchange: Exchange) -> bool:
    """Whether the client knows these blocks."""
    return BETA in exchange.betas


def known(messages: Iterable[checks.Indexed]) -> dict[str, list[Any]]:
    """What the listings of a conversation say of each server: the last is the one that the model saw last. Raises
    BadRequest."""
    listings: dict[str, list[Any]] = {}
    for index, role, blocks in messages:
        for place, block in enumerate(blocks):
            if role == "assistant" and isinstance(block, wire.Other) and block.type == _KIND:
                _check(block.fields, f"messages.{index}.content.{place}.{_KIND}")
                listings[block.fields["mcp_server_name"]] = block.fields["tools"]
    return listings


def pinned(
    toolsets: Iterable[tuple[str, Mapping[str, Any]]], known: Mapping[str, list[Any]]
) -> list[tuple[str, Mapping[str, Any]]]:
    """The toolsets, those that pin no list of their own with the one that is known of their server."""
    return [
        (where, {**fields, "tools": known[name]})
        if fields.get("tools") is None and (name := str(fields.get("mcp_server_name"))) in known
        else (where, fields)
        for where, fields in toolsets
    ]


def blocks(listings: Mapping[str, Sequence[Listed]]) -> list[dict[str, Any]]:
    """The blocks that tell what servers listed."""
    return [
        {
            "type": _KIND,
            "mcp_server_name": name,
            "tools": [
                {"name": each.name, "description": each.description, "input_schema": each.input_schema}
                for each in listed
            ],
        }
        for name, listed in listings.items()
    ]


class _Listing(msgspec.Struct):
    mcp_server_name: str
    tools: list[Listed]


def _check(fields: Mapping[str, Any], where: str) -> None:
    try:
        msgspec.convert(fields, _Listing)
    except msgspec.ValidationError as trouble:
        raise BadRequest(f"{where}: {trouble}") from None
