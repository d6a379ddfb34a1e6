"""The events of llama.cpp's `/completion`, as far as they are read here; what else is in one is skipped."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from antiphon.api.tokens import Token
from antiphon.engines import End
from antiphon.engines.upstream import ReportedFailure

Likely = TypeVar("Likely", Token, "Likelihood")


class Progress(msgspec.Struct):
    """How much of a prompt is read, in tokens."""

    total: int = 0
    cache: int = 0
    processed: int = 0
    time_ms: float = 0


class Alternative(msgspec.Struct):
    """A token, the logarithm of its probability, and the bytes that it stands for (none for control tokens)."""

    id: int
    logprob: float | None
    bytes: list[int] = []


class Likelihood(msgspec.Struct):
    """The same of a token that was sampled, and of the likeliest of its place."""

    id: int
    logprob: float | None
    top_logprobs: list[Alternative] = []

    @property
    def token(self) -> Token:
        """The same for everybody else."""
        top = ((near.id, near.logprob) for near in self.top_logprobs if near.logprob is not None)
        return Token(self.id, self.logprob, tuple(top))


class Chunk(msgspec.Struct, Generic[Likely], gc=False):
    """One event. Of each token it tells the probability, and the likeliest of its place where these are wanted."""

    content: str = ""
    tokens: list[int] = []
    stop: bool = False
    stop_type: str = ""
    tokens_predicted: int = 0
    prompt_progress: Progress | None = None
    completion_probabilities: list[Likely] = []
    error: Any = None

    @property
    def end(self) -> End:
        """Why the reply ends with this event, if it does."""
        if not self.stop:
            return "none"
        return "length" if self.stop_type == "limit" else "stop"


# A stream's every token comes by here: one of which only the probability is wanted is decoded as what it is told as.
_chunk = msgspec.json.Decoder(Chunk[Token])
_chunk_with_alternatives = msgspec.json.Decoder(Chunk[Likelihood])


def read(data: bytes) -> Chunk[Token]:
    """An event. Raises ReportedFailure for one that tells of a failure."""
    chunk = _chunk.decode(data)
    if chunk.error is not None:
        raise ReportedFailure(chunk.error)
    return chunk


def read_with_alternatives(data: bytes) -> Chunk[Likelihood]:
    """The same with the likeliest tokens of each place."""
    chunk = _chunk_with_alternatives.decode(data)
    if chunk.error is not None:
        raise ReportedFailure(chunk.error)
    return chunk
