"""What a model has written so far, piece by piece."""

from __future__ import annotations

from antiphon.engines import Engine, Piece


class Written:
    """The pieces of a reply. `count` is how many tokens were sampled for them, `thinking` how many of these in its
    thinking."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.count = 0
        self.thinking = 0
        self.mute_end = False
        """Whether the last of the ids stands for no text: it is the token that ended the turn."""

    def add(self, piece: Piece, *, thinking: bool = False) -> None:
        """Take the next piece in, which begins inside thinking or does not."""
        self.pieces.append(piece)
        self.count += piece.count
        if thinking:
            self.thinking += piece.count
        if piece.ids:
            self.mute_end = not piece.text

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def exact(self) -> bool:
        """Whether the engine told every token's id."""
        return sum(len(piece.ids) for piece in self.pieces) == self.count

    async def ids(self, engine: Engine) -> list[int]:
        """The tokens that were sampled; where the engine did not tell all of them, those of the text."""
        return [id for piece in self.pieces for id in piece.ids] if self.exact else await engine.tokenise([self.text])
