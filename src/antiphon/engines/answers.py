"""What the routes of engines answer, as far as it is read here; what else is in an answer is skipped.

First what several kinds of servers share, then llama.cpp's own.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Card(msgspec.Struct):
    """A model in a server's list. Adapters have a `parent` and are listed behind it."""

    id: str | None = None
    root: str | None = None
    parent: str | None = None
    created: int | None = None
    max_model_len: int | None = None
    meta: Any = None

    @property
    def vocabulary(self) -> int:
        """How many ids a llama.cpp server says that there are; 0 where that is not said."""
        size = self.meta.get("n_vocab") if isinstance(self.meta, dict) else None
        return size if isinstance(size, int) else 0


class Cards(msgspec.Struct):
    """The list of models that every such server has."""

    data: list[Card]

    @property
    def first(self) -> Card:
        """The model that it runs; an empty card where it lists none."""
        return self.data[0] if self.data else Card()

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of the adapters."""
        return tuple(card.id for card in self.data[1:] if card.id and card.parent)


class Encoded(msgspec.Struct):
    """Ids by the server's own tokenizer."""

    tokens: list[int]


class Progress(msgspec.Struct):
    """How much of a prompt is read, in tokens."""

    total: int = 0
    cache: int = 0
    processed: int = 0
    time_ms: float = 0


class Timings(msgspec.Struct):
    """How many tokens of a prompt were cached, and how many were read."""

    cache_n: int = 0
    prompt_n: int = 0


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


class Chunk(msgspec.Struct):
    """One server-sent event of `/completion`; unknown members are skipped."""

    content: str = ""
    tokens: list[int] = []
    stop: bool = False
    stop_type: str = ""
    tokens_predicted: int = 0
    prompt_progress: Progress | None = None
    timings: Timings | None = None
    completion_probabilities: list[Likelihood] = []
    error: Any = None


class Defaults(msgspec.Struct):
    """`n_ctx` is the window of one slot."""

    n_ctx: int


class Modalities(msgspec.Struct):
    """What the model takes beside text."""

    vision: bool = False


class Props(msgspec.Struct):
    """The answer of `/props`, as far as it is needed."""

    default_generation_settings: Defaults
    total_slots: int = 0
    model_path: str = ""
    chat_template: str = ""
    bos_token: str = ""
    eos_token: str = ""
    media_marker: str | None = None
    modalities: Modalities = msgspec.field(default_factory=Modalities)


class SlotState(msgspec.Struct):
    """What is set of a slot."""

    speculative: bool = False


class Adapter(msgspec.Struct):
    """An adapter: its number, and the path of its file."""

    id: int
    path: str


class Decoded(msgspec.Struct):
    """The text of ids."""

    content: str


class Token(msgspec.Struct):
    """A token and its text, or its bytes where they are no whole characters."""

    id: int
    piece: str | list[int]


class Pieces(msgspec.Struct):
    """Ids with the text of each."""

    tokens: list[Token]


class Evaluated(msgspec.Struct):
    """How many tokens a prompt took, those of its pictures too."""

    tokens_evaluated: int


class Counted(msgspec.Struct):
    """How many tokens a message takes."""

    input_tokens: int


class Written(msgspec.Struct):
    """How many tokens of a slot were written to a file."""

    n_saved: int


class Restored(msgspec.Struct):
    """How many tokens were read from a file into a slot."""

    n_restored: int
