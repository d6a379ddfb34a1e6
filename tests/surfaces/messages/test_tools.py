"""Tools: what the model gets to see of them, and what a request for a server tool is answered with."""

from __future__ import annotations

import importlib
import json
from typing import Any

import anthropic
import jsonschema_rs
import llguidance
import pytest

from antiphon.api.conversation import ToolUse
from antiphon.api.errors import BadRequest
from antiphon.prompt.known_tools import known
from antiphon.prompt.toolsets import BROWSER, COMPUTER
from tests.surfaces import order
from tests.surfaces.conftest import serving
from tests.surfaces.messages.reading import body, read, refusal
from tests.surfaces.scripted_service import ScriptedService, shown

TOOL = {"name": "f", "input_schema": {"type": "object"}}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
USER = {"role": "user", "content": "Hi"}


def names(**fields: Any) -> list[str]:
    return [tool.name for tool in read(body(**fields)).conversation.tools]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("bash_20241022", "bash"),
        ("bash_20250124", "bash"),
        ("text_editor_20241022", "str_replace_editor"),
        ("text_editor_20250124", "str_replace_editor"),
        ("text_editor_20250429", "str_replace_based_edit_tool"),
        ("text_editor_20250728", "str_replace_based_edit_tool"),
        ("text_editor_20990101", "str_replace_based_edit_tool"),
        ("memory_20250818", "memory"),
        ("computer_20241022", "computer"),
        ("computer_20250124", "computer"),
        ("computer_20251124", "computer"),
    ],
)
def test_client_tools_of_the_api_get_their_schema(kind: str, name: str) -> None:
    """The client sends a type and a name; the model gets something it can call."""
    sizes = {"display_width_px": 1024, "display_height_px": 768} if name == "computer" else {}
    tools = read(body(tools=[{"type": kind, "name": name, **sizes}])).conversation.tools
    assert [tool.name for tool in tools] == [name]
    assert tools[0].description
    assert tools[0].schema["type"] == "object"
    assert tools[0].schema["properties"]
    if sizes:
        assert "1024" in tools[0].description


@pytest.mark.parametrize(
    ("kind", "whole", "short"),
    [
        ("bash_20250124", {"command": "ls"}, {}),
        ("bash_20250124", {"restart": True}, {"restart": False}),
        *(
            (f"text_editor_{day}", {"command": "str_replace", "path": "/a", "old_str": "b"}, {"command": "str_replace"})
            for day in ("20241022", "20250124", "20250429", "20250728")
        ),
        ("text_editor_20250124", {"command": "undo_edit", "path": "/a"}, {"command": "create", "path": "/a"}),
        (
            "memory_20250818",
            {"command": "rename", "old_path": "a", "new_path": "b"},
            {"command": "rename", "path": "a"},
        ),
        ("computer_20251124", {"action": "screenshot"}, {"action": "type"}),
        ("computer_20241022", {"action": "mouse_move", "coordinate": [1, 2]}, {"action": "mouse_move"}),
    ],
)
def test_each_command_demands_what_it_needs(kind: str, whole: dict[str, Any], short: dict[str, Any]) -> None:
    """A call without what its command cannot do without is none, to a validator and to the grammar of llguidance."""
    (tool,) = known(kind, {}) or []
    validator = jsonschema_rs.validator_for(tool.schema)
    grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(tool.schema))
    tokenizer = llguidance.LLTokenizer("byte")
    for value, expected in ((whole, True), (short, False)):
        assert validator.is_valid(value) is expected
        matcher = llguidance.LLMatcher(tokenizer, grammar)
        assert not matcher.is_error(), matcher.get_error()
        held = matcher.consume_tokens(tokenizer.tokenize_str(json.dumps(value)))
        assert (held and matcher.is_accepting()) is expected


@pytest.mark.parametrize(("toolset", "table"), [("computer", COMPUTER), ("browser", BROWSER)])
def test_members_of_toolsets_have_the_inputs_the_sdk_expects(toolset: str, table: dict[str, Any]) -> None:
    """Name by name: the same fields, the same required ones as the SDK's own input types."""
    for name, (description, schema) in table.items():
        module = importlib.import_module(f"anthropic.types.{toolset}_{name}_input")
        model = next(
            value for key, value in vars(module).items() if key.endswith("Input") and hasattr(value, "model_fields")
        )
        fields = {field.alias or key: field.is_required() for key, field in model.model_fields.items()}
        assert set(schema["properties"]) == set(fields), name
        assert set(schema.get("required", ())) == {key for key, required in fields.items() if required}, name
        assert description


