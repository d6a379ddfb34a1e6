"""What a client calls the rollout that a request belongs to: in a header, or in the metadata of the body."""

from __future__ import annotations

from typing import Any

from antiphon.api.errors import BadRequest
from antiphon.surfaces.http.exchange import Exchange

LABEL = "x-antiphon-label"
_LONGEST = 256


def read_label(exchange: Exchange) -> None:
    """Take the label in the header, if there is one."""
    exchange.watch.label = (exchange.header(LABEL) or "")[:_LONGEST]


def take_label(exchange: Exchange, label: Any) -> None:
    """Take the label in the metadata, unless the header has one. Raises BadRequest where it is no string."""
    if label is None:
        return
    if not isinstance(label, str):
        raise BadRequest(f"metadata.{LABEL}: Input should be a valid string")
    exchange.watch.label = exchange.watch.label or label[:_LONGEST]
