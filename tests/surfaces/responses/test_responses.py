"""The Responses API over a real socket: replies, streams, failures, and the official SDK."""

from __future__ import annotations

from typing import Any

import msgspec
import openai
import pytest

from antiphon.api.conversation import Text, Thinking, ToolChoice, ToolResult, ToolUse
from antiphon.api.errors import EngineFailed, Overloaded, PromptTooLong
from antiphon.api.events import Usage
from antiphon.prompt.turns import repaired
from antiphon.server_tools.code.family import CodeExecution
from antiphon.server_tools.registry import ServerTools
from antiphon.surfaces.responses.request import wire
from antiphon.surfaces.responses.tools.tool_choices import choice
from antiphon.surfaces.responses.tools.toolbox import toolbox
from tests.serving.served import served
from tests.surfaces.conftest import serving
from tests.surfaces.response_order import check, frames
from tests.surfaces.scripted_service import TWO_CALLS, ScriptedService, plain, shown

PATH = "/v1/responses"
USAGE = Usage(prompt=7, cached=2, output=3, thinking=1)
LOOK: Any = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}
WAIT: Any = {"type": "function", "name": "wait"}


async def post(server: Any, path: str = PATH, **fields: Any) -> tuple[int, Any, Any]:
    """Status, headers and JSON of a whole reply."""
    async with server.client.post(server.url + path, json={"model": "m", "input": "Hi", **fields}) as response:
        return response.status, response.headers, await response.json()


async def ask(server: Any, method: str, path: str, json: Any = None, **headers: str) -> tuple[int, Any]:
    """Status and JSON of a request below the path of responses."""
    async with server.client.request(method, server.url + PATH + path, json=json, headers=headers) as response:
        return response.status, await response.json()


async def stream(server: Any, **fields: Any) -> list[dict[str, Any]]:
    """The events of a streamed reply."""
    body = {"model": "m", "input": "Hi", "stream": True, **fields}
    async with server.client.post(server.url + PATH, json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        return frames(await response.read())


async def test_a_plain_reply(server: Any) -> None:
    """What programs read of it; ids are fresh, the model's name is the client's."""
    status, _, response = await post(server, metadata={"a": "b"}, instructions="Be brief.", temperature=0.5)
    assert status == 200
    assert response["id"].startswith("resp_")
    assert (response["object"], response["status"], response["model"]) == ("response", "completed", "m")
    assert (response["metadata"], response["instructions"], response["temperature"]) == ({"a": "b"}, "Be brief.", 0.5)
    (item,) = response["output"]
    assert item.pop("id").startswith("msg_")
    part = {"type": "output_text", "text": "Hello there", "annotations": [], "logprobs": []}
    assert item == {"type": "message", "status": "completed", "role": "assistant", "content": [part]}
    assert response["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 10,
    }


async def test_a_stream_is_legal(server: Any, service: ScriptedService) -> None:
    """Thinking, text and two calls, in their order."""
    service.script = TWO_CALLS
    response = check(await stream(server, tools=[LOOK, WAIT]))
    kinds = [item["type"] for item in response["output"]]
    assert kinds == ["reasoning", "message", "function_call", "function_call"]
    look, wait = response["output"][2:]
    assert (look["call_id"], look["arguments"]) == ("toolu_1", '{"where": "hére"}')
    assert wait["arguments"] == "{}"
    assert response["tools"] == [LOOK, WAIT]


async def test_a_stream_that_breaks_off(server: Any, service: ScriptedService) -> None:
    """Ends in `response.failed`."""
    service.script = [*plain()[:1], EngineFailed("It died.")]
    response = check(await stream(server))
    assert response["error"] == {"code": "server_error", "message": "It died."}


@pytest.mark.parametrize(
    ("refusal", "status", "code", "param"),
    [
        (PromptTooLong(9000, 8192), 400, "context_length_exceeded", "input"),
        (Overloaded("Too much."), 503, "overloaded", None),
    ],
)
async def test_refusals(
    server: Any, service: ScriptedService, refusal: Any, status: int, code: str, param: Any
) -> None:
    """In the envelope of the API, before a stream begins too."""
    service.refusal = refusal
    for streaming in (False, True):
        told, _, body = await post(server, stream=streaming)
        assert told == status
        assert (body["error"]["code"], body["error"]["param"]) == (code, param)


async def test_a_conversation_sent_back(server: Any, service: ScriptedService) -> None:
    """What was said, thought and called stands where it stood, and the results behind the calls."""
    service.script = TWO_CALLS
    include = ["reasoning.encrypted_content"]
    for summary in (None, "auto"):
        asked = {"tools": [LOOK, WAIT], "include": include, "reasoning": {"summary": summary}}
        _, _, response = await post(server, **asked)
        answers = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": item["name"]}
            for item in response["output"]
            if item["type"] == "function_call"
        ]
        items = [{"type": "message", "role": "user", "content": "Hi"}, *response["output"], *answers]
        emptied = {"content": None, "summary": []}
        sealed = [{**item, **emptied} if item["type"] == "reasoning" else item for item in items]
        for history in (items, sealed):
            assert (await post(server, **asked, input=history))[0] == 200
            question, said, results = repaired(service.conversation).turns
            assert question.parts == (Text("Hi"),)
            assert said.parts == (
                Thinking("Hm. Yes."),
                Text("Let me look."),
                ToolUse(id="toolu_1", name="look", input='{"where": "hére"}'),
                ToolUse(id="toolu_2", name="wait", input="{}"),
            )
            assert results.parts == (
                ToolResult(tool_use_id="toolu_1", parts=(Text("look"),)),
                ToolResult(tool_use_id="toolu_2", parts=(Text("wait"),)),
            )


