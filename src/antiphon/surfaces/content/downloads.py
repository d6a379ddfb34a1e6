"""What is kept, sent to a client as it is read."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing

from antiphon.surfaces.http.exchange import Exchange


async def send(
    exchange: Exchange,
    headers: list[tuple[bytes, bytes]],
    pieces: AsyncGenerator[bytes, None],
    beginning: AbstractContextManager[None],
) -> None:
    """Answer with these pieces, and close them. While the first is read nothing has been said yet: what that raises
    goes through `beginning`, which can make an error for the client of it."""
    async with aclosing(pieces):
        with beginning:
            first = await anext(pieces, b"")
        await exchange.open(headers)
        await exchange.write(first)
        async for piece in pieces:
            await exchange.write(piece)
        await exchange.write(b"", more=False)
