"""The request of the completions API as typed structs. Unknown fields are accepted, and named to the client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from antiphon.api.errors import BadRequest
from antiphon.api.tokens import MOST_ALTERNATIVES
from antiphon.surfaces.http import json_body
from antiphon.surfaces.http.json_body import Name, TokenId
from antiphon.surfaces.http.validation import complaint

Count = Annotated[int, Meta(ge=1, le=2**53)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
_MOST_CHOICES = 128
_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}, "minItems": 1}
_LISTS = {"anyOf": [_IDS, {"type": "array", "items": {"anyOf": [{"type": "string"}, _IDS]}, "minItems": 1}]}
Prompt = str | Annotated[list[Any], Meta(extra_json_schema=_LISTS)]


class StreamOptions(msgspec.Struct):
    """`stream_options`."""

    include_usage: bool | None = None


class Request(msgspec.Struct):
    """The body of a request: what is acted upon. `prompt` is a text, the ids of one, or a list of either."""

    model: Name
    prompt: Prompt
    suffix: str | None = None
    max_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**53)] | None = None
    seed: int | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    n: Annotated[int, Meta(ge=1, le=_MOST_CHOICES)] | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MOST_ALTERNATIVES)] | None = None
    return_token_ids: bool | None = None
    metadata: dict[str, Any] | None = None

    @property
    def choices(self) -> int:
        """How many replies there are to each prompt."""
        return self.n or 1


_request = msgspec.json.Decoder(Request)
_FIELDS = {field.encode_name for field in msgspec.structs.fields(Request)}
# They change nothing by design, or say what is done anyway.
_HARMLESS = {"user", "add_special_tokens"}
_SAYS_NOTHING = (b"null", b"false", b"[]", b"{}")


def read(body: bytes) -> tuple[Request, list[str]]:
    """The request in a body, and its fields that nobody here acts upon. Raises BadRequest that says what is wrong, and
    where."""
    request, members = json_body.read(body, _request)
    unknown = members.keys() - _FIELDS - _HARMLESS
    return request, sorted(name for name in unknown if bytes(members[name]) not in _SAYS_NOTHING)


def prompts(request: Request) -> list[str | list[int]]:
    """The prompts of a request, texts or ids."""
    prompt = request.prompt
    if isinstance(prompt, str):
        return [prompt]
    if prompt and all(isinstance(each, int) for each in prompt):
        return [_ids(prompt, "prompt")]
    if not prompt:
        raise BadRequest("prompt: List should have at least 1 item")
    if len(prompt) * request.choices > _MOST_CHOICES:
        raise BadRequest(
            f"prompt: {len(prompt)} prompts of {request.choices} choices are more than {_MOST_CHOICES} replies"
        )
    return [each if isinstance(each, str) else _ids(each, f"prompt.{place}") for place, each in enumerate(prompt)]


def _ids(given: Sequence[Any], where: str) -> list[int]:
    try:
        ids: list[int] = msgspec.convert(given, Annotated[list[TokenId], Meta(min_length=1)])
        return ids
    except msgspec.ValidationError as trouble:
        raise BadRequest(complaint(str(trouble), where)) from None
