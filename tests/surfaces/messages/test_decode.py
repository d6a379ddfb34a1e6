"""Tolerant in: what is accepted, what it becomes, and the words in which the rest is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any, get_args, get_type_hints

import pytest
from anthropic.types import OutputConfigParam, ThinkingConfigAdaptiveParam
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.api.conversation import Text, Thinking, ThinkingPolicy, ToolChoice, ToolResult, ToolUse, Turn
from antiphon.api.errors import BadRequest
from tests.surfaces.messages.reading import SEAL, body, conversation, read, refusal
from tests.surfaces.scripted_service import shown

USER = {"role": "user", "content": "Hi"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
FORMAT = {"type": "json_schema", "schema": {"type": "object"}}


def result(id: str = "toolu_1", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, **fields}


def says(role: str, *content: Any) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": c} if isinstance(c, str) else c for c in content]}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": "x"}, "messages: Input should be a valid list"),
        ({"messages": [{"content": "x"}]}, "messages.0.role: Field required"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        (
            {"messages": [{"role": "wizard", "content": "x"}]},
            "messages.0.role: Input should be 'user', 'assistant' or 'system'",
        ),
        ({"messages": [says("user", {"type": "text"})]}, "messages.0.content.0.text.text: Field required"),
        ({"messages": [says("user", {"text": "x"})]}, "messages.0.content.0.type: Field required"),
        ({"messages": [{"role": "user", "content": [3]}]}, "messages.0.content.0: Input should be a valid dictionary"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 'messages: first message must use the "user" role'),
        (
            {"messages": [{"role": "user", "content": ""}]},
            "messages.0: all messages must have non-empty content except for the optional final assistant message",
        ),
        (
            {"system": [{"type": "text", "text": "x"}, {"type": "image", "source": {"type": "url", "url": "x"}}]},
            "system.1.type: Input should be 'text'",
        ),
        (
            {"thinking": {"type": "sometimes"}},
            "thinking: Input tag 'sometimes' found using 'type' does not match any of the expected tags: "
            "'adaptive', 'between_tools', 'disabled', 'enabled'",
        ),
        ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 0"),
        ({"max_tokens": "x"}, "max_tokens: Input should be a valid integer"),
        ({"model": ""}, "model: String should have at least 1 character"),
        ({"temperature": 3}, "temperature: Input should be less than or equal to 2"),
        ({"top_p": -0.5}, "top_p: Input should be greater than or equal to 0"),
        ({"stream": "yes"}, "stream: Input should be a valid boolean"),
        ({"tools": [TOOL, TOOL]}, "tools: Tool names must be unique."),
        ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [{"input_schema": {}}]}, "tools.0.custom.name: Field required"),
        (
            {"tools": [{**TOOL, "name": "a b"}]},
            "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
        ),
        ({"tools": [{"name": "f", "input_schema": {}}]}, "tools.0.custom.input_schema.type: Field required"),
        (
            {"messages": [says("user", {"type": "document", "source": {"type": "text", "text": "x"}})]},
            "messages.0.content.0.document.source.text.data: Field required",
        ),
        (
            {"messages": [says("user", {"type": "document", "source": {"type": "content"}})]},
            "messages.0.content.0.document.source.content.content: Field required",
        ),
        (
            {"messages": [USER, says("assistant", "{")], "output_config": {"format": FORMAT}},
            "output_config.format: a reply of one JSON value cannot continue a text; end with a user message",
        ),
        ({"tool_choice": {"type": "any"}}, "tool_choice: may only be specified while providing tools."),
        (
            {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}},
            "Tool 'g' not found in provided tools",
        ),
        ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.tool.name: Field required"),
        ({"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
        (
            {"messages": [USER, says("assistant", CALL), USER]},
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1. Each "
            "`tool_use` block must have a corresponding `tool_result` block in the next message.",
        ),
        (
            {"messages": [says("user", result())]},
            "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_1. Each `tool_result` "
            "block must have a corresponding `tool_use` block in the previous message.",
        ),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type: Input should be 'json_schema'"),
        ({"output_format": {"type": "json_schema"}}, "output_format.schema: Field required"),
    ],
)
def test_refusals_use_the_words_of_the_original(fields: dict[str, Any], words: str) -> None:
    """Clients and people match these sentences; the path is dotted and names the member of the union."""
    assert refusal(**fields) == words


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(missing: str) -> None:
    """The first thing anybody gets wrong."""
    whole = json.loads(body())
    del whole[missing]
    assert refusal(json.dumps(whole).encode()) == f"{missing}: Field required"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (b"", "unexpected end of data (byte 0)"),
        (b'{"model": "m", ', "unexpected end of data (byte 15)"),
        (b'{"model": NaN}', "(byte 10)"),
        (b'{"model": "\xff"}', "not valid UTF-8: byte 11"),
        (b"[1]", "Input should be a valid dictionary"),
        (b'{"x": ' + b"[" * 100_000, "nested too deeply"),
        (body()[:-1] + b', "temperature": 1e999}', "temperature: "),
        (body()[:-1] + b', "max_tokens": 1' + b"0" * 400 + b"}", "max_tokens: "),
        (body()[:-1] + b', "max_tokens": 1' + b"0" * 5000 + b"}", "max_tokens: "),
    ],
)
def test_what_is_not_json_is_told_with_its_place(given: bytes, words: str) -> None:
    """Malformed, cut short, not UTF-8, NaN, too deep, too large: a sentence that says where."""
    assert words in refusal(given)


@pytest.mark.parametrize("name", ["draft-07/schema", "draft/2020-12/schema"])
def test_schemas_of_older_drafts_are_taken(name: str) -> None:
    """Agents copy schemas from wherever; a declared dialect that is met is good enough."""
    schema = {"$schema": f"http://json-schema.org/{name}#", "type": "object", "properties": {"a": {"type": "string"}}}
    tool = read(body(tools=[{"name": "f", "input_schema": schema}])).conversation.tools[0]
    assert list(tool.schema) == ["$schema", "type", "properties"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"a": {"type": "strng"}}},
        {"$schema": "http://127.0.0.1:9/secret", "type": "object", "required": "a"},
    ],
)
def test_an_invalid_schema_is_refused_without_fetching_anything(schema: dict[str, Any]) -> None:
    """The dialect a client names is never followed to where it is."""
    words = refusal(tools=[{"name": "f", "input_schema": schema}])
    assert words.startswith("tools.0.custom.input_schema: JSON schema is invalid.")


def test_unknown_fields_are_accepted_everywhere_and_named() -> None:
    """Every release of a client adds some; the response says which had no effect."""
    asked = read(
        body(
            messages=[{"role": "user", "content": [{"type": "text", "text": "x", "new": 1}], "new": 2}],
            tools=[{**TOOL, "eager_input_streaming": True, "new": 3}],
            output_config={"effort": "high", "new": 4},
            speed="fast",
            brand_new={"a": 1},
        )
    )
    assert asked.ignored == ("brand_new", "speed")


def test_a_thread_is_refused_by_the_code_that_clients_recover_from() -> None:
    """With this code the SDKs send the whole history; without it the conversation would be lost."""
    with pytest.raises(BadRequest) as refused:
        read(body(thread={"type": "create"}))
    assert refused.value.code == "thread_unsupported_request"
    assert refused.value.details == {"unsupported": ["thread"]}


def test_the_form_of_content_does_not_matter() -> None:
    """A text, the same as one block, and cut into two blocks, cached or not: one and the same conversation (A6)."""
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    forms = [
        {"role": "user", "content": "one two"},
        says("user", "one two"),
        says("user", "one ", "two"),
        {"role": "user", "content": [{"type": "text", "text": "one two", **mark}]},
        says("user", "", "one two", ""),
    ]
    assert len({repr(conversation([form])) for form in forms}) == 1


@pytest.mark.parametrize("bookkeeping", ["cch=1;", "cch=2; cc_version=2.1.330.f89;"])
def test_the_billing_line_never_reaches_the_model(bookkeeping: str) -> None:
    """As a block of its own, at the head of a string, or of a block: the prompt is the same (A1)."""
    line = f"x-anthropic-billing-header: {bookkeeping}"
    blocks = [{"type": "text", "text": line}, {"type": "text", "text": "You are terse."}]
    for system in (blocks, f"{line}\nYou are terse.", [{"type": "text", "text": f"{line}\n\nYou are terse."}]):
        assert conversation([USER], system=system).system == "You are terse."
        turns = read(body(messages=[USER, {"role": "system", "content": system}])).conversation.turns
        assert turns[1].parts == (Text("You are terse."),)


def test_tool_input_is_kept_token_by_token() -> None:
    """Byte law: key order, numbers and escapes of a call are not touched. White-space law: how it was spaced does not
    reach the model."""
    text = b'{ "b": 1,  "a":"h\xc3\xa9\\u00e9", "n": 1.0e2 }'
    raw = body(messages=[USER, says("assistant", {**CALL, "input": "HERE"}), says("user", result())])
    part = read(raw.replace(b'"HERE"', text)).conversation.turns[1].parts[0]
    assert part == ToolUse(id="toolu_1", name="f", input='{"b": 1, "a": "hé\\u00e9", "n": 1.0e2}')
    assert "tool_use.input: Input should be a valid dictionary" in refusal(raw)
    assert "not valid JSON" in refusal(raw.replace(b'"HERE"', b'{"a": "\\q"}'))


def test_half_surrogates_are_mended() -> None:
    """A program that cut an emoji in half still gets its answer."""
    raw = body().replace(b'"Hi"', b'"a\\ud83d b\\\\ud83d \\ud83d\\ude00"')
    text = read(raw).conversation.turns[0].parts[0]
    assert text == Text("a\ufffd b\\ud83d 😀")


def test_thinking_comes_back_in_every_form() -> None:
    """Ours shown, ours withheld, foreign, unsigned, redacted, empty: all are history (E3); only a forged one is not."""
    shown_block = {"type": "thinking", "thinking": "I see", "signature": SEAL.sign("I see", withheld=False)}
    withheld = {"type": "thinking", "thinking": "", "signature": SEAL.sign("hidden", withheld=True)}
    others: list[Any] = [
        {"type": "thinking", "thinking": "foreign", "signature": "EqQBCgIYAhIM"},
        {"type": "thinking", "thinking": "bare"},
        {"type": "thinking", "thinking": "", "signature": "EqQBCgIYAhIM"},
        {"type": "redacted_thinking", "data": "xyz"},
    ]
    turns = conversation([USER, says("assistant", shown_block, withheld, *others, "done"), USER]).turns
    thoughts = [part.text for part in turns[1].parts if isinstance(part, Thinking)]
    assert thoughts == ["I see", "hidden", "foreign", "bare"]
    words = refusal(messages=[USER, says("assistant", {**shown_block, "thinking": "I saw"}), USER])
    assert words == "messages.1.content.0: Invalid `signature` in `thinking` block"


def test_parallel_results_may_come_in_several_messages() -> None:
    """Roles that follow each other are one turn, with system messages between them too (B10)."""
    calls = says("assistant", CALL, {**CALL, "id": "toolu_2"})
    turns = conversation(
        [
            USER,
            calls,
            says("user", "now", result("toolu_2")),
            {"role": "system", "content": "s"},
            says("user", result()),
        ]
    ).turns
    kinds = [type(part) for part in turns[2].parts]
    assert kinds == [ToolResult, ToolResult, Text]


@pytest.mark.parametrize("last", [says("assistant"), says("assistant", " "), says("assistant", {"type": "fallback"})])
def test_a_format_stands_beside_an_assistant_message_without_text(last: dict[str, Any]) -> None:
    """Nothing is continued there: what was paused goes on, and what is empty begins."""
    assert read(body(messages=[USER, last], output_config={"format": FORMAT})).generation.output_schema


def test_an_empty_assistant_message_is_no_turn() -> None:
    """A reply can be empty; a client sends it back as it got it."""
    assert [turn.role for turn in conversation([USER, {"role": "assistant", "content": []}, USER]).turns] == ["user"]


def test_sampling_is_honoured_and_nothing_is_invented() -> None:
    """Absent means the model's own default (J4b)."""
    bare = read(body()).generation
    assert bare.sampling.temperature is bare.sampling.top_k is bare.sampling.top_p is None
    told = read(body(temperature=0.5, top_k=3, top_p=0.9, stop_sequences=["x", ""])).generation
    assert (told.sampling.temperature, told.sampling.top_k, told.sampling.top_p) == (0.5, 3, 0.9)
    assert told.stop_sequences == ("x",)


