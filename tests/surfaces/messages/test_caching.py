"""What is said of the cache is true: the figures of usage, and why a prompt missed it."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from antiphon.engines.scripted import Rule
from antiphon.serving.model import Choices
from tests.serving.served import served
from tests.surfaces.conftest import Running, serving

Fields = dict[str, Any]
SYSTEM = "You are a careful assistant. " * 20
MARK = {"cache_control": {"type": "ephemeral"}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


@pytest.fixture
async def real() -> AsyncIterator[Running]:
    """The whole path over the scripted engine."""
    service, _ = await served(Rule(text="Said so."), choices=Choices(name="m"))
    async with serving(service) as running:  # type: ignore[arg-type]
        yield running


def text(*words: str, **more: Any) -> list[Fields]:
    return [{"type": "text", "text": word, **(more if word is words[-1] else {})} for word in words]


def user(*words: str, **more: Any) -> Fields:
    return {"role": "user", "content": text(*words, **more)}


SAID = {"role": "assistant", "content": "Said so."}
TOOL = {"name": "look", "description": "Looks. " * 20, "input_schema": {"type": "object", "properties": {}}}


async def counted(server: Running, body: Fields) -> int:
    asked = {key: value for key, value in body.items() if key not in ("max_tokens", "diagnostics")}
    status, _, answer = await server.post(asked, "/v1/messages/count_tokens")
    assert status == 200
    return int(answer["input_tokens"])


async def whole(server: Running, **fields: Any) -> Fields:
    status, _, answer = await server.post(server.ask(**fields))
    assert status == 200, answer
    return dict(answer)


def total(usage: Fields) -> int:
    assert sum(usage["cache_creation"].values()) == usage["cache_creation_input_tokens"]
    return int(usage["input_tokens"] + usage["cache_creation_input_tokens"] + usage["cache_read_input_tokens"])


PLACES: dict[str, Callable[[], Fields]] = {
    "none": lambda: {"messages": [user("Hi", "there")]},
    "tool": lambda: {"tools": [{**TOOL, **MARK}], "messages": [user("Hi")]},
    "system": lambda: {"system": text(SYSTEM, **HOUR), "messages": [user("Hi"), SAID, user("On")]},
    "first message": lambda: {"system": SYSTEM, "messages": [user("Hi", **MARK), SAID, user("On " * 30)]},
    "assistant": lambda: {
        "messages": [user("Hi"), {"role": "assistant", "content": text("Said so.", **MARK)}, user("On " * 30)]
    },
    "last message": lambda: {"system": SYSTEM, "messages": [user("Hi"), SAID, user("On", **MARK)]},
    "before a system turn": lambda: {"messages": [user("Hi", **MARK), {"role": "system", "content": "Be quick."}]},
    "a result": lambda: {
        "tools": [TOOL],
        "messages": [
            user("Hi"),
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": text("42", **HOUR)}],
            },
        ],
    },
    "prefill": lambda: {"messages": [user("Hi", **MARK), {"role": "assistant", "content": "Said"}]},
    "control tokens": lambda: {"messages": [user("<|im_end|>" * 5, **MARK), SAID, user("On <|im_start|> " * 9)]},
    "automatic": lambda: {"system": SYSTEM, "messages": [user("Hi")], **HOUR},
}


@pytest.mark.parametrize("place", PLACES)
async def test_the_three_figures_add_up_to_the_count(real: Running, place: str) -> None:
    """Wherever a mark stands, read, created and the rest add up to what count_tokens says: whole, and in the first and
    the last frame of a stream, which are alike."""
    body = PLACES[place]()
    expected = await counted(real, real.ask(**body))
    for _ in range(2):
        usage = (await whole(real, **body))["usage"]
        assert total(usage) == expected
        assert usage["input_tokens"] >= 0
        _, _, raw = await real.stream(real.ask(**body))
        frames = [json.loads(line[6:]) for line in raw.split(b"\n") if line.startswith(b"data: ")]
        start = next(frame["message"]["usage"] for frame in frames if frame["type"] == "message_start")
        end = next(frame["usage"] for frame in frames if frame["type"] == "message_delta")
        for figure in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation"):
            assert start[figure] == end[figure]
        assert total(end) == expected


async def test_before_and_behind_the_mark(real: Running) -> None:
    """Without a mark nothing is created. With one, what is computed before it is created and the rest is not; what is
    read is neither. A mark for an hour is told as such."""
    plain = (await whole(real, system=SYSTEM, messages=[user("One")]))["usage"]
    assert plain["cache_creation_input_tokens"] == 0
    marked = (await whole(real, system=text("Another. " + SYSTEM, **HOUR), messages=[user("One " * 50)]))["usage"]
    created = marked["cache_creation"]["ephemeral_1h_input_tokens"]
    assert created == marked["cache_creation_input_tokens"]
    alone = await counted(real, real.ask(system="Another. " + SYSTEM, messages=[user("One")]))
    behind = await counted(real, real.ask(messages=[user("One " * 50)]))
    assert alone - 12 <= created + marked["cache_read_input_tokens"] <= alone
    assert behind - 12 <= marked["input_tokens"] <= behind
    again = (await whole(real, system=text("Another. " + SYSTEM, **HOUR), messages=[user("Two")]))["usage"]
    assert again["cache_creation_input_tokens"] == 0
    assert again["cache_read_input_tokens"] >= created


async def test_a_growing_conversation(real: Running) -> None:
    """With the mark on the last message, each turn reads all that the turn before had, and creates only its own."""
    messages: list[Fields] = []
    before = 0
    for number in range(4):
        messages.append(user(f"Question {number}"))
        usage = (await whole(real, system=SYSTEM, messages=messages, **MARK))["usage"]
        assert usage["cache_read_input_tokens"] >= before - 1
        # What opens the reply stands behind the mark.
        assert 0 < usage["input_tokens"] < 6
        before = total(usage)
        messages.append(SAID)


@pytest.mark.parametrize("before", [[], [user("Early"), SAID, user("On")]])
async def test_a_mark_behind_a_summary(real: Running, before: list[Fields]) -> None:
    """All up to the mark is created, whether the client still sends what was summarised or not."""
    block = {"type": "compaction", "content": f"It went well, {len(before)} times."}
    resumed = [*before, {"role": "assistant", "content": [block, *text("Said")]}, user("Next " * 50, **MARK)]
    usage = (await whole(real, messages=resumed))["usage"]
    assert 0 < usage["input_tokens"] < 6
    assert usage["cache_creation_input_tokens"] + usage["cache_read_input_tokens"] > 50


async def test_no_tokens_warm_the_cache(real: Running) -> None:
    """max_tokens 0 has the prompt computed: it is created by that, and read by the next."""
    body = {"system": text(SYSTEM, **MARK), "messages": [user("Hi")]}
    warm = await whole(real, **body, max_tokens=0)
    assert warm["content"] == []
    assert warm["usage"]["output_tokens"] == 0
    assert warm["usage"]["cache_creation_input_tokens"] > 50
    usage = (await whole(real, **body))["usage"]
    assert usage["cache_creation_input_tokens"] == 0
    assert usage["cache_read_input_tokens"] >= warm["usage"]["cache_creation_input_tokens"]


BASE: Fields = {"system": SYSTEM, "tools": [TOOL], "messages": [user("Hi", "there")]}
GROWN: Fields = {**BASE, "messages": [*BASE["messages"], SAID, user("On")]}
OTHER_TOOL = {**TOOL, "name": "jump"}


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        (GROWN, None),
        ({**GROWN, "model": "claude-other"}, None),
        ({**GROWN, "system": text(SYSTEM, **MARK)}, None),
        ({**GROWN, "system": "Now. " + SYSTEM}, "system_changed"),
        ({**GROWN, "tools": [TOOL, OTHER_TOOL]}, "tools_changed"),
        ({**GROWN, "messages": [user("Oh"), SAID, user("On")]}, "messages_changed"),
        ({**GROWN, "messages": [user("On")]}, "messages_changed"),
    ],
)
async def test_diagnostics_name_what_changed(real: Running, later: Fields, reason: str | None) -> None:
    """Asked why the previous prompt was not gone on from, the server names what changed and how much that cost; nothing
    where it was gone on from."""
    first = await whole(real, **BASE, diagnostics={"previous_message_id": None})
    assert first["diagnostics"] == {"cache_miss_reason": None}
    second = await whole(real, **later, diagnostics={"previous_message_id": first["id"]})
    told = second["diagnostics"]["cache_miss_reason"]
    if reason is None:
        assert told is None
    else:
        assert told["type"] == reason
        assert 0 < told["cache_missed_input_tokens"] <= total(first["usage"])
    _, _, raw = await real.stream(real.ask(**later, diagnostics={"previous_message_id": first["id"]}))
    assert json.loads(raw.split(b"\n")[1][6:])["message"]["diagnostics"] == second["diagnostics"]


async def test_diagnostics_of_the_unknown(real: Running) -> None:
    """An id nobody knows is not found; who does not ask is told nothing."""
    unknown = await whole(real, diagnostics={"previous_message_id": "msg_unknown"})
    assert unknown["diagnostics"] == {"cache_miss_reason": {"type": "previous_message_not_found"}}
    assert (await whole(real, diagnostics=None))["diagnostics"] is None
    assert (await whole(real))["diagnostics"] is None


async def test_the_log_says_where(real: Running, caplog: pytest.LogCaptureFixture) -> None:
    """A prompt that goes back on its predecessor is told in the debug log, with the turn and the text around it."""
    with caplog.at_level(logging.DEBUG, "antiphon"):
        headers = {"x-claude-code-session-id": "s-1"}
        await real.post(real.ask(**GROWN), **headers)
        await real.post(real.ask(**{**GROWN, "messages": [*GROWN["messages"], SAID, user("And")]}), **headers)
        assert "re-used of" not in caplog.text
        await real.post(real.ask(**{**GROWN, "messages": [BASE["messages"][0], SAID, user("Off")]}), **headers)
    assert "part in turn 3" in caplog.text
    assert "'" in caplog.text
    assert "Off" in caplog.text
