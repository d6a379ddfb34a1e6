"""Everything the official SDK can say, in every position: answered or refused, never a failure of ours."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic import types
from anthropic.types import beta

from antiphon.api.errors import BadRequest
from tests.surfaces.messages import sdk_corpus
from tests.surfaces.messages.reading import body, read

BLOCKS = [*sdk_corpus.members(types.ContentBlockParam), *sdk_corpus.members(beta.BetaContentBlockParam)]
TOOLS = [*sdk_corpus.members(types.ToolUnionParam), *sdk_corpus.members(beta.BetaToolUnionParam)]
THINKING = [*sdk_corpus.members(types.ThinkingConfigParam), *sdk_corpus.members(beta.BetaThinkingConfigParam)]
CHOICES = [*sdk_corpus.members(types.ToolChoiceParam)]

USER = {"role": "user", "content": "Hi"}
CALL = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}


def positions(block: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """A block as user, assistant and system content, inside a result, and inside a document."""
    within = {"type": "document", "source": {"type": "content", "content": [block]}}
    return [
        [{"role": "user", "content": [block]}],
        [USER, {"role": "assistant", "content": [block]}, USER],
        [USER, {"role": "assistant", "content": [block]}, {"role": "user", "content": [RESULT]}],
        [USER, CALL, {"role": "user", "content": [block]}],
        [USER, {"role": "system", "content": [block]}],
        [USER, CALL, {"role": "user", "content": [{**RESULT, "content": [block]}]}],
        [{"role": "user", "content": [within]}],
    ]


def accepted(given: bytes, *, vision: bool = False) -> bool:
    try:
        read(given, vision=vision)
    except BadRequest:
        return False
    return True


def test_the_corpus_is_not_empty() -> None:
    """Introspection found what it looked for."""
    assert len(BLOCKS) >= 30
    assert len(TOOLS) >= 35
    assert len(THINKING) >= 6


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("kind", BLOCKS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("vision", [False, True])
def test_every_block_in_every_position(kind: type, full: bool, vision: bool) -> None:
    """B5: every block type of the unions, in and inside everything: some position takes it, none breaks on it."""
    block = sdk_corpus.sample(kind, full=full)
    found = [accepted(body(messages=messages), vision=vision) for messages in positions(block)]
    # Files are kept nowhere here, and nothing is fetched in this test: those have no position.
    if "file_id" not in repr(block) and "127.0.0.1" not in repr(block):
        assert any(found), block


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("kind", TOOLS, ids=lambda kind: kind.__name__)
def test_every_tool_type_is_accepted(kind: type, full: bool) -> None:
    """B3, B4: every tool type with few or all of its fields is accepted."""
    tool = sdk_corpus.sample(kind, full=full)
    if "input_schema" in tool:
        tool["input_schema"] = {"type": "object", "properties": {}}
    assert accepted(body(tools=[tool])), tool


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("kind", THINKING, ids=lambda kind: kind.__name__)
def test_every_way_of_thinking(kind: type, full: bool) -> None:
    """All configurations of thinking are accepted."""
    assert accepted(body(thinking=sdk_corpus.sample(kind, full=full), max_tokens=5000))


@pytest.mark.parametrize("kind", CHOICES, ids=lambda kind: kind.__name__)
def test_every_tool_choice(kind: type) -> None:
    """All choices are accepted with a tool to choose."""
    tool = {"name": "word", "input_schema": {"type": "object"}}
    assert accepted(body(tools=[tool], tool_choice=sdk_corpus.sample(kind, full=True)))


@pytest.mark.parametrize("params", [types.MessageCreateParams, beta.MessageCreateParams], ids=["ga", "beta"])
def test_every_field_of_a_request(params: Any) -> None:
    """B2: all top-level fields at once; what is not acted upon is named."""
    for kind in sdk_corpus.members(params):
        fields = sdk_corpus.sample(kind, full=True)
        for key in ("messages", "tools", "tool_choice", "thread", "betas", "thinking"):
            fields.pop(key, None)
        fields.pop("output_config", None)
        fields.pop("output_format", None)
        # A request for a summary alone takes no field that shapes a reply.
        fields.pop("compaction", None)
        asked = read(body(**{**fields, "temperature": 1.0, "stream": False}))
        assert set(asked.ignored) >= {"service_tier", "inference_geo"} & set(fields)
