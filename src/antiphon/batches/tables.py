"""The tables of batches, and what names their contents.

A batch is kept as its requests, one line each, in one piece of contents. It is worked on by shares: each is a stretch
of those lines, and belongs for a while to the worker that has claimed it. The last share of a batch has no requests;
whoever claims it writes the results as another piece of contents, and the shares and answers are gone.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from antiphon.storage.records import TableSet

FOLDER = "batches"
"""Where the contents of batches are."""

_METADATA = MetaData()
BATCHES = Table(
    "batches",
    _METADATA,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("created", Float(53), nullable=False),
    Column("total", Integer, nullable=False),
    Column("headers", Text, nullable=False),
    Column("cancelled", Float(53)),
    Column("ended", Float(53)),
    Column("requests", Text, comment="the name of these contents; none once the batch has ended"),
    Column("results", Text, comment="the name of these contents, once the batch has ended"),
    Column("succeeded", Integer, nullable=False, default=0),
    Column("errored", Integer, nullable=False, default=0),
    Column("canceled", Integer, nullable=False, default=0),
    Column("expired", Integer, nullable=False, default=0),
    Index("batches_of_owner", "owner", "created", "id"),
    Index("batches_at_work", "ended", "created"),
)
SHARES = Table(
    "batch_shares",
    _METADATA,
    Column("batch", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("first", Integer, nullable=False, comment="the place of its first request in the batch"),
    Column("count", Integer, nullable=False, comment="of its requests; 0: whoever has it ends the batch"),
    Column("start", BigInteger, nullable=False, comment="of its lines in the requests"),
    Column("end", BigInteger, nullable=False),
    Column("done", Boolean, nullable=False, default=False),
    Column("claim", Text, comment="of the worker that has it, another each time"),
    Column("until", Float(53), comment="when the claim is void, unless it is renewed"),
    PrimaryKeyConstraint("batch", "number"),
)
ANSWERS = Table(
    "batch_answers",
    _METADATA,
    Column("batch", Text, nullable=False),
    Column("custom_id", Text, nullable=False),
    Column("share", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("line", LargeBinary, nullable=False),
    PrimaryKeyConstraint("batch", "custom_id"),
)
ATTEMPTS = Table(
    "batch_attempts",
    _METADATA,
    Column("batch", Text, nullable=False),
    Column("custom_id", Text, nullable=False),
    Column("share", Integer, nullable=False),
    Column("claim", Text, nullable=False, comment="under which the request was begun"),
    PrimaryKeyConstraint("batch", "custom_id", "claim"),
)
TABLES = TableSet("batches", 1, _METADATA)
