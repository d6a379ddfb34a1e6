"""Threads: conversations that the server keeps, so that a turn brings only what is new.

The first turn of a thread has `thread: {"type": "create"}`; each later one names the reply that it goes on from. A turn
is kept under the id of its reply, with its own messages and the reply; the first also with the system prompt and tools.
Before it is read any further, a request that goes on becomes the request that has the whole conversation: nothing
behind this file knows of threads, and the prompt is the same as without them.
"""

from __future__ import annotations

import secrets
import time
from typing import Any, Literal

import msgspec
from msgspec import Raw
from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    select,
    update,
)

from antiphon.api.errors import BadRequest, Forbidden, NotFound
from antiphon.api.events import AnyEvent, Emit, Finished, Run
from antiphon.api.reply import Fold, Reply
from antiphon.storage.records import TableSet
from antiphon.storage.store import Store
from antiphon.surfaces.content.kept_tables import KeptTables
from antiphon.surfaces.messages import message

SECONDS = 30 * 24 * 3600.0
"""So long a turn is kept."""
_LEASE = 600.0
"""Seconds after which a turn counts as given up that was begun and has not ended: its server may have been killed. If
not, the turn is kept all the same, unless another request goes on from the same one by then."""
_FIXED = ("system", "tools")
"""Fields of the first turn that hold for all."""
_BOM = b"\xef\xbb\xbf"

_METADATA = MetaData()
TURNS = Table(
    "thread_turns",
    _METADATA,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("created", Float(53), nullable=False),
    Column("first", Text, nullable=False, comment="the id of the thread's first turn"),
    Column("number", Integer, nullable=False, comment="of the turn in its thread, from 0"),
    Column("fixed", LargeBinary, nullable=False, comment="JSON: system prompt and tools, of the first turn"),
    Column("messages", LargeBinary, nullable=False, comment="JSON: the messages of the turn, the reply last"),
    Column("next", Text, comment="the id of the turn that goes on from this one"),
    Column("claim", Text, comment="of a request that goes on from this turn now"),
    Column("until", Float(53), comment="when that request counts as given up"),
    Index("thread_turns_in_order", "first", "number"),
    Index("thread_turns_of_owner", "owner"),
    Index("thread_turns_created", "created"),
)
TABLES = TableSet("threads", 1, _METADATA)


class ThreadParam(msgspec.Struct):
    """`thread`: a conversation begins to be kept, or goes on from the reply with this id."""

    type: Literal["create", "continue"]
    previous_message_id: str | None = None


class ThreadTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn that is to be kept: whose it is, its place in its thread (`first` is None of the first turn), its own
    messages, and the turn before it."""

    owner: str
    first: str | None = None
    number: int = 0
    previous: str | None = None
    fixed: bytes = b"{}"
    messages: list[Raw] = []
    claim: str = msgspec.field(default_factory=lambda: secrets.token_hex(8))


class Threads:
    """The threads in a store (None: no threads are kept). Each key may keep `quota` bytes of them (0: any number)."""

    def __init__(self, store: Store | None, quota: int = 0) -> None:
        self._tables = KeptTables(store, TABLES)
        self._quota = quota

    async def open(self, body: bytes, owner: str) -> tuple[bytes, ThreadTurn | None]:
        """The body of a request with the whole conversation, and the turn that it is, if it is one of a thread. Raises
        whatever is wrong with that as a Failure. A body that cannot be read stays as it is."""
        if b'"thread"' not in body:
            return body, None
        try:
            members = msgspec.json.decode(body.removeprefix(_BOM), type=dict[str, Raw])
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return body, None
        if bytes(members.get("thread", b"null")) == b"null":
            return body, None
        param = _param(members.pop("thread"))
        if not self._tables.available:
            raise unsupported("thread", "this server keeps no threads")
        if "input_ids" in members:
            raise unsupported("input_ids", "a thread is made of messages")
        messages = _messages(members)
        if param.type == "create":
            await self._check_quota(owner)
            given = {name: members[name] for name in _FIXED if name in members}
            turn = ThreadTurn(owner=owner, fixed=msgspec.json.encode(given), messages=messages)
        else:
            turn, earlier = await self._going_on(param.previous_message_id, owner, members)
            members["messages"] = Raw(msgspec.json.encode([*earlier, *messages]))
            turn = msgspec.structs.replace(turn, messages=messages)
        return msgspec.json.encode(members), turn

    def keeping(self, turn: ThreadTurn, style: message.Style, run: Run) -> Run:
        """The run that keeps its reply as a turn before the client is told that it has ended."""

        async def keeping_run(emit: Emit) -> None:
            await self._claim(turn)
            folding = Fold()

            async def both(events: list[AnyEvent]) -> None:
                await folding.take(events)
                if any(isinstance(event, Finished) for event in events):
                    await self._keep(turn, style, folding.reply())
                await emit(events)

            try:
                await run(both)
            finally:
                await self._release(turn)

        return keeping_run

    async def _going_on(
        self, previous: str | None, owner: str, members: dict[str, Raw]
    ) -> tuple[ThreadTurn, list[Raw]]:
        """The turn after the one with this id, and all messages before it; adds what holds for the whole thread to the
        members of its request."""
        if previous is None:
            raise BadRequest("thread.continue.previous_message_id: Field required")

        def work(connection: Connection) -> list[Any]:
            last = _turn(connection, previous, owner)
            _check_free(last)
            mine = (TURNS.c.first == last.first, TURNS.c.number <= last.number)
            return list(connection.execute(select(TURNS).where(*mine).order_by(TURNS.c.number)))

        turns = await self._tables.read(work)
        if [turn.number for turn in turns] != list(range(len(turns))):
            raise _not_found(previous)
        fixed = msgspec.json.decode(turns[0].fixed, type=dict[str, Raw])
        given = [name for name in _FIXED if name in members]
        if changed := [name for name in given if _compact(members[name]) != _compact(fixed.get(name))]:
            raise BadRequest(
                f"thread: {' and '.join(changed)} cannot change in a thread; leave them out, or send the whole "
                'conversation with thread: {"type": "create"}',
                code="thread_fingerprint_mismatch",
            )
        members.update(fixed)
        turn = ThreadTurn(owner=owner, first=turns[0].id, number=len(turns), previous=previous)
        return turn, [each for turn in turns for each in msgspec.json.decode(turn.messages, type=list[Raw])]

    async def _claim(self, turn: ThreadTurn) -> None:
        """Nobody else goes on from the turn before meanwhile."""
        if turn.previous is None:
            return
        previous = turn.previous

        def work(connection: Connection) -> None:
            _check_free(_turn(connection, previous, turn.owner))
            claim = {"claim": turn.claim, "until": time.time() + _LEASE}
            connection.execute(update(TURNS).where(TURNS.c.id == previous).values(claim))

        await self._tables.write(work)

    async def _release(self, turn: ThreadTurn) -> None:
        free = update(TURNS).where(TURNS.c.claim == turn.claim).values(claim=None, until=None)
        if turn.previous is not None:
            await self._tables.write(lambda connection: connection.execute(free))

    async def _keep(self, turn: ThreadTurn, style: message.Style, reply: Reply) -> None:
        """Raises BadRequest where another request has taken over the claim on the turn before: a thread has one turn of
        a number."""
        content = msgspec.json.decode(message.whole(style, reply), type=dict[str, Raw])["content"]
        answer = Raw(msgspec.json.encode({"role": "assistant", "content": content}))
        row = {
            "id": style.id,
            "owner": turn.owner,
            "created": time.time(),
            "first": turn.first or style.id,
            "number": turn.number,
            "fixed": turn.fixed,
            "messages": msgspec.json.encode([*turn.messages, answer]),
        }

        def work(connection: Connection) -> None:
            held = (TURNS.c.id == turn.previous, TURNS.c.claim == turn.claim)
            linked = connection.execute(update(TURNS).where(*held).values(next=style.id)).rowcount
            if turn.previous is not None and not linked:
                raise _taken_over(turn.previous)
            connection.execute(TURNS.delete().where(TURNS.c.created < time.time() - SECONDS))
            connection.execute(TURNS.insert().values(row))

        await self._tables.write(work)

    async def _check_quota(self, owner: str) -> None:
        if not self._quota:
            return
        size = func.coalesce(func.sum(func.length(TURNS.c.messages)), 0)
        used = await self._tables.read(lambda connection: connection.scalar(select(size).where(TURNS.c.owner == owner)))
        if int(used or 0) > self._quota:
            raise Forbidden(
                f"thread: the threads of this key have {used} bytes, more than it may keep ({self._quota}); the oldest "
                "go after 30 days. Send the whole conversation without thread"
            )


def unsupported(feature: str, why: str) -> BadRequest:
    """A request that cannot be one of a thread. With this code the SDKs send the whole conversation instead."""
    return BadRequest(
        f"thread: {why}; send the whole conversation without it",
        code="thread_unsupported_request",
        details={"unsupported": [feature]},
    )


def _param(raw: Raw) -> ThreadParam:
    try:
        return msgspec.json.decode(raw, type=ThreadParam)
    except msgspec.ValidationError as error:
        raise BadRequest(f"thread: {error}") from None


def _messages(members: dict[str, Raw]) -> list[Raw]:
    """The messages of a request; none where they are no list, which is told when they are read."""
    try:
        return msgspec.json.decode(members.get("messages", Raw(b"[]")), type=list[Raw])
    except msgspec.ValidationError:
        raise BadRequest("messages: Input should be a valid list") from None


def _turn(connection: Connection, id: str, owner: str) -> Any:
    mine = (TURNS.c.id == id, TURNS.c.owner == owner, TURNS.c.created > time.time() - SECONDS)
    turn = connection.execute(select(TURNS).where(*mine).with_for_update()).first()
    if turn is None:
        raise _not_found(id)
    return turn


def _check_free(turn: Any) -> None:
    if turn.next is not None:
        raise BadRequest(
            f"thread: {turn.id} was continued already; go on from the latest reply, or send the whole conversation "
            'with thread: {"type": "create"}',
            code="thread_already_continued",
        )
    if turn.claim is not None and turn.until > time.time():
        raise BadRequest(
            f"thread: another request goes on from {turn.id} now; wait until it has ended",
            code="thread_continue_in_flight",
        )


def _taken_over(id: str) -> BadRequest:
    return BadRequest(
        f"thread: another request went on from {id} while this reply was made, which took more than {_LEASE:.0f} "
        "seconds; this reply is not kept",
        code="thread_already_continued",
    )


def _not_found(id: str) -> NotFound:
    return NotFound(
        f"thread: no thread has the reply {id[:80]!r}; it may have expired. Send the whole conversation with "
        'thread: {"type": "create"}',
        code="thread_not_found",
    )


def _compact(raw: Raw | None) -> bytes:
    return msgspec.json.format(bytes(raw), indent=-1) if raw is not None else b"null"
