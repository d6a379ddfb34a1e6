"""What is told of tokens: log-probabilities in the API's own places, which are those of texts, and ids as on the other
APIs of OpenAI; with both, the log-probabilities of all tokens beside their ids."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.api.errors import BadRequest
from antiphon.api.events import TokensSampled
from antiphon.api.tokens import Token
from antiphon.serving.service import ModelCard
from antiphon.surfaces.openai import token_logprobs
from antiphon.surfaces.openai.token_logprobs import TokenStyle
from antiphon.surfaces.responses import items
from antiphon.surfaces.responses.request import wire

LOGPROBS = "message.output_text.logprobs"
_to_json = msgspec.json.Encoder().encode


def check_prompt(request: wire.Request) -> None:
    """Raises BadRequest where a prompt of ids is not the whole prompt."""
    if request.input_ids is None:
        return
    for name in ("input", "previous_response_id", "conversation"):
        if getattr(request, name):
            raise BadRequest(f"input_ids: they are the whole prompt; leave out {name}, or input_ids")


def token_style(request: wire.Request, card: ModelCard, ignored: list[str], *, rounds: bool) -> TokenStyle:
    """What the request wants to be told. Raises BadRequest for what the model's engine cannot tell, and for anything
    of a reply in `rounds` with tools that run here."""
    if request.input_ids is not None:
        card.check_ids(request.input_ids, "input_ids")
    include = request.include or []
    logprobs = LOGPROBS in include
    asking = f"include.{include.index(LOGPROBS)}" if logprobs else ""
    if request.top_logprobs and not logprobs:
        ignored.append("top_logprobs")
    if rounds and (request.return_token_ids or logprobs):
        raise BadRequest(
            f"{asking or 'return_token_ids'}: a reply with tools that run on the server is sampled in several parts; "
            "leave it out"
        )
    return token_logprobs.token_style(
        card,
        ids=bool(request.return_token_ids),
        logprobs=logprobs,
        alternatives=request.top_logprobs or 0,
        asking=asking,
        count="top_logprobs",
    )


class Tokens:
    """The tokens of a response on its way: each is told once beside a delta, and all of them at the end."""

    def __init__(self, style: TokenStyle) -> None:
        self._style = style
        self._all: list[Token] = []
        self._spelled: dict[int, bytes] = {}
        self._sent = self._due = 0

    def add(self, sampled: TokensSampled) -> None:
        """Take the next ones in."""
        self._all += sampled.tokens
        self._spelled |= sampled.spelled

    def mark(self) -> None:
        """A delta has come: those so far are told beside it."""
        self._due = len(self._all)

    def beside(self, item: items.Item) -> bytes:
        """What stands in the frame of a delta of this item, which learns of it what it tells when it closes."""
        if not self._all:
            return b""
        tokens, self._sent = self._all[self._sent : self._due], self._due
        beside = b""
        if self._style.logprobs and isinstance(item, items.Message):
            scored = self._style.content(tokens, self._spelled)
            assert scored
            item.scores += scored.content
            beside = b',"logprobs":' + _to_json(scored.content)
        return beside + b',"token_ids":' + _to_json([token.id for token in tokens]) if self._style.ids else beside

    def whole(self) -> dict[str, Any]:
        """What a response has of all its tokens."""
        return members(self._style, self._all)


def members(style: TokenStyle, tokens: list[Token]) -> dict[str, Any]:
    """What a response has of these tokens."""
    if not style.ids:
        return {}
    fields: dict[str, Any] = {"token_ids": [token.id for token in tokens]}
    if style.logprobs:
        fields["token_logprobs"] = [token.logprob for token in tokens]
    return fields
