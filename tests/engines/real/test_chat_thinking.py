"""Thinking that vLLM's chat route reads, in its field `reasoning`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.end_to_end.conftest import Server, serving
from tests.end_to_end.test_real_model import message, user
from tests.engines import thoughts
from tests.engines.cases import REAL
from tests.engines.real.conftest import NAMED, streamed
from tests.surfaces import order

pytestmark = pytest.mark.skipif(not REAL.startswith("openai"), reason="of `make engines-real vllm-thinking`")

TURNS = [{"role": "assistant" if at % 2 else "user", "content": text} for at, text in enumerate(thoughts.CAPITALS)]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Antiphon before the chat route."""
    with serving(tmp_path_factory.mktemp("chat"), REAL, *NAMED) as server:
        yield server


def test_thinking_stands_before_the_answer(chat: Server) -> None:
    """As a block of its own, in a whole reply."""
    answer = message(chat, max_tokens=60, temperature=0.0, messages=TURNS)
    thought, text = answer["content"]
    assert (thought["type"], thought["thinking"].strip()) == ("thinking", thoughts.THOUGHT)
    assert (text["type"], text["text"], answer["stop_reason"]) == ("text", thoughts.ANSWER, "end_turn")


async def test_thinking_is_streamed(chat: Server) -> None:
    """As it comes, and signed at its end."""
    events = order.frames(await streamed(chat, max_tokens=60, temperature=0.0, messages=TURNS))
    order.check(events)
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    thinking = [delta["thinking"] for delta in deltas if delta["type"] == "thinking_delta"]
    assert len(thinking) > 1
    assert "".join(thinking).strip() == thoughts.THOUGHT
    assert "".join(delta.get("text", "") for delta in deltas) == thoughts.ANSWER


def test_thinking_can_be_turned_off(chat: Server) -> None:
    """The template is told, and the reply is text alone."""
    asked = {"thinking": {"type": "disabled"}, "messages": [user("What is the capital of France?")]}
    answer = message(chat, max_tokens=12, temperature=0.0, **asked)
    assert [block["type"] for block in answer["content"]] == ["text"]
