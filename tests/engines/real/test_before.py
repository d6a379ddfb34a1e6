"""What clients see of any real engine, over HTTP: figures, streams, schemas, and slots that are free again."""

from __future__ import annotations

import asyncio
import json
import random
from functools import partial

import pytest

from tests.end_to_end.conftest import Server
from tests.end_to_end.test_real_model import bodies, message, post, total, user
from tests.engines.cases import REAL, counted, idle
from tests.engines.real.conftest import streamed
from tests.surfaces import order

pytestmark = pytest.mark.skipif(not REAL, reason="of `make engines-real`")

SHORT = [body for body in bodies() if len(json.dumps(body)) < 4000]
STORY = [user("Tell me a long story about the sea.")]


def test_count_law(before: Server) -> None:
    """What is counted is what the engine then uses."""
    for body in SHORT[::4]:
        count = post(before, "/v1/messages/count_tokens", {"model": "local-model", **body})
        assert count == {"input_tokens": total(message(before, **body)["usage"])}


async def test_streams_are_legal(before: Server) -> None:
    """Told as they grow, to the limit or to a stop sequence, with the engine's own figures."""
    events = order.frames(await streamed(before, messages=STORY))
    order.check(events)
    assert len([event for event in events if event["type"] == "content_block_delta"]) > 5
    assert events[-2]["delta"]["stop_reason"] == "max_tokens"
    assert events[-2]["usage"]["output_tokens"] == 20
    events = order.frames(await streamed(before, messages=STORY, max_tokens=200, stop_sequences=[" the", " sea"]))
    order.check(events)
    assert events[-2]["delta"]["stop_sequence"] in (" the", " sea")


async def test_a_disconnect_frees_the_slot(before: Server) -> None:
    """Clients that leave at any moment leave nothing behind in the engine."""
    chance = random.Random(4)
    leave = [streamed(before, chance.randint(0, 4), messages=STORY, max_tokens=1500) for _ in range(12)]
    await asyncio.gather(*leave)
    await idle(partial(counted, REAL.partition("+")[2]))


def test_a_choice_is_kept(before: Server) -> None:
    """A schema that lists what may be said is kept to."""
    output = {"format": {"type": "json_schema", "schema": {"type": "string", "enum": ["sea", "land"]}}}
    answer = message(before, max_tokens=20, messages=STORY, output_config=output)
    assert json.loads(answer["content"][0]["text"]) in ("sea", "land")
    assert answer["stop_reason"] == "end_turn"