def test_toolset_members_keep_their_names_apart() -> None:
    """Both toolsets take screenshots: the model sees two names, the client gets member and toolset."""
    both = [{"type": "computer_toolset_20260801"}, {"type": "browser_toolset_20260801"}]
    use = {"type": "tool_use", "id": "1", "name": "screenshot", "toolset_name": "browser", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "1"}
    asked = read(
        body(
            tools=both,
            messages=[USER, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}],
        )
    )
    assert asked.members["screenshot"] == ("screenshot", "computer")
    assert asked.members["browser_screenshot"] == ("screenshot", "browser")
    part = asked.conversation.turns[1].parts[0]
    assert isinstance(part, ToolUse)
    assert part.name == "browser_screenshot"
    assert len(asked.conversation.tools) == len(COMPUTER) + len(BROWSER)


def test_toolset_members_can_be_switched_off() -> None:
    """`configs` decides which members there are."""
    configs = {"wait": {"enabled": False}, "zoom": {"defer_loading": True}}
    found = names(tools=[{"type": "computer_toolset_20260801", "configs": configs}])
    assert "wait" not in found
    assert "zoom" not in found
    assert "key" in found


def test_server_tools_are_accepted_and_not_shown() -> None:
    """The model could call them, but nothing here could run them (B4)."""
    asked = read(body(tools=[TOOL, SEARCH, {"type": "mcp_toolset", "mcp_server_name": "x"}, {"type": "magic_1"}]))
    assert [tool.name for tool in asked.conversation.tools] == ["f"]
    assert asked.ignored == ("tools.web_search_20250305", "tools.mcp_toolset", "tools.magic_1")
    assert asked.server_tool is None


def test_tools_that_only_code_may_call_are_not_shown() -> None:
    """The model itself may call those alone that say so, or say nothing."""
    schema = {"type": "object"}
    tools = [
        {"name": "coded", "input_schema": schema, "allowed_callers": ["code_execution_20260120"]},
        {"name": "both", "input_schema": schema, "allowed_callers": ["direct", "code_execution_20260120"]},
        {"name": "plain", "input_schema": schema},
    ]
    decoded = read(body(tools=tools))
    assert [tool.name for tool in decoded.conversation.tools] == ["both", "plain"]
    assert decoded.ignored == ("tools.coded.allowed_callers",)


def test_deferred_tools_appear_at_the_end_once_referred_to() -> None:
    """Hidden tools cost nothing (G7). One that is shown is told of where it was referred to, the first time, or at the
    end when it must be called: what the prompt begins with stays."""
    tools = [{**TOOL, "name": name, "defer_loading": name != "c"} for name in ("a", "b", "c")]
    assert names(tools=tools) == ["c"]
    use = {"type": "tool_use", "id": "1", "name": "c", "input": {}}
    result = {
        "type": "tool_result",
        "tool_use_id": "1",
        "content": [{"type": "tool_reference", "tool_name": "b"}, {"type": "tool_reference", "tool_name": "nope"}],
    }
    messages = [USER, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    shown = read(body(tools=tools, messages=[*messages, *messages[1:]]))
    assert [(tool.name, tool.in_turns) for tool in shown.conversation.tools] == [("c", False), ("b", True)]
    encoder, again = (repr(shown.conversation.turns[at]) for at in (2, 4))
    assert encoder.count("<tools>") == 1
    assert '"name":"b"' in encoder
    assert "<tools>" not in again
    forced = read(body(tools=tools, tool_choice={"type": "tool", "name": "a"})).conversation
    assert [(tool.name, tool.in_turns) for tool in forced.tools] == [("c", False), ("a", True)]
    assert '"name":"a"' in repr(forced.turns[-1])


def test_tools_can_be_added_and_removed_on_the_way() -> None:
    """System messages in the middle may bring tools and take them away. What was told of them before stays."""
    change = [
        {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {**TOOL, "name": "g"}}},
        {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "f"}},
    ]
    changed = read(body(tools=[TOOL], messages=[USER, {"role": "system", "content": change}])).conversation
    assert [tool.name for tool in changed.first_tools] == ["f"]
    assert [tool.name for tool in changed.callable_tools] == ["g"]
    told = repr(changed.turns[-1])
    assert '"name":"g"' in told
    assert "no longer available: f" in told
    back = {"role": "system", "content": [{"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}}]}
    messages = [USER, {"role": "system", "content": change}, {"role": "assistant", "content": "So."}, USER, back]
    again = read(body(tools=[TOOL], messages=messages)).conversation
    assert {tool.name for tool in again.callable_tools} == {"f", "g"}
    assert again.turns[:2] == changed.turns[:2]


def test_whatever_can_be_declared_can_be_added_on_the_way() -> None:
    """A definition in the conversation may be of any type that `tools` may have, not only the client's own; a server
    tool that nothing here runs is named, and leaves the request as it was."""
    kinds = (("bash_20250124", "bash"), ("web_search_20250305", "web_search"))
    added = [
        {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {"type": kind, "name": name}}}
        for kind, name in kinds
    ]
    decoded = read(body(tools=[TOOL], messages=[USER, {"role": "system", "content": added}]))
    assert [tool.name for tool in decoded.conversation.callable_tools] == ["f", "bash"]
    assert '"name":"bash"' in repr(decoded.conversation.turns[-1])
    assert decoded.ignored == ("tools.web_search_20250305",)


CHANGE: dict[str, Any] = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "g"}}