@pytest.mark.parametrize(
    ("thinking", "policy"),
    [
        ({"type": "enabled", "budget_tokens": 50}, ThinkingPolicy(mode="enabled", budget=50)),
        ({"type": "adaptive", "display": "updates"}, ThinkingPolicy(mode="adaptive")),
        ({"type": "disabled"}, ThinkingPolicy(mode="disabled")),
        ({"type": "between_tools"}, ThinkingPolicy(mode="between_tools")),
    ],
)
def test_every_way_to_ask_for_thinking(thinking: dict[str, Any], policy: ThinkingPolicy) -> None:
    """All types are accepted, one that is yet to come included; a forced tool is no obstacle (E5)."""
    choice = {"type": "tool", "name": "f", "disable_parallel_tool_use": True}
    generation = read(body(thinking=thinking, tools=[TOOL], tool_choice=choice)).generation
    assert generation.thinking == policy
    assert generation.tool_choice == ToolChoice(mode="tool", name="f", parallel=False)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"output_config": {"effort": "colossal"}},
            "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
        ),
        (
            {"thinking": {"type": "adaptive", "display": "aloud"}},
            "thinking.adaptive.display: Input should be 'summarized', 'omitted' or 'updates'",
        ),
    ],
)
def test_words_that_the_api_does_not_know(fields: dict[str, Any], words: str) -> None:
    """An effort or a display that is none is refused with those that there are."""
    assert refusal(**fields) == words


