"""/openapi.json is what the server does: every route is in it, and what is sent is what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from antiphon import surfaces
from antiphon.surfaces.http.openapi import document
from antiphon.surfaces.surface import Route, Surface
from tests.end_to_end.conftest import Server, serving
from tests.serving.served import served

HERE = Path(__file__).parent
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A script behind all surfaces."""
    script = HERE.parent / "end_to_end" / "script.json"
    with serving(tmp_path_factory.mktemp("openapi"), f"scripted+{script}", "--log-level", "warning") as running:
        yield running


def asked(server: Server, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and body of a request, whatever the status."""
    sent = {"content-type": "application/json", **{key.replace("_", "-"): value for key, value in headers.items()}}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers, refused.read()


@pytest.fixture(scope="module")
def described(server: Server) -> dict[str, Any]:
    """The description as it is served."""
    status, headers, body = asked(server, "GET", "/openapi.json")
    assert (status, headers["content-type"]) == (200, "application/json")
    told: dict[str, Any] = json.loads(body)
    return told


async def routes() -> list[tuple[Surface, Route]]:
    service, _ = await served()
    return surfaces.routes(service, surfaces.Options(seal_key=b"k"))


async def test_every_route_is_described_and_nothing_else(described: dict[str, Any]) -> None:
    """The description holds the routes that are served: their paths, up to the name of a free part, and methods."""
    told = {
        (re.sub(r"\{[^}]*\}", "*", path), method) for path, methods in described["paths"].items() for method in methods
    }
    assert told == {(surface.base + route.path, route.method.lower()) for surface, route in await routes()}


async def test_a_route_that_says_nothing_of_itself_is_refused() -> None:
    """Whoever adds a route describes it: the server does not start otherwise."""
    found = await routes()
    surface, _ = found[0]
    silent = Route(method="GET", path="/silent", answer=lambda exchange: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match="does not say what it is"):
        document([*found, (surface, silent)])


def test_what_is_described_is_there(server: Server, described: dict[str, Any]) -> None:
    """Each path answers its methods, and tells which they are when it is asked with another one."""
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            status, _, _ = asked(server, method.upper(), path.replace("{", "").replace("}", ""), {})
            assert status == 404 or str(status) in operation["responses"], (path, status)
            if status == 404:
                assert "404" in operation["responses"], path
        status, headers, _ = asked(server, "PATCH", path.replace("{", "").replace("}", ""))
        assert status == 405
        assert {each.strip().lower() for each in headers["allow"].split(",")} == set(methods), path


def test_references_lead_somewhere(described: dict[str, Any]) -> None:
    """Every reference is to a component that is there, and every component is referred to by somebody or named."""
    text = json.dumps(described)
    schemas = described["components"]["schemas"]
    told = {part.partition('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}
    assert told <= set(schemas)
    ids = [operation["operationId"] for methods in described["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


MESSAGE = {"model": "default", "max_tokens": 200, "messages": [{"role": "user", "content": "Say hello."}]}
TOOLS = [{"name": "get_weather", "input_schema": WEATHER}]
CALLING = {**MESSAGE, "messages": [{"role": "user", "content": "Two tools, please."}], "tools": TOOLS}
SEARCH = {**MESSAGE, "tools": [{"type": "web_search_20250305", "name": "web_search"}]}
FUNCTIONS = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}]
CALLED = [
    ("POST", "/v1/messages", MESSAGE),
    ("POST", "/v1/messages", CALLING),
    ("POST", "/v1/messages", SEARCH),
    ("POST", "/v1/messages", {**MESSAGE, "context_management": {}, "diagnostics": {"previous_message_id": "msg_x"}}),
    ("POST", "/v1/messages", {**MESSAGE, "max_tokens": -1}),
    ("POST", "/v1/messages", {**MESSAGE, "thread": {"type": "create"}}),
    ("POST", "/v1/messages", {**MESSAGE, "stream": True}),
    ("POST", "/v1/messages/count_tokens", MESSAGE),
    ("POST", "/v1/messages/count_tokens", {**MESSAGE, "context_management": {}}),
    ("POST", "/v1/messages/render", MESSAGE),
    ("POST", "/v1/chat/completions", MESSAGE),
    ("POST", "/v1/chat/completions", {**CALLING, "tools": FUNCTIONS}),
    ("POST", "/v1/chat/completions", {**CALLING, "tools": FUNCTIONS, "n": 2}),
    ("POST", "/v1/chat/completions", {**MESSAGE, "model": "none such"}),
    ("POST", "/v1/messages", {**MESSAGE, "return_token_ids": True, "return_logprob": True, "top_logprobs": 1}),
    ("POST", "/v1/chat/completions", {**MESSAGE, "n": 2, "return_token_ids": True, "logprobs": True}),
    ("POST", "/v1/completions", {"model": "default", "prompt": ["Say hello.", [1, 2]], "n": 2, "logprobs": 1}),
    ("POST", "/v1/completions", {"model": "default", "prompt": [], "stream": True}),
    ("POST", "/v1/responses", {"model": "default", "input": "Say hello."}),
    ("POST", "/v1/responses", {"model": "default", "input": "Say hello.", "stream": True}),
    ("POST", "/v1/responses", {"model": "default", "input": [{"type": "function_call_output", "call_id": "c"}]}),
    ("POST", "/v1/responses/input_tokens", {"model": "default", "input": "Say hello."}),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models?limit=0", None),
    ("GET", "/v1/models/default", None),
    ("GET", "/v1/models/none", None),
    ("GET", "/health", None),
    ("GET", "/health/ready", None),
    ("GET", "/metrics", None),
    ("GET", "/api/hello", None),
    ("GET", "/api/anything", None),
    ("POST", "/api/event_logging/batch", {}),
]


@pytest.mark.parametrize("version", [True, False])
@pytest.mark.parametrize(
    ("method", "path", "body"), CALLED, ids=[path + str(i) for i, (_, path, _) in enumerate(CALLED)]
)
def test_what_is_sent_is_as_described(
    server: Server, described: dict[str, Any], method: str, path: str, body: Any, version: bool
) -> None:
    """Replies and failures have a status, a media type and a shape that the description tells."""
    status, headers, reply = asked(
        server, method, path, body, **({"anthropic_version": "2023-06-01"} if version else {})
    )
    bare = path.partition("?")[0]
    paths = described["paths"]
    open_ended = [each for each in paths if each.endswith("}") and bare.startswith(each.partition("{")[0])]
    place = bare if bare in paths else max(open_ended, key=len)
    response = paths[place][method.lower()]["responses"][str(status)]
    assert headers["request-id"].startswith("req_")
    if "content" not in response:
        assert reply == b""
        return
    schema = response["content"][headers["content-type"].partition(";")[0]]["schema"]
    if "json" in headers["content-type"]:
        jsonschema_rs.validate({**schema, "components": described["components"]}, json.loads(reply))


# It takes a number within its bounds for a wrong one where a form has it, next to the bound.
_UPLOADS = """
[[operations]]
include-path = "/v1/files"
include-method = "POST"
checks.negative_data_rejection.enabled = false
"""


def test_drawn_requests_get_what_is_described(server: Server, tmp_path: Path) -> None:
    """Schemathesis, an outside judge: whatever it draws, there is no 5xx, and every answer has a status, a media type
    and a shape that is described; wrong requests are refused. `make openapi` draws more.

    That all it thinks good is accepted is not asked: what makes a conversation good is more than a schema can say."""
    examples = os.environ.get("OPENAPI_EXAMPLES", "5")
    command = [str(Path(sys.executable).parent / "st"), "run", server.url + "/openapi.json", "--no-color"]
    options = [
        "--max-examples",
        examples,
        "--exclude-checks",
        "positive_data_acceptance",
        "--phases",
        "coverage,fuzzing",
    ]
    steady = [] if "OPENAPI_EXAMPLES" in os.environ else ["--generation-deterministic"]
    (tmp_path / "schemathesis.toml").write_text(_UPLOADS, "utf-8")
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.openapi.hooks", "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(
        [*command, *options, *steady], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert " generated" in done.stdout
