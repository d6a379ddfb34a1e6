"""Chat completion requests read without a socket: body in, nouns or a refusal out."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any, get_args

import pytest
from openai.types import chat
from openai.types.shared import ReasoningEffort

from antiphon.api.conversation import (
    Conversation,
    Image,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from antiphon.api.errors import BadRequest
from antiphon.prompt.turns import repaired
from antiphon.surfaces.chat_completions import decode
from antiphon.surfaces.content.remote import Fetched
from tests.surfaces.messages import sdk_corpus
from tests.surfaces.messages.sdk_corpus import PNG
from tests.surfaces.scripted_service import CARD, SEEING, shown

USER = {"role": "user", "content": "Hi"}
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells it.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def call(id: str = "call_1", arguments: Any = '{"city":  "Paris"}', name: str = "weather") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls) or [call()], **fields}


def answer(id: str = "call_1", content: Any = "Sunny") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


def read(*, vision: bool = False, fetched: Any = None, **fields: Any) -> decode.DecodedRequest:
    body = json.dumps({"model": "m", "messages": [USER], **fields}).encode()
    return decode.decode(decode.read(body), SEEING if vision else CARD, fetched or {})


def turns(*messages: Any, **fields: Any) -> Conversation:
    return repaired(read(messages=list(messages), **fields).conversation)


def refusal(**fields: Any) -> str:
    """The words with which a request is refused."""
    with pytest.raises(BadRequest) as caught:
        read(**fields)
    return caught.value.message


def test_every_role_finds_its_place() -> None:
    """System and developer lead, later ones are folded in; calls and results belong together."""
    found = turns(
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        USER,
        calling(call(), call("call_2"), content="Let me look.", reasoning_content="Hm."),
        answer("call_2"),
        answer(content=[{"type": "text", "text": "Rain"}]),
        {"role": "user", "content": "And?"},
        {"role": "system", "content": "Hurry."},
    )
    assert found.system == "Be brief.\n\nBe kind."
    assert [turn.role for turn in found.turns] == ["user", "assistant", "user"]
    assert found.turns[1].parts == (
        Thinking("Hm."),
        Text("Let me look."),
        ToolUse(id="call_1", name="weather", input='{"city":  "Paris"}'),
        ToolUse(id="call_2", name="weather", input='{"city":  "Paris"}'),
    )
    assert found.turns[2].parts[:2] == (
        ToolResult(tool_use_id="call_2", parts=(Text("Sunny"),)),
        ToolResult(tool_use_id="call_1", parts=(Text("Rain"),)),
    )
    assert "Hurry." in shown(found)


def test_cutting_text_into_parts_changes_nothing() -> None:
    """A string, one part and two parts are the same prompt."""
    parts = [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]
    assert turns(USER) == turns({"role": "user", "content": parts})


def test_an_empty_question_keeps_its_turn() -> None:
    """The reply answers it; without the turn it would continue what the assistant said before."""
    found = turns(USER, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": ""})
    assert [turn.role for turn in found.turns] == ["user", "assistant", "user"]
    assert not found.prefill


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a": 1,  "b": "é"}', '{"a": 1,  "b": "é"}'),
        ({"a": 1}, '{"a": 1}'),
        ("", "{}"),
        (None, "{}"),
        ("not json", '{"arguments":"not json"}'),
        ("[1]", '{"arguments":"[1]"}'),
    ],
)
def test_arguments_come_as_written_and_always_as_an_object(arguments: Any, expected: str) -> None:
    """Byte for byte where they are one; a slip of another model must not end a conversation."""
    found = turns(USER, calling(call(arguments=arguments)), answer())
    (part,) = found.turns[1].parts
    assert isinstance(part, ToolUse)
    assert part.input == expected


def test_pictures_come_inline_or_fetched() -> None:
    """`data:` URLs, http URLs that were fetched, the short form, and pictures in a tool's answer."""
    url = "http://example.com/a.png"
    fetched = {url: Fetched("image/png", base64.b64decode(PNG))}
    image = Image("image/png", base64.b64decode(PNG))
    content = [PICTURE, {"type": "image_url", "image_url": {"url": url}}, {"type": "image_url", "image_url": url}]
    found = turns({"role": "user", "content": content}, vision=True, fetched=fetched)
    assert found.turns[0].parts == (image, image, image)
    found = turns(USER, calling(), answer(content=[PICTURE]), vision=True)
    assert found.turns[2].parts == (ToolResult(tool_use_id="call_1", parts=(image,)),)


def test_only_what_is_needed_is_fetched() -> None:
    """http pictures, each once, with the path of the first; nothing where the model is blind."""
    url = "http://example.com/a.png"
    content = [PICTURE, *[{"type": "image_url", "image_url": {"url": url}}] * 2]
    draft = decode.read(json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}).encode())
    assert decode.remote_addresses(draft, SEEING) == {url: "messages.0.content.1.image_url.url"}
    assert decode.remote_addresses(draft, CARD) == {}


