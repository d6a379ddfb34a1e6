"""What real programs sent, as they sent it, answered by running servers: one of a script, one of a real model."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.conftest import Server, serving
from tests.surfaces import response_order
from tests.surfaces.order import check, frames

pytestmark = pytest.mark.xdist_group("engine")

SHAPES = {
    path.stem: json.loads(path.read_text("utf-8")) for path in sorted(Path(__file__).parent.glob("shapes/*.json"))
}
POSTS = {name: shape for name, shape in SHAPES.items() if shape["path"].partition("?")[0] == "/v1/messages"}
THREADS = {name: shape for name, shape in POSTS.items() if "thread" in shape["body"]}
CREATES = {name: shape for name, shape in POSTS.items() if name not in THREADS}
COUNTS = {name: shape for name, shape in SHAPES.items() if "count_tokens" in shape["path"]}
PROBES = {name: shape for name, shape in SHAPES.items() if shape["method"] == "HEAD"}
RESPONSES = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted(Path(__file__).parent.glob("shapes/responses/*.json"))
}
# The default prompts of coding assistants fill more than the window of the small model.
TOO_LONG = {"claude-code-2.1.197-default", "claude-code-2.1.330-default", "opencode-1.18.33"}
# Minutes of work on a slow machine, and nothing in it that the others lack but length.
SLOW = {"claude-code-2.1.330-compact"}
WINDOW = 8192
# What was blanked in the recordings, because it named a machine or a person.
BLANKED = {"authorization": "Bearer dummy", "x-api-key": "dummy"}
# What the script says where a request leaves the model no choice.
CALLS: dict[str, dict[str, Any]] = {
    "get_weather": {"city": "Zürich"},
    "City": {"name": "Zürich", "population": 448664},
    "final_result": {"name": "Zürich", "population": 448664},
}
OUTPUT = {"name": "Zürich"}
HELLO = "Hello from the script. 😀"
COUNTED = ("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "context_management")


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    raw: bytes

    def error(self) -> dict[str, Any]:
        """The error of an error envelope."""
        envelope = json.loads(self.raw)
        assert envelope["type"] == "error"
        assert envelope["request_id"] == self.headers["request-id"]
        found: dict[str, Any] = envelope["error"]
        return found


def send(server: Server, shape: dict[str, Any], body: dict[str, Any] | None, path: str = "") -> Answer:
    """Send a recorded request with its own headers, in their order."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.netloc, timeout=120)
    payload = json.dumps(body, ensure_ascii=False).encode() if body is not None else b""
    given = {"host": address.netloc, "content-length": str(len(payload)), **BLANKED}
    try:
        connection.putrequest(shape["method"], path or shape["path"], skip_host=True, skip_accept_encoding=True)
        for name, value in shape["headers"].items():
            connection.putheader(name, given.get(name, "0" * 8) if value == "…" else value)
        connection.endheaders(payload or None)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())
    finally:
        connection.close()


def counted(server: Server, shape: dict[str, Any]) -> int:
    """The tokens of a request, by the server's own count."""
    body = {key: value for key, value in shape["body"].items() if key in COUNTED}
    answer = send(server, shape, body, "/v1/messages/count_tokens")
    assert answer.status == 200, answer.raw
    return int(json.loads(answer.raw)["input_tokens"])


def total(usage: dict[str, Any]) -> int:
    return int(usage["input_tokens"] + usage["cache_creation_input_tokens"] + usage["cache_read_input_tokens"])


def check_stream(answer: Answer, shape: dict[str, Any], tokens: int) -> list[dict[str, Any]]:
    """A whole stream: legal in its order, uncompressed, its input whole, its usage what was counted."""
    assert answer.status == 200, answer.raw
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "content-encoding" not in answer.headers
    assert answer.headers["request-id"].startswith("req_")
    events = frames(answer.raw)
    assert check(events) == "message_stop"
    message = events[0]["message"]
    assert (message["type"], message["role"], message["content"]) == ("message", "assistant", [])
    assert message["model"] == shape["body"]["model"]
    assert message["stop_reason"] is None
    ended = next(event for event in events if event["type"] == "message_delta")
    assert total({**message["usage"], **ended["usage"]}) == tokens
    assert ended["usage"]["output_tokens"] > 0
    if ended["delta"]["stop_reason"] == "tool_use":
        pieces = [event["delta"] for event in events if event["type"] == "content_block_delta"]
        assert any(delta["type"] == "input_json_delta" for delta in pieces)
    return events


def _hermes(name: str, call: dict[str, Any]) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': call}, ensure_ascii=False)}\n</tool_call>"


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose engine says the same to everybody, with a window for every recorded prompt."""
    folder = tmp_path_factory.mktemp("shapes")
    script = folder / "script.json"
    rules = [{"when": f'"name": "{name}"', "text": _hermes(name, call)} for name, call in CALLS.items()]
    rules.append({"when": "Say hello", "text": json.dumps(OUTPUT)})
    rules.append({"text": f"<think>\nWhat to say?\n</think>\n\n{HELLO}"})
    script.write_text(json.dumps({"rules": rules}), "utf-8")
    with serving(folder, f"scripted+{script}", "--served-model-name", "local-model") as server:
        yield server


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The default model, whose window is 8192 tokens."""
    with serving(tmp_path_factory.mktemp("shapes"), "--served-model-name", "local-model", "--threads", "1") as server:
        yield server


