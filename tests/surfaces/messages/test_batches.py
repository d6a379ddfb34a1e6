"""Message batches over a socket, through the official SDK."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.end_to_end.conftest import HERE, Server, serving

SCRIPT = f"scripted+{HERE / 'script.json'}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A script, for two keys."""
    keys = ("--api-key", "sk-one", "--api-key", "sk-two")
    with serving(tmp_path_factory.mktemp("batches"), SCRIPT, *keys) as running:
        yield running


def connected(server: Server, key: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.url, api_key=key, max_retries=0)


@pytest.fixture
def client(server: Server) -> Iterator[anthropic.Anthropic]:
    """The SDK with the first key."""
    with connected(server, "sk-one") as client:
        yield client


def asked(id: str, text: str, **fields: Any) -> Any:
    body = {"model": "claude-x", "max_tokens": 50, "messages": [{"role": "user", "content": text}], **fields}
    return {"custom_id": id, "params": body}


def over(client: anthropic.Anthropic, id: str) -> Any:
    """The batch, once it has ended."""
    for _ in range(300):
        batch = client.messages.batches.retrieve(id)
        if batch.processing_status == "ended":
            return batch
        assert batch.results_url is None
        time.sleep(0.1)
    raise AssertionError("the batch does not end")


def test_a_batch_from_its_making_to_its_end(client: anthropic.Anthropic) -> None:
    """Created, waited for, read, listed, deleted; a reply is the one that a request by itself would get, but for its
    service tier; what is wrong with a request is told in its result, in the API's envelope."""
    tool = {"name": "get_weather", "input_schema": {"type": "object"}}
    requests = [
        asked("plain", "Say hello."),
        asked("tools", "Two tools please", tools=[tool]),
        asked("streamed", "Say hello.", stream=True),
        asked("empty", "Say hello.", messages=[]),
        asked("warming", "Say hello.", max_tokens=0),
    ]
    made = client.messages.batches.create(requests=requests)
    assert (made.type, made.processing_status, made.request_counts.processing) == ("message_batch", "in_progress", 5)
    batch = over(client, made.id)
    assert batch.ended_at
    assert batch.expires_at > batch.created_at
    assert batch.request_counts.processing == 0
    assert (batch.request_counts.succeeded, batch.request_counts.errored) == (2, 3)
    results = {one.custom_id: one.result for one in client.messages.batches.results(made.id)}
    alone = client.messages.create(**requests[0]["params"])
    message = results["plain"].message  # type: ignore[union-attr]
    assert message.usage.service_tier == "batch"
    assert message.content[-1].text == alone.content[-1].text  # type: ignore[union-attr]
    assert results["tools"].message.stop_reason == "tool_use"  # type: ignore[union-attr]
    for name in ("streamed", "empty", "warming"):
        refused = results[name].error  # type: ignore[union-attr]
        assert (refused.type, refused.error.type) == ("error", "invalid_request_error")
    assert next(one.id for one in client.messages.batches.list(limit=1)) == made.id
    assert client.messages.batches.delete(made.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(made.id)


def test_what_is_listed_can_be_deleted_on_the_way(client: anthropic.Anthropic) -> None:
    """Page after page, also where what a page goes on from is no more."""
    made = [client.messages.batches.create(requests=[asked("one", "Say hello.")]).id for _ in range(5)]
    for id in made:
        over(client, id)
    listed = client.messages.batches.list(limit=2)
    deleted = [client.messages.batches.delete(batch.id).id for batch in listed if batch.id in made]
    assert deleted == made[::-1]
    with pytest.raises(anthropic.NotFoundError, match="after_id: message batch: msgbatch_none"):
        client.messages.batches.list(after_id="msgbatch_none")


def test_a_batch_is_its_makers(server: Server, client: anthropic.Anthropic) -> None:
    """Another key neither sees it nor its results, nor can it end it."""
    made = client.messages.batches.create(requests=[asked("slow", "Slowly")])
    with connected(server, "sk-two") as other:
        assert made.id not in [one.id for one in other.messages.batches.list()]
        for ask in (other.messages.batches.retrieve, other.messages.batches.cancel, other.messages.batches.results):
            with pytest.raises(anthropic.NotFoundError):
                ask(made.id)
    assert client.messages.batches.cancel(made.id).processing_status in ("canceling", "ended")
    assert over(client, made.id).request_counts.canceled == 1


def test_what_is_no_batch_is_refused(client: anthropic.Anthropic) -> None:
    """With the path of what is wrong; nothing of it is kept."""
    before = [one.id for one in client.messages.batches.list()]
    bad: list[tuple[Any, str]] = [
        ([], "requests: List should have at least 1 item"),
        ([asked("a b", "x")], "requests.0.custom_id"),
        ([asked("a", "x"), asked("a", "y")], "requests.1.custom_id"),
        ([{"custom_id": "a"}], "requests.0.params: Field required"),
        ([{"custom_id": "a", "params": []}], "requests.0.params: Input should be a valid dictionary"),
    ]
    for requests, words in bad:
        with pytest.raises(anthropic.BadRequestError) as refused:
            client.messages.batches.create(requests=requests)
        assert words in str(refused.value)
    assert [one.id for one in client.messages.batches.list()] == before
    made = client.messages.batches.create(requests=[asked("slow", "Slowly")])
    for ask in (
        client.messages.batches.delete,
        lambda id: client.get(f"/v1/messages/batches/{id}/results", cast_to=str),
    ):
        with pytest.raises(anthropic.BadRequestError, match="has not ended"):
            ask(made.id)
    client.messages.batches.cancel(made.id)
    over(client, made.id)