def test_a_blind_model_says_so_when_asked_and_goes_on_later() -> None:
    """A picture in the last question is an error, one further back a gap."""
    asking = {"role": "user", "content": [PICTURE]}
    assert "no vision" in refusal(messages=[asking])
    assert "image omitted" in shown(turns(asking, {"role": "assistant", "content": "?"}, USER))


def test_documents_become_text() -> None:
    """A file in the request is read; a file elsewhere is refused."""
    data = "data:text/plain;base64," + base64.b64encode(b"a poem").decode()
    part = {"type": "file", "file": {"filename": "poem.txt", "file_data": data}}
    assert shown(turns({"role": "user", "content": [part]})) == "\npoem.txt:\na poem"
    assert "keeps no files" in refusal(
        messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]
    )


def test_sampling_and_limits() -> None:
    """Every figure reaches its noun; the newer name of the limit counts first."""
    wanted = read(
        temperature=0.5, top_p=0.9, top_k=-1, seed=7, presence_penalty=1, frequency_penalty=-1, max_tokens=5,
        max_completion_tokens=6, stop="END",
    ).generation  # fmt: skip
    assert wanted.sampling == Sampling(
        temperature=0.5, top_p=0.9, top_k=0, seed=7, presence_penalty=1.0, frequency_penalty=-1.0
    )
    assert wanted.max_tokens == 6
    assert wanted.stop_sequences == ("END",)
    assert read(stop=["a", "", "b"], max_tokens=5).generation.stop_sequences == ("a", "b")
    assert read().generation.max_tokens is None


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("none", ToolChoice(mode="none")),
        ("auto", ToolChoice()),
        (None, ToolChoice()),
        ("required", ToolChoice(mode="any")),
        ({"type": "function", "function": {"name": "weather"}}, ToolChoice(mode="tool", name="weather")),
    ],
)
def test_each_way_of_choosing_is_read(told: Any, expected: ToolChoice) -> None:
    """Each way of choosing, with the tools as described and `strict` kept."""
    asked = read(tools=[WEATHER, {"type": "function", "function": {"name": "wait", "strict": True}}], tool_choice=told)
    assert asked.generation.tool_choice == expected
    schema = WEATHER["function"]["parameters"]  # type: ignore[index]
    assert asked.conversation.tools == (
        Tool(name="weather", description="Tells it.", schema=schema),
        Tool(name="wait", schema={"type": "object", "properties": {}}, strict=True),
    )


def test_one_call_at_a_time() -> None:
    """`parallel_tool_calls` false."""
    asked = read(tools=[WEATHER], parallel_tool_calls=False, tool_choice="required")
    assert asked.generation.tool_choice == ToolChoice(mode="any", parallel=False)


def test_allowed_tools_are_all_the_model_sees() -> None:
    """The others are not offered."""
    wait = {"type": "function", "function": {"name": "wait"}}
    told = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [wait]}}
    asked = read(tools=[WEATHER, wait], tool_choice=told)
    assert [tool.name for tool in asked.conversation.tools] == ["wait"]
    assert asked.generation.tool_choice.mode == "any"


def test_functions_are_the_older_form_of_tools() -> None:
    """Declared, chosen, called and answered without ids; the reply is to be in that form, too."""
    messages = [
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
        {"role": "function", "name": "weather", "content": "Sunny"},
    ]
    asked = read(messages=messages, functions=[WEATHER["function"]], function_call={"name": "weather"})
    assert asked.legacy
    assert asked.generation.tool_choice == ToolChoice(mode="tool", name="weather", parallel=False)
    called, answered = asked.conversation.turns[1].parts[0], asked.conversation.turns[2].parts[0]
    assert isinstance(called, ToolUse)
    assert answered == ToolResult(tool_use_id=called.id, parts=(Text("Sunny"),))
    assert not read(tools=[WEATHER]).legacy


def test_the_form_of_the_answer() -> None:
    """Text, any object, or what a schema says."""
    schema = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "string"}}}
    told = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    assert read(response_format={"type": "text"}).generation.output_schema is None
    assert read(response_format={"type": "json_object"}).generation.output_schema == {"type": "object"}
    found = read(response_format=told).generation.output_schema
    assert json.dumps(found) == json.dumps(schema)
    told = {"type": "json_object", "schema": schema}
    assert json.dumps(read(response_format=told).generation.output_schema) == json.dumps(schema)


