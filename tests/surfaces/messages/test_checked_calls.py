"""A call that is checked before the client has it, on the wire."""

from __future__ import annotations

from typing import Any

from tests.serving.served import Rule, served
from tests.surfaces import order
from tests.surfaces.conftest import serving

CALL = '<tool_call>\n{{"name": "look", "arguments": {{"at": {at}}}}}\n</tool_call>'
LOOK = {
    "name": "look",
    "strict": True,
    "input_schema": {
        "type": "object",
        "properties": {"at": {"type": "array", "uniqueItems": True}},
        "required": ["at"],
    },
}


async def stream(*rules: Rule) -> list[dict[str, Any]]:
    service: Any = (await served(*rules))[0]
    async with serving(service, ping_interval=0.1) as running:
        _, _, raw = await running.stream(running.ask(model="claude-test", tools=[LOOK]))
    events = order.frames(raw)
    order.check(events)
    return events


async def test_pings_go_on_while_a_call_is_asked_for_again() -> None:
    """The text comes at once, then pings, then the call as it should be."""
    slow = tuple(CALL.format(at="[1, 1]"))
    events = await stream(
        Rule(pieces=("Let me look. ", *slow), delay=0.01, times=1), Rule(text=CALL.format(at="[1]"), first_delay=1)
    )
    kinds = [event["type"] for event in events]
    text = max(at for at, event in enumerate(events) if event.get("delta", {}).get("type") == "text_delta")
    begun = next(at for at, event in enumerate(events) if event.get("content_block", {}).get("type") == "tool_use")
    assert kinds[text + 1 : begun].count("ping") >= 2
    told = [event["delta"]["partial_json"] for event in events[begun:] if "partial_json" in event.get("delta", {})]
    assert "".join(told) == '{"at": [1]}'
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


async def test_what_stays_wrong_is_an_error_event() -> None:
    """After the text that the client has, an error says where in the input of which tool it went wrong."""
    events = await stream(Rule(text="Let me look. " + CALL.format(at="[1, 1]")))
    assert events[-1]["type"] == "error"
    assert "the input of 'look' does not match its schema: at $.at" in events[-1]["error"]["message"]
    assert not any(event.get("content_block", {}).get("type") == "tool_use" for event in events)
