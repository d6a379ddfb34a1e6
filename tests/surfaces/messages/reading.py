"""Requests read without a socket: body in, nouns or a refusal out."""

from __future__ import annotations

import json
from typing import Any

from antiphon.api.conversation import Conversation
from antiphon.api.errors import BadRequest
from antiphon.api.seal import Seal
from antiphon.prompt.turns import repaired
from antiphon.server_tools.registry import ServerTools
from antiphon.surfaces.messages.request import decode
from antiphon.surfaces.messages.request.draft import read_draft
from tests.surfaces.scripted_service import CARD, SEEING

SEAL = Seal(b"a key for tests")


def body(**fields: Any) -> bytes:
    return json.dumps(
        {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **fields}
    ).encode()


def read(given: bytes, *, vision: bool = False, fetched: Any = None) -> decode.DecodedRequest:
    return decode.decode(read_draft(given, ServerTools()), SEEING if vision else CARD, SEAL, fetched or {})


def conversation(messages: list[Any], **fields: Any) -> Conversation:
    """The repaired conversation behind these messages."""
    vision = fields.pop("vision", False)
    return repaired(read(body(messages=messages, **fields), vision=vision).conversation)


def refusal(given: bytes | None = None, **fields: Any) -> str:
    """The words with which a request is refused."""
    vision = fields.pop("vision", False)
    try:
        read(body(**fields) if given is None else given, vision=vision)
    except BadRequest as trouble:
        return trouble.message
    raise AssertionError("accepted")
