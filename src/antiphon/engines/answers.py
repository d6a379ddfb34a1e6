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
