"""Message batches: many requests at once, answered when there is room, their answers fetched as a file."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw
from starlette.types import ASGIApp

from antiphon.api.errors import BadRequest, Failure, NotFound, NotKept
from antiphon.batches.previous import take_over
from antiphon.batches.store import Batch, BatchStore, Counts
from antiphon.batches.worker import Worker
from antiphon.serving.service import Service
from antiphon.storage import files
from antiphon.storage.lines import one_line
from antiphon.surfaces.anthropic import failures, pages
from antiphon.surfaces.content import downloads
from antiphon.surfaces.http import json_body
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.ids import made_at
from antiphon.surfaces.surface import Operation, Options, Parameter, Route, Surface, Work

_BODIES = 8
"""A batch may have so many times the size of a single request."""
_USUAL = 8
"""Requests of batches at once, where engines do not say how many they work on."""
_KEPT_HEADERS = ("anthropic-version", "anthropic-beta")
_PLACE = "/messages/batches"

CustomId = Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]


class BatchRequest(msgspec.Struct):
    """A request of a batch: `params` is the body that POST /v1/messages takes, without `stream`. What is wrong with it
    is told in its result."""

    custom_id: CustomId
    params: Annotated[Raw, Meta(extra_json_schema={"type": "object"})]


class Creation(msgspec.Struct):
    """The requests of a new batch. Each has another `custom_id`."""

    requests: Annotated[list[BatchRequest], Meta(min_length=1, max_length=100_000)]


class MessageBatch(msgspec.Struct, kw_only=True):
    """A batch. Until it has ended, all of its requests count as `processing`."""

    id: str
    type: Literal["message_batch"] = "message_batch"
    processing_status: Literal["in_progress", "canceling", "ended"]
    request_counts: Counts
    created_at: str
    expires_at: str
    ended_at: str | None
    cancel_initiated_at: str | None
    archived_at: None = None
    results_url: str | None


class BatchPage(msgspec.Struct):
    """Some of the batches, the latest first."""

    data: list[MessageBatch]
    has_more: bool
    first_id: str | None
    last_id: str | None


class DeletedBatch(msgspec.Struct):
    """A batch was forgotten."""

    id: str
    type: Literal["message_batch_deleted"] = "message_batch_deleted"


class _Batches:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._previous = options.previous_batches

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path=_PLACE, answer=self._create, operation=_CREATE),
            Route(method="GET", path=_PLACE, answer=self._list, operation=_LIST),
            Route(method="GET", path=f"{_PLACE}/*", answer=self._one, operation=_ONE),
            Route(method="DELETE", path=f"{_PLACE}/*", answer=self._delete, operation=_DELETE),
            Route(method="POST", path=f"{_PLACE}/*/cancel", answer=self._cancel, operation=_CANCEL),
            Route(method="GET", path=f"{_PLACE}/*/results", answer=self._results, operation=_RESULTS),
        ]

    async def _create(self, exchange: Exchange) -> None:
        store = await self._batch_store()
        body = await exchange.body(_BODIES * self._options.max_body)
        requests = await asyncio.to_thread(_read, body)
        id = self._options.new_id("msgbatch_")
        batch = Batch(
            id=id,
            owner=exchange.watch.key,
            created=made_at(id) or time.time(),
            total=len(requests),
            headers={name: value for name in _KEPT_HEADERS if (value := exchange.header(name))},
        )
        lines = (one_line(msgspec.json.encode(request)) for request in requests)
        with self._store("this batch", len(body)):
            await store.create(batch, lines)
        await self._tell(exchange, batch)

    async def _list(self, exchange: Exchange) -> None:
        store = await self._batch_store()
        with self._store("message batches"):
            mine = await store.all(exchange.watch.key)
        names = [batch.id for batch in mine]

        def before(deleted: str) -> int | None:
            made = made_at(deleted)
            return None if made is None else sum((batch.created, batch.id) > (made, deleted) for batch in mine)

        places, more = pages.cut(names, exchange.query, usual="20", kind="message batch", before=before)
        data = [_encoded(mine[place], exchange) for place in places]
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        await exchange.reply(200, msgspec.json.encode(BatchPage(data, more, first, last)))

    async def _one(self, exchange: Exchange) -> None:
        await self._tell(exchange, await self._batch(await self._batch_store(), exchange))

    async def _cancel(self, exchange: Exchange) -> None:
        store = await self._batch_store()
        batch = await self._batch(store, exchange)
        if batch.ended is None:
            with self._store("the cancellation"):
                await store.cancel(batch.id)
            batch = await self._batch(store, exchange)
        await self._tell(exchange, batch)

    async def _delete(self, exchange: Exchange) -> None:
        store = await self._batch_store()
        batch = await self._batch(store, exchange)
        if batch.ended is None:
            raise BadRequest(f"{batch.id} has not ended: cancel it first, or wait until it has")
        with self._store("the deletion"):
            await store.delete(batch)
        await exchange.reply(200, msgspec.json.encode(DeletedBatch(batch.id)))

    async def _results(self, exchange: Exchange) -> None:
        store = await self._batch_store()
        batch = await self._batch(store, exchange)
        if batch.ended is None:
            raise BadRequest(f"{batch.id} has not ended: it has no results yet")
        headers = [(b"content-type", b"application/x-jsonl")]
        await downloads.send(exchange, headers, store.results(batch), self._store("the results"))

    async def _batch(self, store: BatchStore, exchange: Exchange) -> Batch:
        """The batch that the path names, if it is one of this client's."""
        with self._store("this batch"):
            batch = await store.get(exchange.rest, exchange.watch.key)
        if batch is None:
            raise NotFound(f"message batch: {exchange.rest}")
        return batch

    @contextlib.contextmanager
    def _store(self, what: str, size: int = 0) -> Iterator[None]:
        """Tell the client what the store has refused to keep, of this size in bytes."""
        try:
            yield
        except OSError as error:
            assert self._options.store is not None
            place, option = self._options.store.source(error)
            raise NotKept(files.refusal(what, error, place, option, size)) from error

    async def _batch_store(self) -> BatchStore:
        if self._options.store is None:
            raise NotFound("this server keeps no message batches")
        batches = BatchStore(self._options.store)
        if self._previous:
            await take_over(Path(self._previous), batches)
            self._previous = ""
        return batches

    async def _tell(self, exchange: Exchange, batch: Batch) -> None:
        await exchange.reply(200, msgspec.json.encode(_encoded(batch, exchange)))