@pytest.mark.parametrize("kind", ["tool_addition", "tool_removal"])
def test_changes_of_tools_that_cannot_be_made_are_refused(kind: str) -> None:
    """A tool that nobody declared cannot come or go, and only system messages make tools do so: whoever is not told
    waits for a call that never comes."""
    change = {**CHANGE, "type": kind}
    with pytest.raises(BadRequest, match=f"messages.1.content.0.{kind}.tool.name: Tool 'g' not found") as refused:
        read(body(tools=[TOOL], messages=[USER, {"role": "system", "content": [change]}]))
    assert refused.value.code == "tool_reference_unresolved"
    misplaced = refusal(body(tools=[{**TOOL, "name": "g"}], messages=[{"role": "user", "content": [change]}]))
    assert misplaced == f"messages.0.content.0: `{kind}` blocks can only be in `system` messages"
    elsewhere = {"type": kind, "tool": {"type": "mcp_tool_reference", "server_name": "s", "name": "g"}}
    read(body(tools=[TOOL], messages=[USER, {"role": "system", "content": [elsewhere]}]))


def test_server_tools_of_history_are_told_in_words() -> None:
    """What was searched and what was found stays in the conversation."""
    found = {"type": "web_search_result", "title": "Bees", "url": "http://b.example", "encrypted_content": "x" * 99}
    history = [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "bees"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [found]},
    ]
    words = shown(read(body(messages=[USER, {"role": "assistant", "content": history}, USER])).conversation)
    assert '{"query":"bees"}' in words
    assert "1. Bees\nhttp://b.example" in words
    assert "xxx" not in words


FORCED: list[dict[str, Any]] = [
    {"tools": [SEARCH, TOOL], "tool_choice": {"type": "tool", "name": "web_search"}},
    {"tools": [SEARCH], "tool_choice": {"type": "any"}},
    {"tools": [SEARCH], "messages": [{"role": "user", "content": "Perform a web search for the query: bees"}]},
    {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}], "tool_choice": {"type": "any"}},
    {
        "tools": [{"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}],
        "tool_choice": {"type": "any"},
    },
]


@pytest.mark.parametrize("fields", FORCED)
async def test_a_forced_server_tool_answers_that_it_is_unavailable(fields: dict[str, Any]) -> None:
    """A well-formed call and its error, end_turn, and never a call of a client tool; streamed as unstreamed."""
    service = ScriptedService([RuntimeError("the engine is not asked")])
    async with serving(service) as server:
        status, _, message = await server.post(server.ask(**fields))
        assert status == 200
        _, _, raw = await server.stream(server.ask(**fields))
        events = order.frames(raw)
        async with anthropic.AsyncAnthropic(base_url=server.url, api_key="k") as client:
            given: Any = {key: value for key, value in server.ask(**fields).items() if key != "max_tokens"}
            async with client.messages.stream(max_tokens=9, **given) as stream:
                told = json.loads((await stream.get_final_message()).to_json())
    call, answer, words = message["content"]
    assert call["type"] == "server_tool_use"
    assert call["id"].startswith("srvtoolu_")
    assert answer["tool_use_id"] == call["id"]
    assert answer["type"].endswith("_tool_result")
    assert answer["content"] == {"type": answer["type"] + "_error", "error_code": "unavailable"}
    assert words["type"] == "text"
    assert message["stop_reason"] == "end_turn"
    assert events[-1]["type"] == "message_stop"
    assert told["content"][0]["input"] == call["input"]
    assert [block["type"] for block in told["content"]] == [block["type"] for block in message["content"]]


@pytest.mark.parametrize(
    "tool", [{"type": "mcp_toolset", "mcp_server_name": "x"}, {"type": "zzz_20300101", "name": "zz"}]
)
async def test_a_forced_tool_that_nobody_knows_is_no_search(tool: dict[str, Any]) -> None:
    """It has no result that a client could read, so there is a sentence and no call."""
    async with serving(ScriptedService([RuntimeError("the engine is not asked")])) as server:
        status, _, message = await server.post(server.ask(tools=[tool], tool_choice={"type": "any"}))
    assert (status, message["stop_reason"]) == (200, "end_turn")
    (words,) = message["content"]
    assert "is not available on this server" in words["text"]


def test_there_may_be_a_toolset_for_each_mcp_server() -> None:
    """They have no names by which they could be the same."""
    toolsets = [{"type": "mcp_toolset", "mcp_server_name": name} for name in "xyz"]
    assert "tools.mcp_toolset" in read(body(tools=[*toolsets, TOOL])).ignored
    assert refusal(body(tools=[SEARCH, SEARCH])) == "tools: Tool names must be unique."


def test_every_known_type_in_the_table_is_found() -> None:
    """A family that is not ours gives nothing, so that it can be told apart."""
    assert known("web_search_20250305", {}) is None
    assert known("custom", {}) is None
