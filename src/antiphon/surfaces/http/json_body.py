"""The JSON body of a request, read once for every surface."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Raw

from antiphon.api.errors import BadRequest
from antiphon.surfaces.http.json_text import whole
from antiphon.surfaces.http.validation import complaint, malformed

T = TypeVar("T")

Name = Annotated[str, Meta(min_length=1)]
"""A name or an id, in a request."""
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]

_members = msgspec.json.Decoder(dict[str, Raw])


def read(body: bytes, decoder: msgspec.json.Decoder[T]) -> tuple[T, dict[str, Raw]]:
    """What the decoder makes of a body, and the members of its object as the client wrote them. Raises BadRequest that
    says what is wrong, and where."""
    try:
        body.decode()
    except UnicodeDecodeError as trouble:
        raise BadRequest(f"The request body is not valid UTF-8: byte {trouble.start}") from None
    body = whole(body)
    try:
        return decoder.decode(body), _members.decode(body)
    except msgspec.ValidationError as trouble:
        raise BadRequest(complaint(str(trouble))) from None
    except (msgspec.DecodeError, RecursionError, ValueError) as trouble:
        raise BadRequest(malformed(trouble, body)) from None
