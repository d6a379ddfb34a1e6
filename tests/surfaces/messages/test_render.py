"""POST /v1/messages/render over a real socket, in front of the scripted engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from antiphon.engines.scripted import Rule, Script, Scripted
from antiphon.serving.model import Choices
from antiphon.serving.service import Service
from antiphon.serving.token_model import load
from tests.serving.served import served
from tests.surfaces.conftest import Running, serving

THOUGHT = "<think>\nHow to greet?\n</think>\n\nHello there."


@pytest.fixture
async def behind() -> AsyncIterator[tuple[Running, Scripted]]:
    """A server whose model thinks before it answers, and the engine behind it."""
    service, engine = await served(Rule(text=THOUGHT), choices=Choices(name="m"))
    async with serving(service) as running:  # type: ignore[arg-type]
        yield running, engine


async def rendered(server: Running, body: dict[str, Any]) -> dict[str, Any]:
    status, _, told = await server.post(body, "/v1/messages/render")
    assert status == 200, told
    # The three ways of telling the prompt are one.
    assert "".join(told["tokens"]) == told["text"] == "".join(span["text"] for span in told["spans"])
    assert len(told["ids"]) == len(told["tokens"]) == told["input_tokens"]
    places = [(span["first_token"], span["end_token"]) for span in told["spans"]]
    assert [0, *(end for _, end in places)] == [*(first for first, _ in places), told["input_tokens"]]
    return told


def spans(told: dict[str, Any], kind: str) -> list[tuple[str | None, str]]:
    return [(span["role"], span["text"]) for span in told["spans"] if span["type"] == kind]


async def test_the_ids_are_those_that_the_engine_gets(behind: tuple[Running, Scripted]) -> None:
    """Rendering generates nothing; the request that follows has these very ids, and count_tokens their number."""
    server, engine = behind
    tools = [{"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}]
    body = server.ask(system="Be brief.", tools=tools, stream=True)
    told = await rendered(server, body)
    assert not engine.jobs
    _, _, counted = await server.post(body, "/v1/messages/count_tokens")
    assert counted["input_tokens"] == told["input_tokens"]
    await server.post({**body, "stream": False})
    assert list(engine.jobs[-1].prompt) == told["ids"]


async def test_every_stretch_says_what_it_is(behind: tuple[Running, Scripted]) -> None:
    """Control tokens, the template's text and the client's text are told apart, each with the role of its turn."""
    server, _ = behind
    told = await rendered(server, server.ask(system="Be brief."))
    assert [(span["type"], span["role"], span["text"]) for span in told["spans"]] == [
        ("control", "system", "<|im_start|>"),
        ("template", "system", "system\n"),
        ("text", "system", "Be brief."),
        ("control", "system", "<|im_end|>"),
        ("template", "system", "\n"),
        ("control", "user", "<|im_start|>"),
        ("template", "user", "user\n"),
        ("text", "user", "Hi"),
        ("control", "user", "<|im_end|>"),
        ("template", "user", "\n"),
        ("control", "assistant", "<|im_start|>"),
        ("template", "assistant", "assistant\n"),
    ]


@pytest.mark.parametrize("token", ["<|im_end|>", "<|im_start|>", "<think>"])
async def test_a_control_token_that_a_user_types_is_fenced(behind: tuple[Running, Scripted], token: str) -> None:
    """It is marked as fenced text wherever it was typed, and its tokens are not the control token's."""
    server, engine = behind
    tools = [{"name": "look", "description": f"Looks {token}.", "input_schema": {"type": "object"}}]
    body = server.ask(system=f"a {token}", tools=tools, messages=[{"role": "user", "content": f"Hi {token} there"}])
    told = await rendered(server, body)
    assert spans(told, "fenced") == [("system", token), ("system", token), ("user", token)]
    control = engine.script.control_tokens.index(token)
    for span in told["spans"]:
        if span["type"] == "fenced":
            assert control not in told["ids"][span["first_token"] : span["end_token"]]


async def test_what_is_remembered_of_an_earlier_turn_is_shown(behind: tuple[Running, Scripted]) -> None:
    """Thinking that the client did not send back stands in the prompt all the same, and is told to be remembered."""
    server, _ = behind
    body = server.ask(diagnostics={"previous_message_id": None})
    _, _, message = await server.post(body)
    said = [block for block in message["content"] if block["type"] == "text"]
    messages = [*body["messages"], {"role": "assistant", "content": said}, {"role": "user", "content": "And?"}]
    again = server.ask(messages=messages, diagnostics={"previous_message_id": message["id"]})
    told = await rendered(server, again)
    assert spans(told, "remembered") == [("assistant", "\nHow to greet?\n</think>\n\n")]
    assert ("assistant", "Hello there.") in spans(told, "text")
    assert told["previous"]["shared_tokens"] < told["remembered_tokens"] == told["cached_tokens"]
    assert told["previous"]["diverged_token"] is None
    _, _, reply = await server.post(again)
    assert reply["usage"]["cache_read_input_tokens"] >= told["previous"]["shared_tokens"]