@pytest.mark.parametrize(
    ("fields", "mode", "effort"),
    [
        ({}, "default", None),
        ({"reasoning_effort": "none"}, "disabled", None),
        ({"reasoning_effort": "minimal"}, "adaptive", "low"),
        ({"reasoning_effort": "high"}, "adaptive", "high"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, "disabled", None),
        ({"chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "high"}, "disabled", None),
        ({"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "none"}, "enabled", None),
        ({"chat_template_kwargs": {"thinking": True}, "reasoning_effort": "low"}, "enabled", "low"),
    ],
)
def test_both_ways_of_asking_for_thinking_are_read(fields: dict[str, Any], mode: str, effort: str | None) -> None:
    """Both ways of asking for it; the template's own switch has the last word."""
    policy = read(**fields).generation.thinking
    assert (policy.mode, policy.effort) == (mode, effort)


@pytest.mark.parametrize("effort", get_args(get_args(ReasoningEffort)[0]))
def test_every_effort_of_the_sdk_is_known(effort: str) -> None:
    """None of them is ignored."""
    assert read(reasoning_effort=effort).ignored == ()


def test_what_is_not_acted_upon_is_named() -> None:
    """Unless it says nothing, or changes nothing by design."""
    asked = read(min_p=0.1, logprobs=False, logit_bias={}, user="me", store=True, surprise=1, metadata={"a": "b"})
    assert asked.ignored == ("min_p", "surprise")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"n": 129}, "n: Input should be less"),
        ({"top_logprobs": 2}, "top_logprobs: it needs log-probabilities"),
        ({"messages": []}, "messages: at least one"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role: "),
        ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content: "),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text: Field required"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages.0.content.0.type: "),
        ({"messages": [USER, calling(), USER]}, "messages.2: An assistant message with 'tool_calls' must be followed"),
        ({"messages": [USER, calling()]}, "must be followed by tool messages"),
        ({"messages": [USER, answer()]}, "messages.1.tool_call_id: "),
        ({"messages": [USER, calling(), answer(), answer()]}, "messages.3.tool_call_id: "),
        ({"messages": [USER, calling(call(), call())]}, "ids must be unique"),
        ({"messages": [USER, {"role": "function", "name": "f", "content": "x"}]}, "messages.1: "),
        ({"temperature": 3}, "temperature: Input should be less than or equal to 2"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"tools": [{"type": "custom"}]}, "tools.0.custom: Field required"),
        ({"tools": [{"type": "custom", "custom": {"name": "a b"}}]}, "tools.0.custom.name: "),
        ({"tools": [{"type": "custom", "name": "x", "format": {"type": "pdf"}}]}, "tools.0.format.type: "),
        (
            {"tools": [{"type": "custom", "custom": {"name": "x", "format": {"type": "grammar", "grammar": {}}}}]},
            "tools.0.custom.format.grammar.definition: Field required",
        ),
        ({"tools": [WEATHER, {"type": "custom", "name": "weather"}]}, "tools.1.name: names must be unique"),
        ({"messages": [USER, calling({"id": "call_1"}), answer()]}, "messages.1.tool_calls: "),
        ({"tools": [{"type": "function"}]}, "tools.0.function: Field required"),
        ({"tools": [WEATHER, WEATHER]}, "tools.1.function.name: "),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name: "),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": {"type": "array"}}}]},
            "tools.0.function.parameters.type: ",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": {"properties": 1}}}]},
            "tools.0.function.parameters: ",
        ),
        ({"tool_choice": "required"}, "tool_choice: "),
        ({"tool_choice": "perhaps"}, "tool_choice: "),
        ({"tool_choice": {"type": "function", "function": {"name": "gone"}}}, "Tool 'gone' not found"),
        ({"response_format": {"type": "yaml"}}, "response_format.type: "),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema: Field required"),
    ],
)
def test_a_refusal_says_where_and_what(fields: dict[str, Any], words: str) -> None:
    """The dotted path of the field, a colon, a sentence."""
    assert words in refusal(**fields)


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[]", b'{"model": "m"}', b'{"messages": []}'])
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    """With a sentence, never a failure of ours."""
    with pytest.raises(BadRequest):
        decode.read(body)


PARTS = list(sdk_corpus.members(chat.ChatCompletionContentPartParam))
MESSAGES = list(sdk_corpus.members(chat.ChatCompletionMessageParam))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("kind", [*PARTS, *MESSAGES], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("vision", [False, True])
def test_everything_the_sdk_can_say_is_answered_or_refused(kind: type, full: bool, vision: bool) -> None:
    """Every part and every message of its types: none breaks on it."""
    sample = sdk_corpus.sample(kind, full=full)
    message = sample if "role" in sample else {"role": "user", "content": [sample]}
    for messages in ([message], [message, {"role": "assistant", "content": "x"}, USER], [USER, message]):
        with contextlib.suppress(BadRequest):
            read(messages=messages, vision=vision)


def test_every_field_of_a_request_is_accepted() -> None:
    """All top-level fields of the SDK at once, but for those with tests of their own."""
    (kind, *_) = sdk_corpus.members(chat.completion_create_params.CompletionCreateParams)
    fields = sdk_corpus.sample(kind, full=True)
    own = (
        "messages",
        "model",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "response_format",
        "n",
        "logprobs",
        "top_logprobs",
    )
    asked = read(**{key: value for key, value in fields.items() if key not in own})
    assert {"logit_bias", "prediction", "modalities"} <= set(asked.ignored)
