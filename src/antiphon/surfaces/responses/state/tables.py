"""What is kept of responses, as tables: the responses, the items that may be referred to, and of those that are made in
the background who makes them and what was told of them.
"""

from __future__ import annotations

from sqlalchemy import Column, Connection, Float, Index, Integer, LargeBinary, MetaData, Table, Text

from antiphon.storage.records import TableSet

_metadata = MetaData()
responses = Table(
    "responses",
    _metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("previous", Text),
    Column("status", Text, nullable=False),
    Column("items", LargeBinary, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Index("responses_created", "created"),
)
response_items = Table(
    "response_items",
    _metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("response", Text, nullable=False),
    Index("response_items_created", "created"),
    Index("response_items_response", "response"),
)
"""In which response an item is that may be referred to."""
response_leases = Table(
    "response_leases",
    _metadata,
    Column("response", Text, primary_key=True),
    Column("until", Float, nullable=False),
)
"""Until when a response in the background is believed to be made, in Unix seconds."""
response_events = Table(
    "response_events",
    _metadata,
    Column("response", Text, primary_key=True),
    Column("first", Integer, primary_key=True),
    Column("frames", LargeBinary, nullable=False),
)
"""Frames of a stream that follow one another, by the number of the first of them."""


def _add_background(connection: Connection) -> None:
    _metadata.create_all(connection, tables=[response_leases, response_events])


RESPONSES = TableSet(name="responses", version=2, tables=_metadata, migrations={1: _add_background})
