"""Real vLLM and SGLang beside the embedded engine on the same model: the same prompts, the same greedy words, and the
same guarantees."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema_rs
import pytest

from tests.end_to_end.conftest import Server
from tests.end_to_end.test_real_model import ASK, SCHEMAS, TOOLS, WEATHER, bodies, message, post, total, user
from tests.engines.cases import REAL

pytestmark = pytest.mark.skipif(
    not REAL.startswith(("vllm", "sglang")), reason="of `make engines-real` for vllm and sglang, which run the model"
)

BLOCK = 128
"""Tokens that vLLM's cache keeps together on a CPU; SGLang's keeps each."""


def test_the_same_prompts(before: Server, embedded: Server) -> None:
    """Token for token, whatever is in the request; and counted alike."""
    for body in bodies():
        asked = {"model": "local-model", **body}
        ours, theirs = [post(server, "/v1/messages/render", asked) for server in (before, embedded)]
        assert ours["ids"] == theirs["ids"], body
        ours, theirs = [post(server, "/v1/messages/count_tokens", asked) for server in (before, embedded)]
        assert ours == theirs


QUESTIONS = (
    "What is the capital of France?",
    "Name three colours.",
    "What is two plus two?",
    "Who wrote Romeo and Juliet?",
    "What do bees make?",
    "Write a sentence about the sea.",
)


def test_the_same_greedy_text(before: Server, embedded: Server) -> None:
    """At temperature 0 both write the same words. The embedded engine rounds its sums to eight bits where the others
    have bfloat16, so in time they part; most replies agree over their first ten words or to their end."""
    agreed = []
    for question in QUESTIONS:
        asked = {"max_tokens": 40, "temperature": 0.0, "messages": [user(question)]}
        ours, theirs = [message(server, **asked)["content"][0]["text"].split() for server in (before, embedded)]
        same = next((at for at, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), len(ours))
        agreed.append(same >= 10 or ours == theirs)
    assert sum(agreed) > len(agreed) / 2, agreed


def test_forced_calls_are_valid(before: Server) -> None:
    """A forced call is one of a declared tool, and its input matches the schema, at temperature 1."""

    def forced(number: int) -> dict[str, Any]:
        asked = user(f"What is the weather in city number {number}?")
        choice = {"type": "any"} if number % 2 else {"type": "tool", "name": TOOLS[number % 3]["name"]}
        answer = message(before, max_tokens=400, temperature=1.0, messages=[asked], tools=TOOLS, tool_choice=choice)
        assert answer["content"][0]["name"] in (choice.get("name"), *([] if "name" in choice else SCHEMAS))
        return answer

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(forced, range(12)))
    for answer in answers:
        assert answer["stop_reason"] == "tool_use", answer
        for block in answer["content"]:
            assert block["type"] == "tool_use"
            jsonschema_rs.validate(SCHEMAS[block["name"]], block["input"])


def test_structured_output_is_valid(before: Server) -> None:
    """The text is JSON that matches the schema asked for."""
    for schema in (WEATHER, ASK):
        output = {"format": {"type": "json_schema", "schema": schema}}
        answer = message(before, max_tokens=400, messages=[user("Tell me of Paris.")], output_config=output)
        (block,) = answer["content"]
        jsonschema_rs.validate(schema, json.loads(block["text"]))
        assert answer["stop_reason"] == "end_turn"


def test_thinking_keeps_to_its_budget(thinking: Server) -> None:
    """A model that would think on is stopped at the budget, and answers in what is left; by a schema where one is
    asked for."""
    policy = {"type": "enabled", "budget_tokens": 20}
    asked = {"max_tokens": 60, "messages": [user("Tell me a long story about the sea.")], "thinking": policy}
    answer = message(thinking, **asked)
    assert [block["type"] for block in answer["content"]] == ["thinking", "text"]
    assert 0 < answer["usage"]["output_tokens"] <= 60
    counted = post(thinking, "/v1/messages/count_tokens", {"model": "local-model", **asked})["input_tokens"]
    assert total(answer["usage"]) == counted
    output = {"format": {"type": "json_schema", "schema": WEATHER}}
    answer = message(thinking, **{**asked, "max_tokens": 300}, output_config=output)
    assert [block["type"] for block in answer["content"]] == ["thinking", "text"]
    jsonschema_rs.validate(WEATHER, json.loads(answer["content"][1]["text"]))


def test_a_growing_conversation_is_cached(before: Server) -> None:
    """Each turn finds all that the one before computed, but for a block that is not full."""
    turns, known = [user("the sea " * 100)], 0
    for _ in range(4):
        answer = message(before, max_tokens=24, messages=turns)
        usage = answer["usage"]
        assert usage["cache_read_input_tokens"] > known - BLOCK
        known = total(usage) + usage["output_tokens"]
        turns += [{"role": "assistant", "content": answer["content"]}, user("Go on. " * 40)]
    assert usage["cache_read_input_tokens"] >= 3 * BLOCK