async def test_instructions_and_developers(server: Any, service: ScriptedService) -> None:
    """Both stand where the prompt begins; what is said to the model later keeps its place."""
    developer = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Rules."}]}
    asked = {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
    await post(server, instructions="Base.", input=[developer, asked, {**developer, "content": "Later."}])
    told = repaired(service.conversation)
    assert told.system == "Base.\n\nRules."
    assert [turn.role for turn in told.turns] == ["user"]
    assert "Later." in shown(told)


@pytest.mark.parametrize("input", ["", [], None, [{"role": "developer", "content": "x"}]])
async def test_probes_are_answered(server: Any, service: ScriptedService, input: Any) -> None:
    """A program that asks nothing, for one token, only tries whether there is a model."""
    status, _, response = await post(server, input=input, max_output_tokens=1)
    assert (status, response["status"]) == (200, "completed")
    assert repaired(service.conversation).turns[-1].role == "user"
    assert service.generation.max_tokens == 1


async def test_what_nobody_acts_upon_is_named(server: Any, service: ScriptedService) -> None:
    """Tools that nothing here could run are left out, and the rest is served."""
    tools = [{"type": "web_search", "external_web_access": False}, {"type": "unheard_of", "x": 1}, LOOK]
    status, headers, _ = await post(server, tools=tools, moderation_level=2, text={"verbosity": "low"})
    assert status == 200
    assert headers["antiphon-ignored"] == "moderation_level, text.verbosity, tools.web_search, tools.unheard_of"
    assert [tool.name for tool in service.conversation.tools] == ["look"]


@pytest.mark.parametrize(
    "choice", ["required", {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]}]
)
async def test_a_tool_that_is_left_out_cannot_be_required(server: Any, service: ScriptedService, choice: Any) -> None:
    """The request is answered without it, as any that names such a tool; without any tool it makes no sense."""
    asked = {"model": "m", "input": "Hi", "tool_choice": choice}
    status, headers, _ = await server.post({**asked, "tools": [{"type": "web_search"}]}, PATH)
    assert (status, headers["antiphon-ignored"]) == (200, "tools.web_search")
    assert (await server.post(asked, PATH))[0] == 400


