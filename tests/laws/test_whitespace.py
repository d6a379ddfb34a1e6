"""White-space law: JSON that is spaced otherwise means the same, wherever it comes in."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from antiphon import surfaces
from antiphon.cli import main
from antiphon.engines import Job
from antiphon.engines.scripted import Rule
from antiphon.observability import request_log
from antiphon.serving.model import Choices
from tests.laws.spacing import spellings
from tests.serving.served import served

BARE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
TEXTUAL = BARE.replace(
    "{{ m.content }}",
    "{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name + ' ' + c.function.arguments }}"
    "</tool_call>{% endfor %}",
)
TEMPLATES: dict[str, dict[str, str]] = {
    "a template for tools": {},
    "one that wants the arguments of calls as text": {"template": TEXTUAL},
    "one that knows no tools": {"template": BARE},
}
SCHEMA = {
    "type": "object",
    "properties": {"place": {"type": "string", "enum": ["a b", 'c\n"d']}, "n": {"type": "integer"}},
    "required": ["place"],
    "additionalProperties": False,
}
SAID = 'Good.<tool_call>\n{"name": "look", "arguments": {"place":\n\t"a b",\r\n "n": 1}}\n</tool_call>'
TOLD = '{"place":\n\t"a b",\r\n "n": 1}'
TOOLS = {
    "model": "claude-x",
    "max_tokens": 2000,
    "system": [{"type": "text", "text": "Be\n\n  brief.", "cache_control": {"type": "ephemeral"}}],
    "metadata": {"user_id": "user_a_account__session_b"},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "tools": [{"name": "look", "description": "Looks.\r\n", "input_schema": SCHEMA, "strict": True}],
    "messages": [
        {"role": "user", "content": 'Look\tat "this": { "a" : 1 }'},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"place": "a  b", "n": [1]}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "  here \n"}]},
    ],
}
DEMAND = {
    "model": "claude-x",
    "max_tokens": 200,
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    "messages": [{"role": "user", "content": "As \n JSON"}],
}
CHAT = {
    "model": "claude-x",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Look  here"}]},
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"place":  1}'}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "x"},
    ],
    "tools": [{"type": "function", "function": {"name": "look", "parameters": SCHEMA}}],
}
RESPONSE = {
    "model": "claude-x",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Look  here"}]},
        {"type": "function_call", "call_id": "1", "name": "look", "arguments": '{"place":  1}'},
        {"type": "function_call_output", "call_id": "1", "output": "x"},
        {"type": "shell_call", "call_id": "2", "action": {"commands": ["ls  -l"], "timeout_ms": None}},
        {"type": "shell_call_output", "call_id": "2", "output": [{"stdout": "a\n", "stderr": "", "outcome": {}}]},
    ],
    "tools": [{"type": "function", "name": "look", "parameters": SCHEMA}, {"type": "shell"}],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]},
}
NEW = (
    "id",
    "created",
    "created_at",
    "completed_at",
    "call_id",
    "item_id",
    "tools",
    "tool_choice",
    "request_id",
    "signature",
    "cached_tokens",
    "cache_read_input_tokens",
    "input_tokens",
    "usage",
)
"""What differs between two answers to the same request."""


async def ask(application: Any, path: str, body: bytes) -> tuple[int, bytes]:
    """Status and bytes of an answer, without a socket."""
    status, chunks, coming = 0, list[bytes](), [{"type": "http.request", "body": body}]

    async def receive() -> Any:
        return coming.pop()

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)
        chunks.append(message.get("body", b""))

    headers = [(b"host", b"localhost"), (b"anthropic-version", b"2023-06-01"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    await application(scope, receive, send)
    return status, b"".join(chunks)


def lasting(value: Any) -> Any:
    """An answer without what is new in each."""
    match value:
        case dict():
            return {key: lasting(inner) for key, inner in value.items() if key not in NEW}
        case list():
            return [lasting(inner) for inner in value]
    return value


def events(stream: bytes) -> list[Any]:
    """What a stream tells, in order."""
    return [json.loads(line[5:]) for line in stream.splitlines() if line.startswith(b"data:") and b"[DONE]" not in line]


def same(found: Iterable[tuple[str, Any]]) -> None:
    (_, first), *others = found
    for name, each in others:
        assert each == first, name


async def meanings(template: str, body: dict[str, Any], paths: list[str], said: str) -> list[tuple[str, Any]]:
    """For each spelling of a body: what is answered at each path, whole and streamed, and what the engine is asked."""
    found = []
    for name, text in spellings(body).items():
        rule = Rule(text=said)
        service, engine = await served(rule, choices=Choices(tool_call_parser="hermes"), **TEMPLATES[template])
        application = surfaces.build(service, surfaces.Options(seal_key=b"k" * 32))
        told = []
        for path in paths:
            status, answer = await ask(application, path, text)
            assert status == 200, answer
            told.append(lasting(json.loads(answer)))
        streamed = text[: text.rindex(b"}")] + b',\r\n\t"stream" :\n true }'
        status, answer = await ask(application, paths[0], streamed)
        assert status == 200, answer
        told.append(lasting(events(answer)))
        jobs: list[Job] = engine.jobs
        assert len(jobs) > 1
        found.append((name, (told, jobs)))
    return found


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize(("body", "said"), [(TOOLS, SAID), (DEMAND, TOLD)], ids=["tools", "schema"])
async def test_a_message_means_the_same(template: str, body: dict[str, Any], said: str) -> None:
    """Whole, streamed, counted and rendered: the same is asked of the engine, and the same told to the client."""
    same(await meanings(template, body, ["/v1/messages", "/v1/messages/count_tokens", "/v1/messages/render"], said))


@pytest.mark.parametrize("template", TEMPLATES)
async def test_a_chat_completion_means_the_same(template: str) -> None:
    """On the other API, too."""
    same(await meanings(template, CHAT, ["/v1/chat/completions"], SAID))


@pytest.mark.parametrize("template", TEMPLATES)
async def test_a_response_means_the_same(template: str) -> None:
    """And on the third, which repeats much of its request; counted too."""
    same(await meanings(template, RESPONSE, ["/v1/responses", "/v1/responses/input_tokens"], SAID))


async def test_what_is_no_json_is_refused_at_the_same_place() -> None:
    """A byte order mark is taken once, at the very beginning, and is no way around what JSON is."""
    service, _ = await served()
    application = surfaces.build(service, surfaces.Options(seal_key=b"k" * 32))
    for body in (b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf{}", b"{\xef\xbb\xbf}", b"{\xc2\xa0}", b"{\x0c}"):
        for path in ("/v1/messages", "/v1/messages/batches", "/v1/chat/completions", "/v1/responses"):
            status, told = await ask(application, path, body)
            assert status == 404 if b"keeps no" in told else (status, b"not valid JSON" in told) == (400, True)


@pytest.mark.parametrize("form", ["text", "json"])
async def test_a_request_leaves_one_line(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    """However a request is spaced, and whatever line breaks are in what the log tells of it."""
    service, _ = await served()
    application = surfaces.build(service, surfaces.Options(seal_key=b"k" * 32))
    handler = logging.StreamHandler()
    handler.setFormatter(request_log.JsonLines() if form == "json" else logging.Formatter("%(message)s"))
    log = logging.getLogger("antiphon.http")
    log.addHandler(handler)
    level = log.level
    log.setLevel("INFO")
    try:
        for text in spellings({**TOOLS, "model": "no\r\nsuch \x1b[31mmodel\u2028"}).values():
            assert (await ask(application, "/v1/messages", text))[0] == 404
        assert (await ask(application, "/v1/no\nsuch\u2028path", b""))[0] == 404
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    *lines, rest = capfd.readouterr().err.split("\n")
    assert (len(lines), rest) == (len(spellings({})) + 1, "")
    assert all(json.loads(line) if form == "json" else line.isprintable() for line in lines)


def test_parse_reads_and_prints_lines(tmp_path: Path) -> None:
    """An output for each line, however it is spaced and however its model wrote; its tools as they come from a file."""
    given = {"raw": SAID, "tools": TOOLS["tools"], "prompt_tail": None}
    compact = json.dumps(given, separators=(",", ":"))
    spaced = [compact, json.dumps(given), json.dumps(given, separators=(" ,\t", "\t: ")), "", f"\t{compact} "]
    printed = []
    for mark, end in ((b"", b"\n"), (b"\xef\xbb\xbf", b"\r\n")):
        done = CliRunner().invoke(main, ["parse", "--jsonl"], input=mark + b"".join(x.encode() + end for x in spaced))
        assert done.exit_code == 0, done.output
        printed += done.output.splitlines()
    assert len(printed) == 8
    for name, tools in spellings(TOOLS["tools"]).items():
        (tmp_path / "tools.json").write_bytes(tools)
        command = ["parse", "--jsonl", "--tools", str(tmp_path / "tools.json")]
        done = CliRunner().invoke(main, command, input=json.dumps({"raw": SAID}))
        assert done.exit_code == 0, (name, done.output)
        printed += done.output.splitlines()
    assert set(printed) == {printed[0]}
    assert json.loads(printed[0])["content"][-1]["input"] == {"place": "a b", "n": 1}
