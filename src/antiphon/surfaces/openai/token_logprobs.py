"""Token ids and log-probabilities in the words of OpenAI's APIs; ids as vLLM adds them to these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from antiphon.api.errors import BadRequest
from antiphon.api.tokens import Token, TokenReport
from antiphon.serving.service import ModelCard

UNKNOWN = -9999.0
"""What is told of a probability that is not known, in a field that must be a number. (OpenAI, `logprobs.content`.)"""


class Alternative(msgspec.Struct):
    """A token: its text, as far as it is whole characters, its bytes, the natural logarithm of its probability."""

    token: str
    logprob: float
    bytes: list[int]


class Likelihood(Alternative):
    """A token that was sampled, and the likeliest ones of its place."""

    top_logprobs: list[Alternative]


class Logprobs(msgspec.Struct):
    """The tokens of a reply, or of a piece of it."""

    content: list[Likelihood]
    refusal: None = None


class TokenStyle(msgspec.Struct, frozen=True, kw_only=True):
    """Whether ids and log-probabilities are told, and of how many alternatives."""

    ids: bool
    logprobs: bool
    alternatives: int

    @property
    def report(self) -> TokenReport | None:
        """What the model is asked for; None for nothing."""
        if not (self.ids or self.logprobs):
            return None
        return TokenReport(logprobs=self.logprobs, alternatives=self.alternatives, spelled=self.logprobs)

    def content(self, tokens: Sequence[Token], spelled: Mapping[int, bytes]) -> Logprobs | None:
        """The log-probabilities of these tokens, where they are told."""
        if not self.logprobs:
            return None
        return Logprobs([self._likelihood(token, spelled) for token in tokens])

    def _likelihood(self, token: Token, spelled: Mapping[int, bytes]) -> Likelihood:
        tops = [Alternative(*_entry(id, logprob, spelled)) for id, logprob in token.top[: self.alternatives]]
        return Likelihood(*_entry(token.id, token.logprob, spelled), top_logprobs=tops)


def _entry(id: int, logprob: float | None, spelled: Mapping[int, bytes]) -> tuple[str, float, list[int]]:
    raw = spelled[id]
    return raw.decode("utf-8", "replace"), UNKNOWN if logprob is None else logprob, list(raw)


def token_style(
    card: ModelCard, ignored: list[str], *, ids: bool, logprobs: bool, alternatives: int, named: Sequence[str]
) -> TokenStyle:
    """What is told of what was asked for. Log-probabilities that the model's engine does not tell are left out, and
    the fields that ask for them (`named`) `ignored`; ids that are not known are refused."""
    if ids and not card.token_ids:
        raise BadRequest(
            f"return_token_ids: {card.name!r} is behind a chat server that reports no token ids; leave it out"
        )
    if logprobs and card.alternatives is None:
        ignored += named
        logprobs = False
    return TokenStyle(ids=ids, logprobs=logprobs, alternatives=min(alternatives, card.alternatives or 0))
