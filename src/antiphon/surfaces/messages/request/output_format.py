"""The form that a request wants its reply in: `output_config.format`, or `output_format` as it was called before."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.api.errors import BadRequest
from antiphon.surfaces.content.schemas import checked_schema
from antiphon.surfaces.messages.citations import Citing
from antiphon.surfaces.messages.request import wire
from antiphon.surfaces.messages.request.draft import Draft


def of(request: wire.Request) -> tuple[str, wire.Format] | None:
    """The form with its dotted path, if there is one."""
    if request.output_config and request.output_config.format is not None:
        return "output_config.format", request.output_config.format
    return None if request.output_format is None else ("output_format", request.output_format)


def schema(draft: Draft, citing: Citing) -> dict[str, Any] | None:
    """The schema of the one JSON value that the reply is to be. Raises BadRequest."""
    found = of(draft.request)
    if found is None:
        return None
    where, output = found
    if output.type != "json_schema":
        raise BadRequest(f"{where}.type: Input should be 'json_schema'")
    if isinstance(output.schema, msgspec.UnsetType):
        raise BadRequest(f"{where}.schema: Field required")
    if citing.enabled:
        raise BadRequest(
            f"{where}: a reply of one JSON value cannot cite; disable `citations`, or leave the format out"
        )
    if _continues_text(draft):
        raise BadRequest(f"{where}: a reply of one JSON value cannot continue a text; end with a user message")
    return checked_schema(bytes(output.schema), f"{where}.schema", "JSON schema is invalid.")


def _continues_text(draft: Draft) -> bool:
    _, role, blocks = draft.messages[-1] if draft.messages else (0, "user", [])
    last = blocks[-1] if blocks else None
    return role == "assistant" and isinstance(last, wire.Text) and bool(last.text.strip())