def test_every_word_of_the_sdk_is_known() -> None:
    """Efforts and displays, as the official SDK types them."""
    for effort in literals(OutputConfigParam, "effort"):
        assert read(body(output_config={"effort": effort})).generation.thinking.effort == effort
    for display in literals(ThinkingConfigAdaptiveParam, "display"):
        read(body(thinking={"type": "adaptive", "display": display}))


def literals(shape: type, field: str) -> list[str]:
    """The words that a type of the SDK has for a field."""
    return [word for part in get_args(get_type_hints(shape)[field]) for word in get_args(part)]


@pytest.mark.parametrize("spelling", ["output_config", "output_format"])
def test_both_spellings_of_a_schema_for_the_text(spelling: str) -> None:
    """The old and the new one."""
    form = {"type": "json_schema", "schema": {"type": "object", "properties": {"b": {}, "a": {}}}}
    given = {"output_config": {"format": form}} if spelling == "output_config" else {"output_format": form}
    schema = read(body(**given)).generation.output_schema
    assert schema is not None
    assert list(schema["properties"]) == ["b", "a"]


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)


def words_of(text: str) -> st.SearchStrategy[str]:
    return st.sampled_from(text.split())


KINDS = words_of(
    "text image document search_result thinking redacted_thinking tool_use tool_result server_tool_use compaction "
    "web_search_tool_result mcp_tool_use mcp_tool_result tool_reference browser_state container_upload fallback "
    "tool_addition tool_removal never_seen"
)
FIELDS = words_of(
    "text source data id name input tool_use_id content title tool_name url media_type signature tabs tool"
)
BLOCK = st.builds(
    lambda kind, fields: {"type": kind, **fields}, KINDS, st.dictionaries(FIELDS, st.one_of(JSON, st.text(max_size=4)))
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "role": st.sampled_from(["user", "assistant", "system", "developer"]),
                "content": st.one_of(st.text(max_size=5), st.lists(BLOCK, max_size=3)),
            }
        ),
        max_size=4,
    ),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_any_messages_are_read_or_refused(messages: list[Any], vision: bool) -> None:
    """Fuzz: whatever blocks with whatever fields; nothing but BadRequest ever comes out."""
    try:
        found = conversation([USER, *messages], vision=vision)
    except BadRequest:
        pass
    else:
        assert all(isinstance(turn, Turn) for turn in found.turns)
        shown(found)


TOP = words_of(
    "system tools tool_choice thinking output_config output_format metadata stop_sequences context_management "
    "temperature top_k stream cache_control mcp_servers speed novelty"
)


@given(st.dictionaries(TOP, JSON, max_size=4))
@settings(max_examples=300, deadline=None)
def test_any_fields_are_read_or_refused(fields: dict[str, Any]) -> None:
    """Fuzz: whatever the fields of a request hold."""
    with contextlib.suppress(BadRequest):
        read(body(**fields))


@given(st.binary(max_size=40), st.integers(0, 200), st.integers(0, 3))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(noise: bytes, at: int, cut: int) -> None:
    """Fuzz: a valid body with bytes replaced."""
    whole = body(messages=[USER, says("assistant", CALL), says("user", result(content="x"))], tools=[TOOL])
    with contextlib.suppress(BadRequest):
        read(whole[:at] + noise + whole[at + cut :])
