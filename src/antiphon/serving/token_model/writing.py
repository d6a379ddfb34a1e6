"""What a model has written so far, piece by piece."""

from __future__ import annotations

from antiphon.engines import Engine, Piece


class Written:
    """The text and the tokens of a reply. `count` is how many tokens were sampled for it, `thinking` how many of these
    in its thinking. The `pieces` that it came in are kept only where there may be a way back to one of them."""

    def __init__(self, *, keeps_pieces: bool) -> None:
        self._texts: list[str] = []
        self._ids: list[int] = []
        self._keeps_pieces = keeps_pieces
        self.pieces: list[tuple[Piece, bool]] = []
        """Each with whether it begins inside thinking."""
        self.count = 0
        self.thinking = 0
        self.mute_end = False
        """Whether the last of the ids stands for no text: it is the token that ended the turn."""

    def add(self, piece: Piece, *, thinking: bool = False) -> None:
        """Take the next piece in, which begins inside thinking or does not."""
        self._texts.append(piece.text)
        self.count += piece.count
        if thinking:
            self.thinking += piece.count
        if piece.ids:
            self._ids += piece.ids
            self.mute_end = not piece.text
        if self._keeps_pieces:
            self.pieces.append((piece, thinking))

    def first(self, pieces: int, *, keeps_pieces: bool) -> Written:
        """As it was after so many pieces."""
        written = Written(keeps_pieces=keeps_pieces)
        for piece, thinking in self.pieces[:pieces]:
            written.add(piece, thinking=thinking)
        return written

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self._texts)

    @property
    def exact(self) -> bool:
        """Whether the engine told every token's id."""
        return len(self._ids) == self.count

    async def ids(self, engine: Engine) -> list[int]:
        """The tokens that were sampled; where the engine did not tell all of them, those of the text."""
        return list(self._ids) if self.exact else await engine.tokenise([self.text])
