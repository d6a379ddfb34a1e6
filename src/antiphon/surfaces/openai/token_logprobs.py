"""Token ids and log-probabilities in the words of OpenAI's APIs; ids as vLLM adds them to these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

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
    card: ModelCard, *, ids: bool, logprobs: bool, alternatives: int, asking: str, count: str
) -> TokenStyle:
    """What a request wants to be told. Raises BadRequest for what the model's engine cannot tell; the fields of the
    request are `return_token_ids`, the one `asking` for log-probabilities, and the `count` of alternatives."""
    if ids:
        card.check_reported_ids("return_token_ids")
    if logprobs:
        card.check_logprobs(asking, alternatives, count)
    return TokenStyle(ids=ids, logprobs=logprobs, alternatives=alternatives)
