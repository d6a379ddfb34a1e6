"""What was told of a response that is made in the background, kept for whoever wants to hear it later."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from antiphon.surfaces.responses.frames import count, split
from antiphon.surfaces.responses.state.tables import response_events as events


def append(connection: Connection, id: str, first: int, frames: bytes) -> None:
    """Keep frames that are numbered from `first` on."""
    if frames:
        connection.execute(events.insert().values(response=id, first=first, frames=frames))


def since(connection: Connection, id: str, number: int) -> bytes:
    """The frames with at least this number."""
    mine = events.c.response == id
    begin = select(func.max(events.c.first)).where(mine, events.c.first <= number).scalar_subquery()
    rows = connection.execute(select(events.c.first, events.c.frames).where(mine, events.c.first >= begin))
    told = {first + place: each for first, frames in rows for place, each in enumerate(split(frames))}
    return b"".join(told[at] for at in sorted(told) if at >= number)


def length(connection: Connection, id: str) -> int:
    """How many frames there are."""
    mine = select(events.c.first, events.c.frames).where(events.c.response == id)
    last = connection.execute(mine.order_by(events.c.first.desc()).limit(1)).first()
    return 0 if last is None else last.first + count(last.frames)