async def test_the_first_token_that_diverged_is_pointed_at(behind: tuple[Running, Scripted]) -> None:
    """A changed system prompt: the token where the two prompts part, what stood there, and why."""
    server, _ = behind
    body = server.ask(system="Be brief.", diagnostics={"previous_message_id": None})
    _, _, message = await server.post(body)
    changed = {**body, "system": "Be lengthy.", "diagnostics": {"previous_message_id": message["id"]}}
    previous = (told := await rendered(server, changed))["previous"]
    assert previous["reason"] == "system_changed"
    assert told["tokens"][previous["diverged_token"]] == "lengthy"
    assert previous["diverged_token"] == previous["shared_tokens"] == told["cached_tokens"]
    assert previous["previous_text"].startswith("brief.")
    # Without diagnostics it is the latest prompt of the conversation that counts; the first has none before it.
    del changed["diagnostics"]
    assert (await rendered(server, changed))["previous"] == previous
    assert (await rendered(server, body))["previous"] is None


async def test_rendering_leaves_no_trace(behind: tuple[Running, Scripted]) -> None:
    """However often it is asked, the prompt before this one stays the one that was sent."""
    server, _ = behind
    other = server.ask(system="Different")
    await server.post(server.ask(system="Sent"))
    first = await rendered(server, other)
    assert first["previous"]["previous_text"].startswith("Sent")
    assert await rendered(server, other) == first


async def test_a_prefill_is_part_of_the_prompt(behind: tuple[Running, Scripted]) -> None:
    """The beginning of a reply stands at the end, as text of the assistant."""
    server, _ = behind
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well,"}]
    told = await rendered(server, server.ask(messages=messages))
    assert (told["spans"][-1]["role"], told["spans"][-1]["text"]) == ("assistant", "Well,")


async def test_wrong_requests_are_told_as_a_message_would_be(behind: tuple[Running, Scripted]) -> None:
    """In the envelope of the Messages API, with the path to what is wrong."""
    server, _ = behind
    status, _, told = await server.post({"model": "m", "messages": []}, "/v1/messages/render")
    assert (status, told["type"], told["error"]["type"]) == (400, "error", "invalid_request_error")
    status, _, told = await server.post({"model": "nobody", "messages": []}, "/v1/messages/render")
    assert status in (400, 404)
    async with server.client.get(server.url + "/v1/messages/render") as response:
        assert response.status == 405
    # No length of the reply is asked for: nothing is generated.
    await rendered(server, {"model": "m", "messages": [{"role": "user", "content": "Hi"}]})


async def test_schemas_say_what_becomes_of_them() -> None:
    """Of each schema it is told whether a grammar holds the model to it, what is left to check, and why. A strict one
    that no value satisfies is refused."""
    model = await load(Scripted(Script()), Choices(name="m"))
    held = msgspec.structs.replace(model.description, grammar="llguidance")
    service = Service([msgspec.structs.replace(model, description=held)])
    one = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}}
    apart = {"type": "object", "properties": {"a": {**one["properties"]["a"], "uniqueItems": True}}}
    tools = [
        {"name": "whole", "input_schema": one},
        {"name": "part", "input_schema": apart},
        {"name": "free", "input_schema": one, "strict": False},
    ]
    async with serving(service) as running:  # type: ignore[arg-type]
        told = await rendered(running, running.ask(tools=tools))
        found = {each["tool"]: each for each in told["schemas"]}
        assert {name: each["held"] for name, each in found.items()} == {
            "whole": "whole",
            "part": "part",
            "free": "none",
        }
        assert [each["keyword"] for each in found["part"]["checked"]] == ["uniqueItems"]
        assert all(each["path"] and each["reason"] for each in found["part"]["checked"])
        assert found["free"]["reason"]
        assert found["whole"]["reason"] is None
        never = {"type": "object", "properties": {"a": {"allOf": [{"type": "string"}, {"type": "integer"}]}}}
        never["required"] = ["a"]
        strict = [{"name": "never", "input_schema": never, "strict": True}]
        status, _, error = await running.post(running.ask(tools=strict), "/v1/messages/render")
        assert status == 400
        assert "no value can match" in error["error"]["message"]
