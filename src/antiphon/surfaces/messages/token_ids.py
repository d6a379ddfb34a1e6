"""What a request asks to be told of tokens, and how it is told: under the names, and in the places, that LMDeploy gave
them on its `/v1/messages`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.api.errors import BadRequest
from antiphon.api.tokens import Token, TokenReport
from antiphon.serving.service import ModelCard
from antiphon.surfaces.messages.request import wire

_to_json = msgspec.json.Encoder().encode


class TokenStyle(msgspec.Struct, frozen=True, kw_only=True):
    """Whether ids and log-probabilities are told, and of how many alternatives."""

    ids: bool
    logprobs: bool
    alternatives: int

    @property
    def report(self) -> TokenReport:
        """What the model is asked for."""
        return TokenReport(logprobs=self.logprobs, alternatives=self.alternatives)

    def members(self, tokens: Sequence[Token]) -> dict[str, Any]:
        """What stands in a message, or beside a delta, for these tokens."""
        members: dict[str, Any] = {}
        if self.ids:
            members["output_ids"] = [token.id for token in tokens]
        if self.logprobs:
            members["output_token_logprobs"] = [(token.logprob, token.id) for token in tokens]
        if self.alternatives:
            tops = [token.top[: self.alternatives] for token in tokens]
            members["output_top_logprobs"] = [[(logprob, id) for id, logprob in top] for top in tops]
        return members

    def beside(self, tokens: Sequence[Token]) -> bytes:
        """The same, to be put behind another member of a JSON object."""
        if self.ids and self.logprobs and not self.alternatives:
            # For every token of a stream, where training goes on.
            ids, scored = [token.id for token in tokens], [(token.logprob, token.id) for token in tokens]
            return b',"output_ids":%b,"output_token_logprobs":%b' % (_to_json(ids), _to_json(scored))
        return b"," + _to_json(self.members(tokens))[1:-1]


def token_style(request: wire.Request, card: ModelCard) -> TokenStyle | None:
    """What the request asks for; None where that is nothing. Raises BadRequest for what the model's engine cannot
    tell."""
    if request.input_ids is not None:
        card.check_ids(request.input_ids, "input_ids")
    alternatives = request.top_logprobs or 0
    style = TokenStyle(
        ids=bool(request.return_token_ids), logprobs=bool(request.return_logprob), alternatives=alternatives
    )
    if style.ids:
        card.check_reported_ids("return_token_ids")
    if alternatives and not style.logprobs:
        raise BadRequest("top_logprobs: it needs log-probabilities; set return_logprob too")
    if style.logprobs:
        card.check_logprobs("return_logprob", alternatives, "top_logprobs")
    return style if style.ids or style.logprobs else None