@pytest.mark.parametrize(
    ("declared", "chosen", "name"),
    [
        ("computer_use_preview", "computer_use_preview", "computer"),
        ("computer", "computer_use", "computer"),
        ("shell", "shell", "shell"),
    ],
)
async def test_a_tool_is_chosen_by_its_type(
    server: Any, service: ScriptedService, declared: str, chosen: str, name: str
) -> None:
    """However its version is called, alone and among those that are allowed."""
    tools = [{"type": declared}, LOOK]
    await post(server, tools=tools, tool_choice={"type": chosen})
    assert (service.generation.tool_choice.mode, service.generation.tool_choice.name) == ("tool", name)
    await post(server, tools=tools, tool_choice={"type": "allowed_tools", "tools": [{"type": chosen}]})
    assert {tool.name for tool in service.conversation.tools if not tool.withdrawn} == {name}


def test_code_is_chosen_by_its_type() -> None:
    """The type brings several tools, of which the model must call one."""
    anything: Any = None
    offered = ServerTools([CodeExecution(anything, anything)])
    box = toolbox([msgspec.Raw(msgspec.json.encode(each)) for each in ({"type": "code_interpreter"}, LOOK)], offered)
    chosen, shown = choice(wire.ToolChoice(type="code_interpreter"), box, parallel=True)
    assert chosen == ToolChoice(mode="any")
    assert [tool.name for tool in shown if tool.withdrawn] == ["look"]
    assert len(shown) > 2


async def test_a_left_out_tool_is_chosen_under_another_version(server: Any) -> None:
    """As under its own."""
    status, _, _ = await post(server, tools=[{"type": "web_search"}], tool_choice={"type": "web_search_preview"})
    assert status == 200


async def test_what_would_ask_something_else_is_refused(server: Any) -> None:
    """To leave out a part of the question is no kindness."""
    status, _, told = await post(server, prompt={"id": "x"})
    assert (status, told["error"]["param"]) == (400, "prompt")


async def test_a_conversation_that_is_too_long_loses_its_beginning() -> None:
    """Where that was asked for: the oldest questions and answers, never the instructions and the last question."""
    service, engine = await served(window=60)
    said = [
        item
        for number in range(9)
        for item in (
            {"role": "user", "content": f"question {number} " + "more " * 6},
            {"role": "assistant", "content": f"answer {number}"},
        )
    ]
    input = [{"role": "developer", "content": "Rules."}, *said, {"role": "user", "content": "the last one"}]
    async with serving(service) as server:  # type: ignore[arg-type]
        asked = {"model": "default", "input": input, "max_output_tokens": 5}
        status, _, told = await post(server, **asked)
        assert (status, told["error"]["code"]) == (400, "context_length_exceeded")
        status, _, told = await post(server, **asked, truncation="auto")
        assert (status, told["truncation"]) == (200, "auto")
    prompt = engine.jobs[-1].text
    assert "Rules." in prompt
    assert "the last one" in prompt
    assert "question 0" not in prompt
    assert "question 8" in prompt


async def test_tokens_are_counted(server: Any) -> None:
    """As the reply would report them."""
    status, _, counted = await post(server, PATH + "/input_tokens")
    assert (status, counted) == (200, {"object": "response.input_tokens", "input_tokens": 7})


async def test_the_official_sdk(server: Any, service: ScriptedService) -> None:
    """Whole and streamed, with its helpers."""
    service.script = TWO_CALLS
    async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0) as client:
        response = await client.responses.create(model="m", input="Hi", tools=[LOOK, WAIT])
        assert response.output_text == "Let me look."
        async with client.responses.stream(model="m", input="Hi", tools=[LOOK, WAIT]) as events:
            kinds = [event.type async for event in events]
            final = await events.get_final_response()
        assert kinds[0] == "response.created"
        assert [item.type for item in final.output] == [item.type for item in response.output]
        assert final.output_text == response.output_text