@pytest.mark.parametrize("name", CREATES)
def test_every_recorded_request_gets_a_legal_stream(name: str, scripted: Server) -> None:
    """Every recorded request of every program is answered by a legal stream."""
    shape = CREATES[name]
    answer = send(scripted, shape, {**shape["body"], "stream": True})
    events = check_stream(answer, shape, counted(scripted, shape))
    started = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    text = "".join(delta.get("text", "") for delta in deltas)
    arguments = "".join(delta.get("partial_json", "") for delta in deltas)
    if shape["body"].get("tool_choice", {}).get("type", "auto") in ("any", "tool"):
        (block,) = started
        assert json.loads(arguments) == CALLS[block["name"]]
    elif "output_format" in shape["body"]:
        assert json.loads(text) == OUTPUT
    elif not arguments:
        assert text in (HELLO, json.dumps(OUTPUT))


@pytest.mark.parametrize("name", CREATES)
def test_a_real_model_streams_legally(name: str, real: Server) -> None:
    """The same on a real model: a legal stream, or the one wording of too long that programs know, with the count."""
    shape = CREATES[name]
    if name in SLOW:
        assert 0 < counted(real, shape) < WINDOW
        return
    limit = min(32, shape["body"]["max_tokens"])
    answer = send(real, shape, {**shape["body"], "stream": True, "max_tokens": limit})
    if name not in TOO_LONG:
        check_stream(answer, shape, counted(real, shape))
        return
    assert answer.status == 400, answer.raw
    error = answer.error()
    assert error["type"] == "invalid_request_error"
    found = re.fullmatch(rf"prompt is too long: (\d+) tokens > {WINDOW} maximum", error["message"])
    assert found, error
    assert counted(real, shape) == int(found[1]) > WINDOW


@pytest.mark.parametrize("name", THREADS)
@pytest.mark.parametrize("kind", ["scripted", "real"])
def test_threads_begin_or_say_that_programs_recover(name: str, kind: str, request: pytest.FixtureRequest) -> None:
    """A thread begins; one that goes on from a thread of another server is refused with the code upon which the SDKs
    send the whole conversation instead."""
    server = request.getfixturevalue(kind)
    for stream in (False, True):
        answer = send(server, THREADS[name], {**THREADS[name]["body"], "max_tokens": 8, "stream": stream})
        if THREADS[name]["body"]["thread"]["type"] == "create":
            assert answer.status == 200
            continue
        assert answer.status == 404
        error = answer.error()
        assert error["type"] == "not_found_error"
        assert error["details"]["error_code"] == "thread_not_found"


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("kind", ["scripted", "real"])
def test_counting_requests_get_a_number(name: str, kind: str, request: pytest.FixtureRequest) -> None:
    """Recorded counting requests get a number and nothing else."""
    answer = send(request.getfixturevalue(kind), COUNTS[name], COUNTS[name]["body"])
    assert answer.status == 200
    (only,) = json.loads(answer.raw).items()
    assert only[0] == "input_tokens"
    assert only[1] > 0


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("path", ["", "/api/hello"])
def test_probes_are_answered_without_a_key(name: str, path: str, scripted: Server) -> None:
    """Before the first request some programs look whether anybody is there, without a key."""
    answer = send(scripted, PROBES[name], None, path)
    assert (answer.status, answer.raw) == (200, b"")


def outlined(value: Any) -> Any:
    """The same with little text in it."""
    if isinstance(value, list):
        return [outlined(each) for each in value]
    if not isinstance(value, dict):
        return value
    wordy = ("text", "description")
    return {key: each[:40] if key in wordy and isinstance(each, str) else outlined(each) for key, each in value.items()}


@pytest.mark.parametrize("name", RESPONSES)
def test_every_recorded_request_for_a_response_gets_a_legal_stream(name: str, scripted: Server) -> None:
    """Every recorded request for a response is answered by a legal stream."""
    check_response(scripted, RESPONSES[name], RESPONSES[name]["body"])


def test_a_real_model_says_when_an_agent_has_no_room(real: Server) -> None:
    """The same on a real model. It has no room for all that agents say of themselves, and says so in the words that
    they know; what is left without that is answered."""
    shape = RESPONSES["codex-0.171.0-edit-turn3"]
    refused = send(real, shape, shape["body"])
    assert refused.status == 400, refused.raw
    assert json.loads(refused.raw)["error"]["code"] == "context_length_exceeded"
    kinds = {tool["type"]: tool for tool in reversed(shape["body"]["tools"])}
    tools = [{**tool, "tools": tool["tools"][:1]} if "tools" in tool else tool for tool in kinds.values()]
    check_response(real, shape, outlined({**shape["body"], "tools": tools, "max_output_tokens": 4}))


def check_response(server: Server, shape: dict[str, Any], body: dict[str, Any]) -> None:
    """A whole stream, with the tokens that were counted."""
    counted = {key: value for key, value in body.items() if key != "stream"}
    tokens = json.loads(send(server, shape, counted, "/v1/responses/input_tokens").raw)["input_tokens"]
    answer = send(server, shape, body)
    assert answer.status == 200, answer.raw
    response = response_order.check(response_order.frames(answer.raw))
    assert response["usage"]["input_tokens"] == tokens
    assert response["status"] in ("completed", "incomplete")
    assert response["output"]


def test_shapes_are_all_here() -> None:
    """No recording fell out of the groups above."""
    assert {*CREATES, *THREADS, *COUNTS, *PROBES} == {*SHAPES}
    assert len(SHAPES) >= 28
    assert RESPONSES
    assert {*CREATES} >= TOO_LONG
