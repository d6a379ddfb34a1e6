"""What the headers of a request must say, and the header that names what nobody acts upon."""

from __future__ import annotations

import re
from collections.abc import Sequence

from antiphon.api.errors import BadRequest
from antiphon.surfaces.http.exchange import Exchange

_HEADER_SAFE = re.compile(r"[^A-Za-z0-9_.-]")


def check_media_type(exchange: Exchange) -> None:
    """Raise BadRequest unless the body is said to be JSON. A form, which any web page may send, is not."""
    media_type = (exchange.header("content-type") or "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise BadRequest("content-type: the body of a request must be application/json")


def tell_ignored(exchange: Exchange, names: Sequence[str]) -> None:
    """Name to the client what was accepted and is not acted upon."""
    if names:
        listed = ", ".join(_HEADER_SAFE.sub("?", name)[:80] for name in names[:30])
        exchange.extra.append((b"antiphon-ignored", listed.encode()))
