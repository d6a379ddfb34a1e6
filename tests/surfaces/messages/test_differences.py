"""Every difference from the original that the page of the API lists is as it says there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from antiphon.accounts.accounts import Accounts
from antiphon.accounts.keyring import Keyring
from antiphon.engines.scripted import Rule
from antiphon.settings.keys import hashed
from antiphon.surfaces.messages.differences import DIFFERENCES
from tests.serving.served import served
from tests.surfaces.conftest import Running, serving

Claim = Callable[[Running], Awaitable[None]]
CLAIMS: dict[str, Claim] = {}
# A picture of one pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
NEWEST = {"anthropic_version": "2026-10-21"}


def claim(check: Claim) -> Claim:
    """Shows the difference of this name."""
    CLAIMS[check.__name__] = check
    return check


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


async def prompt(server: Running, **fields: Any) -> str:
    """What the model sees of a request."""
    status, _, told = await server.post(server.ask(**fields), "/v1/messages/render")
    assert status == 200, told
    return str(told["text"])


async def fine(server: Running, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    """The reply to a request that is served."""
    status, _, reply = await server.post(server.ask(model="default") | fields, **(headers or {}))
    assert status == 200, reply
    return reply


@claim
async def model_names(server: Running) -> None:
    for name in ("scripted", "default", "claude-opus-5-5", "my-claude"):
        assert (await fine(server, model=name))["model"] == name
    status, _, error = await server.post(server.ask(model="gpt"))
    assert status == 404
    assert "scripted" in error["error"]["message"]


@claim
async def keys(server: Running) -> None:
    service, _ = await served()
    async with serving(service, accounts=Accounts(keys=Keyring((hashed("right"),)))) as guarded:
        for headers in ({"x_api_key": "right"}, {"authorization": "Bearer right"}):
            assert (await guarded.post(guarded.ask(model="default"), **headers))[0] == 200
        stale = {"x_api_key": "wrong", "authorization": "Bearer right"}
        assert (await guarded.post(guarded.ask(model="default"), **stale))[0] == 200
        assert (await guarded.post(guarded.ask(model="default"), x_api_key="wrong"))[0] == 401
    await fine(server)


@claim
async def paths(server: Running) -> None:
    for path in ("/messages", "/v1/v1/messages", "/anthropic/v1/messages"):
        assert (await server.post(server.ask(model="default"), path))[0] == 200


@claim
async def unknown_fields(server: Running) -> None:
    message = {**user([{"type": "text", "text": "Hi", "novel": 1}]), "novel": 2}
    status, headers, _ = await server.post(server.ask(model="default", messages=[message], novel=3))
    assert status == 200
    assert headers["antiphon-ignored"] == "novel"


@claim
async def betas(server: Running) -> None:
    await fine(server, {"anthropic_beta": "no-such-thing-2031-01-01"})


@claim
async def unknown_blocks(server: Running) -> None:
    seen = await prompt(
        server, model="default", messages=[user([{"type": "hologram", "depth": 3}, {"type": "text", "text": "x"}])]
    )
    assert "hologram" in seen
    status, _, _ = await server.post(server.ask(model="default", system=[{"type": "hologram"}]))
    assert status == 400


@claim
async def system_turns(server: Running) -> None:
    for role in ("system", "developer"):
        turns = [
            user("one"),
            {"role": role, "content": "be brief"},
            {"role": "assistant", "content": "two"},
            user("three"),
        ]
        seen = await prompt(server, model="default", messages=turns)
        assert seen.index("one") < seen.index("be brief") < seen.index("two") < seen.index("three")


@claim
async def sampling(server: Running) -> None:
    wanted = {"temperature": 1.8, "top_p": 0.5, "top_k": 7}
    await fine(server, NEWEST, **wanted)
    await fine(server, NEWEST, **wanted, thinking={"type": "enabled", "budget_tokens": 50})


@claim
async def clamped(server: Running) -> None:
    await fine(server, max_tokens=10_000_000)
    service, _ = await served(Rule(text="word ", repeat=500), window=300)
    async with serving(service) as small:
        assert (await fine(small, max_tokens=10_000))["stop_reason"] == "model_context_window_exceeded"


@claim
async def budgets(server: Running) -> None:
    service, _ = await served(
        Rule(when="</think>\\s*$", text="The answer."), Rule(pieces=("<think>\n", *["hm "] * 500, "</think>", "Late."))
    )
    async with serving(service) as thinking:
        reply = await fine(thinking, max_tokens=100, thinking={"type": "enabled", "budget_tokens": 10})
        assert reply["usage"]["output_tokens_details"]["thinking_tokens"] <= 12
        assert reply["content"][-1]["text"].strip() == "The answer."
        reply = await fine(thinking, max_tokens=40, thinking={"type": "enabled", "budget_tokens": 39})
        assert reply["usage"]["output_tokens_details"]["thinking_tokens"] <= 32
        assert reply["content"][-1]["text"].strip() == "The answer."


@claim
async def prefill(server: Running) -> None:
    turns = [user("Say it"), {"role": "assistant", "content": "It is "}]
    seen = await prompt(server, model="default", messages=turns)
    assert seen.rstrip().endswith("It is")
    await fine(server, messages=turns)


@claim
async def schemas(server: Running) -> None:
    leaf = {"type": "object", "properties": {"next": {"$ref": "#/$defs/leaf"}, "n": {"type": "integer", "minimum": 3}}}
    schema = {"$ref": "#/$defs/leaf", "$defs": {"leaf": leaf}}
    wanted = {"format": {"type": "json_schema", "schema": schema}}
    for text, status in (('{"next": {"n": 4}}', 200), ('{"n": 1}', 500)):
        service, _ = await served(Rule(text=text))
        async with serving(service) as speaking:
            assert (await speaking.post(speaking.ask(model="default", output_config=wanted)))[0] == status


@claim
async def cache_marks(server: Running) -> None:
    marked = [{"type": "text", "text": f"part {n}", "cache_control": {"type": "ephemeral"}} for n in range(9)]
    first = (await fine(server, messages=[user(marked)]))["usage"]
    assert first["cache_creation_input_tokens"] > 0
    plain = [{"type": "text", "text": part["text"]} for part in marked]
    again = (await fine(server, messages=[user(plain)]))["usage"]
    assert again["cache_read_input_tokens"] > 0
    assert again["cache_creation_input_tokens"] == 0


@claim
async def server_tools(server: Running) -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    reply = await fine(server, tools=tools, tool_choice={"type": "tool", "name": "web_search"})
    call, result, _ = reply["content"]
    assert (call["type"], result["content"]["error_code"]) == ("server_tool_use", "unavailable")
    assert "web_search" not in await prompt(server, model="default", tools=tools)


@claim
async def blind_models(server: Running) -> None:
    status, _, error = await server.post(server.ask(model="default", messages=[user([IMAGE])]))
    assert status == 400
    assert "no vision" in error["error"]["message"]
    turns = [user([IMAGE]), {"role": "assistant", "content": "A picture."}, user("And now?")]
    assert "[image omitted" in await prompt(server, model="default", messages=turns)


@claim
async def context_triggers(server: Running) -> None:
    tool = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
    call = [{"type": "tool_use", "id": f"toolu_{n}", "name": "look", "input": {}} for n in range(6)]
    messages = [user("Find it.")]
    for each in call:
        result = {"type": "tool_result", "tool_use_id": each["id"], "content": "word " * 20_000}
        messages += [{"role": "assistant", "content": [each]}, user([result])]
    edit: dict[str, Any] = {"type": "clear_tool_uses_20250919", "trigger": {"type": "input_tokens", "value": 10**9}}
    reply = await fine(server, messages=messages, tools=[tool], context_management={"edits": [edit]})
    (told,) = reply["context_management"]["applied_edits"]
    assert told["cleared_tool_uses"] > 0
    edit = {"type": "clear_tool_uses_20250919", "trigger": {"type": "tool_uses", "value": 3}}
    edit["keep"] = {"type": "tool_uses", "value": 1}
    for uses, cleared in ((4, 3), (5, 3), (6, 3)):
        sent = messages[: 1 + 2 * uses]
        reply = await fine(server, messages=sent, tools=[tool], context_management={"edits": [edit]})
        assert reply["context_management"]["applied_edits"][0]["cleared_tool_uses"] == cleared


@claim
async def compaction(server: Running) -> None:
    edit = {"type": "compact_20260112", "trigger": {"type": "input_tokens", "value": 1}, "pause_after_compaction": True}
    messages = [user("Hi"), {"role": "assistant", "content": "Hello."}, user("Well?")]
    reply = await fine(server, messages=messages, context_management={"edits": [edit]})
    assert reply["stop_reason"] == "compaction"
    blocks = [{**reply["content"][0], "content": text} for text in ("The first.", "The second.")]
    returned = [*messages, *({"role": "assistant", "content": [block]} for block in blocks), user("And?")]
    shown = await prompt(server, messages=returned, model="default")
    assert "The second." in shown
    assert "The first." not in shown
    assert "Well?" not in shown


@claim
async def counting(server: Running) -> None:
    body = server.ask(model="default", temperature=0.5, stream=True)
    status, _, counted = await server.post(body, "/v1/messages/count_tokens")
    assert status == 200
    used = (await fine(server))["usage"]
    total = used["input_tokens"] + used["cache_read_input_tokens"] + used["cache_creation_input_tokens"]
    assert counted["input_tokens"] == total


@claim
async def constants(server: Running) -> None:
    usage = (await fine(server))["usage"]
    assert [usage[name] for name in ("service_tier", "inference_geo", "speed")] == [
        "standard",
        "not_available",
        "standard",
    ]


@claim
async def rendering(server: Running) -> None:
    assert "Hi" in await prompt(server, model="default")


def test_every_difference_has_its_claim() -> None:
    """What is listed is shown, and what is shown is listed, in the same order."""
    assert [difference.key for difference in DIFFERENCES] == list(CLAIMS)


@pytest.mark.parametrize("key", CLAIMS)
async def test_the_difference_is_as_told(key: str) -> None:
    """The server does what the page says of it."""
    service, _ = await served()
    async with serving(service) as server:
        await CLAIMS[key](server)
