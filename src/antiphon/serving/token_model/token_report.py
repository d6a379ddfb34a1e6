"""The tokens of a reply, for those who asked for them: whole, with what the engine tells of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from antiphon.api.events import AnyEvent, TextDelta, ThinkingDelta, TokensSampled, ToolDelta
from antiphon.api.tokens import Token, TokenReport
from antiphon.engines import Engine, Piece

_TEXTS = (TextDelta, ThinkingDelta, ToolDelta)


class TokenReporter:
    """Makes the report on one generation. Each piece has a report by itself where they are told `apart`, or with the
    bytes of its tokens; else there is one for as much of a read as is text of one kind."""

    def __init__(self, report: TokenReport, engine: Engine, *, apart: bool) -> None:
        self._report = report
        self._engine = engine
        self._apart = apart or report.spelled
        self._reported: list[Token] = []
        self._kind: type[AnyEvent] | None = None
        self._spelled: dict[int, bytes] = {}
        self.sampled: Callable[[Sequence[Token]], TokensSampled] = self._with_bytes if report.spelled else TokensSampled
        """The report on these tokens."""

    async def complete(self, pieces: list[Piece]) -> list[Piece]:
        """The pieces of a read with all their ids, and a token for each."""
        self._kind = None
        if self._report.spelled:
            return [await self._complete(piece) for piece in pieces]
        # As most engines give them, there is nothing to wait for.
        return [
            piece if len(piece.tokens) == piece.count else _with_tokens(piece) or await self._complete(piece)
            for piece in pieces
        ]

    async def _complete(self, piece: Piece) -> Piece:
        tokens, ids = piece.tokens or [Token(id) for id in piece.ids], piece.ids
        if len(ids) < piece.count:
            # Of a character that came in several tokens only the last one's id was told.
            ids = await self._engine.tokenise([piece.text])
            tokens = [*(Token(id) for id in ids[: len(ids) - len(tokens)]), *tokens][-len(ids) :]
            ids = [token.id for token in tokens]
        await self._spell(tokens)
        return msgspec.structs.replace(piece, ids=ids, tokens=tokens)

    def beside(self, events: list[AnyEvent], tokens: Sequence[Token]) -> list[AnyEvent]:
        """The events of the read's next piece, and the report on its tokens."""
        kind = type(events[0]) if len(events) == 1 else None
        if kind is self._kind and kind in _TEXTS:
            # It goes on from the text of the last piece, and so does the report, which nobody has seen yet.
            self._reported += tokens
            return events
        self._reported, self._kind = list(tokens), None if self._apart else kind
        return [self.sampled(self._reported), *events]

    async def written(self, ids: Sequence[int]) -> TokensSampled:
        """The report on tokens that were put there for the model."""
        tokens = tuple(Token(id, sampled=False) for id in ids)
        await self._spell(tokens)
        return self.sampled(tokens)

    def _with_bytes(self, tokens: Sequence[Token]) -> TokensSampled:
        return TokensSampled(tokens, {id: self._spelled[id] for id in _ids(tokens)})

    async def _spell(self, tokens: Sequence[Token]) -> None:
        if not self._report.spelled:
            return
        # In their order: a part of a character is told only beside the rest of it.
        for ids in ([token.id for token in tokens], [id for token in tokens for id, _ in token.top]):
            if set(ids) - self._spelled.keys():
                self._spelled.update(zip(ids, await self._engine.spell(ids), strict=True))


def _with_tokens(piece: Piece) -> Piece | None:
    """The piece with a token for each of its ids, where these are all there and nothing else is known of them."""
    if piece.tokens or len(piece.ids) < piece.count:
        return None
    return Piece(piece.text, piece.count, piece.ids, piece.end, [Token(id) for id in piece.ids])


def _ids(tokens: Sequence[Token]) -> set[int]:
    return {id for token in tokens for id in (token.id, *(alternative for alternative, _ in token.top))}
