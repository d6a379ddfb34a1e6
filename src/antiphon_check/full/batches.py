"""Message batches."""

from __future__ import annotations

import json
import time
from typing import Any

from antiphon_check.registry import API, SDK, check
from antiphon_check.server import Server
from antiphon_check.verdict import Failed, Unjudged, expect

_ROUTE = "/v1/messages/batches"
_SOURCE = API + "creating-message-batches"


def _created(server: Server, *ids: str) -> dict[str, Any]:
    requests = [{"custom_id": id, "params": server.plain()} for id in ids]
    exchange = server.request("POST", _ROUTE, {"requests": requests})
    if exchange.status in (404, 405, 501):
        server.works()
        raise Unjudged("the server has no message batches")
    return server.accepted(exchange, "id")


def _ended(server: Server, id: str) -> dict[str, Any]:
    until = time.monotonic() + server.target.seconds
    while time.monotonic() < until:
        batch = server.accepted(server.request("GET", f"{_ROUTE}/{id}"), "processing_status")
        if batch["processing_status"] == "ended":
            return batch
        time.sleep(0.3)
    raise Failed(f"the batch has not ended after {server.target.seconds:g} s")


@check(
    "full.batch_fields",
    "A new batch has an id, a state and counts.",
    reason="The SDKs' `MessageBatch` declares them.",
    source=SDK + "types/messages/message_batch.py",
)
def batch_fields(server: Server) -> None:
    batch = _created(server, "one")
    expect(batch.get("type") == "message_batch", f"`type` is {batch.get('type')!r}")
    states = ("in_progress", "canceling", "ended")
    expect(batch.get("processing_status") in states, f"`processing_status` is {batch.get('processing_status')!r}")
    counts = batch.get("request_counts")
    expect(isinstance(counts, dict) and sum(counts.values()) == 1, f"`request_counts` is {counts!r}")
    for name in ("created_at", "expires_at"):
        expect(isinstance(batch.get(name), str), f"`{name}` is {batch.get(name)!r}")


@check(
    "full.batch_results",
    "It ends, and every request has one result under its id.",
    reason="Evaluations of a night are read back by id.",
    source=API + "retrieving-message-batch-results",
)
def batch_results(server: Server) -> None:
    batch = _ended(server, _created(server, "one", "two")["id"])
    exchange = server.request("GET", f"{_ROUTE}/{batch['id']}/results")
    expect(exchange.status == 200, f"expected status 200, got {exchange.status}")
    results = [json.loads(line) for line in exchange.body.splitlines() if line.strip()]
    ids = sorted(str(each.get("custom_id")) for each in results)
    expect(ids == ["one", "two"], f"the results are those of {ids}")
    for each in results:
        expect((each.get("result") or {}).get("type") == "succeeded", f"a result is {each.get('result')!r}")
        expect((each["result"].get("message") or {}).get("type") == "message", "a result has no message")


@check(
    "full.batch_list",
    "Batches are listed, the newest first.",
    reason="The SDKs page through them.",
    source=API + "listing-message-batches",
)
def batch_list(server: Server) -> None:
    id = _created(server, "one")["id"]
    page = server.accepted(server.request("GET", _ROUTE), "data")
    listed = [each.get("id") for each in page["data"]]
    expect(listed and listed[0] == id, f"the newest batch is {id!r}, the first one listed {listed[:1]!r}")
    expect(page.get("has_more") in (True, False), f"`has_more` is {page.get('has_more')!r}")


@check(
    "full.batch_refused",
    "Two requests of one id are a 400; an unknown batch is a 404.",
    reason="Results are matched by id alone.",
    source=_SOURCE,
)
def batch_refused(server: Server) -> None:
    _created(server, "one")
    twice = [{"custom_id": "same", "params": server.plain()}] * 2
    server.refused(server.request("POST", _ROUTE, {"requests": twice}), 400)
    server.refused(server.request("GET", f"{_ROUTE}/msgbatch_nothing"), 404)