def _read(body: bytes) -> list[BatchRequest]:
    """The requests in a body. Raises BadRequest that says what is wrong, and where."""
    requests = json_body.read(body, _creation)[0].requests
    seen = set[str]()
    for place, request in enumerate(requests):
        if request.custom_id in seen:
            raise BadRequest(f"requests.{place}.custom_id: {request.custom_id} was used before; each must be unique")
        seen.add(request.custom_id)
        if not bytes(request.params).lstrip().startswith(b"{"):
            raise BadRequest(f"requests.{place}.params: Input should be a valid dictionary")
    return requests


_creation = msgspec.json.Decoder(Creation)


def _encoded(batch: Batch, exchange: Exchange) -> MessageBatch:
    ended = batch.ended is not None
    return MessageBatch(
        id=batch.id,
        processing_status=batch.status,
        request_counts=batch.counts if ended else Counts(processing=batch.total),
        created_at=_time(batch.created),
        expires_at=_time(batch.expires),
        ended_at=_time(batch.ended) if batch.ended is not None else None,
        cancel_initiated_at=_time(batch.cancelled) if batch.cancelled is not None else None,
        results_url=f"{_address(exchange)}/{batch.id}/results" if ended else None,
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _address(exchange: Exchange) -> str:
    """Where this client finds the batches: by the name and the path that it uses itself."""
    scheme = exchange.header("x-forwarded-proto") or exchange.scope.get("scheme") or "http"
    host = exchange.header("x-forwarded-host") or exchange.header("host") or "localhost"
    path, place, _ = str(exchange.scope["path"]).partition(_PLACE)
    return f"{scheme.partition(',')[0].strip()}://{host.partition(',')[0].strip()}{path}{place}"


def _tend(service: Service, application: ASGIApp, options: Options) -> Work | None:
    """Work on what is kept; one slot of the engine stays free for those who wait."""
    store = options.store
    if store is None:
        return None
    # Workers of this machine share its engines.
    most = max((service.slots - 1) // options.workers, 1) if service.slots else _USUAL

    def envelope(failure: Failure) -> bytes:
        return failures.body(failure, options.new_id("req_"))

    async def work() -> None:
        if options.previous_batches:
            await take_over(Path(options.previous_batches), BatchStore(store))
        await Worker(store, application, most, envelope).run()

    return work


def _routes(service: Service, options: Options) -> list[Route]:
    return _Batches(options).routes()


_ID = (Parameter("message_batch_id", "path", "The id of the batch.", required=True),)
_BATCH = {"application/json": MessageBatch}
_CREATE = Operation(
    summary="Create a batch of requests",
    description="Requests that somebody waits for go first. What is not answered after 24 hours expires. The headers "
    "of this request apply to each request of the batch.",
    body=Creation,
    replies=_BATCH,
)
_LIST = Operation(
    summary="List the batches of this key", replies={"application/json": BatchPage}, parameters=pages.PARAMETERS
)
_ONE = Operation(summary="Retrieve a batch", replies=_BATCH, parameters=_ID, rest="message_batch_id")
_DELETE = Operation(
    summary="Delete a batch that has ended",
    replies={"application/json": DeletedBatch},
    parameters=_ID,
    rest="message_batch_id",
)
_CANCEL = Operation(summary="Cancel what is left of a batch", replies=_BATCH, parameters=_ID, rest="message_batch_id")
_RESULTS = Operation(
    summary="Download the results of a batch that has ended",
    description="A line of JSON for each request, in any order: its `custom_id` and its `result`, whose `type` is "
    "`succeeded`, `errored`, `canceled` or `expired`.",
    replies={"application/x-jsonl": str},
    parameters=_ID,
    rest="message_batch_id",
)
SURFACE = Surface(
    name="message_batches",
    routes=_routes,
    failures=failures.FAILURES,
    tend=_tend,
)
