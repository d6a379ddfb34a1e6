"""Traces, received over a real socket by a small OTLP collector of this file's own."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from antiphon.accounts.accounts import Accounts
from antiphon.accounts.keyring import Keyring
from antiphon.engines.scripted import Rule
from antiphon.observability import tracing
from antiphon.observability.request_watch import Watch
from antiphon.settings.keys import hashed
from tests.end_to_end import conftest as end_to_end
from tests.faults.processes import eventually
from tests.observability.test_operating import KEY, SLOW, at_work, in_line, over, saying
from tests.surfaces import order
from tests.surfaces.conftest import serving

pytest.importorskip("opentelemetry.sdk", reason="the extra antiphon[otel] is not installed")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra antiphon[otel] is not installed")

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SENT = {"anthropic-version": "x", "x-api-key": KEY, "traceparent": f"00-{TRACE}-{PARENT}-01"}


class Collector:
    """What a collector got: `raw` bodies, and the spans in them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.raw: list[bytes] = []

    @property
    def resources(self) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        return [group for raw in self.raw for group in ExportTraceServiceRequest.FromString(raw).resource_spans]

    @property
    def spans(self) -> list[Any]:
        return [span for group in self.resources for scope in group.scope_spans for span in scope.spans]

    def requests(self) -> list[Any]:
        """The spans of whole requests."""
        from opentelemetry.proto.trace.v1.trace_pb2 import Span

        return [span for span in self.spans if span.kind == Span.SPAN_KIND_SERVER]

    def stages(self, request: Any) -> list[Any]:
        """The children of a request's span, in the order of time."""
        children = [span for span in self.spans if span.parent_span_id == request.span_id]
        return sorted(children, key=lambda span: (span.start_time_unix_nano, span.end_time_unix_nano))


def told(span: Any) -> dict[str, Any]:
    """The attributes of a span."""
    found: dict[str, Any] = {}
    for each in span.attributes:
        kind = each.value.WhichOneof("value")
        value = getattr(each.value, kind)
        found[each.key] = [one.string_value for one in value.values] if kind == "array_value" else value
    return found


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector on a free port, with the usual variable pointing at it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces":
                mine.raw.append(body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    mine = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", mine.url)
    yield mine
    server.shutdown()
    thread.join()
    server.server_close()


@asynccontextmanager
async def traced(*rules: Rule, slots: int = 1000, **options: Any) -> AsyncIterator[Any]:
    """A server whose traces have been sent when it is left."""
    traces = tracing.begin(os.environ)
    assert traces
    service, engine = await over(*rules, name="m", slots=slots)
    kept: list[str] = []

    def keep(watch: Watch, route: str, *facts: Any) -> str:
        kept.append(route)
        return traces(watch, route, *facts)

    async with serving(service, trace=keep, **options) as server:
        server.kept = kept  # type: ignore[attr-defined]
        yield server, engine
    await asyncio.to_thread(traces.close)


async def test_a_request_is_one_span_with_its_stages(collector: Collector) -> None:
    """The client's trace goes on; the stages follow one another without a gap, the first token within its own; figures
    are those of the reply; no word of the conversation and no key is sent; names are those of the conventions."""
    async with traced(
        Rule(when="whisper", text="a b c d", delay=0.01, first_delay=0.05),
        accounts=Accounts(keys=Keyring((hashed(KEY),))),
    ) as (server, _):
        _, headers, raw = await server.stream(saying(server, "whisper", model="claude-x"), **SENT)
    usage = order.frames(raw)[-2]["usage"]
    (span,) = collector.requests()
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.name == "POST /messages"
    facts = told(span)
    assert facts["antiphon.request_id"] == headers["request-id"]
    assert facts["http.response.status_code"] == 200
    assert (facts["gen_ai.request.model"], facts["gen_ai.response.model"]) == ("claude-x", "m")
    assert facts["gen_ai.request.stream"] is True
    assert facts["gen_ai.response.finish_reasons"] == ["end_turn"]
    assert facts["gen_ai.usage.output_tokens"] == usage["output_tokens"]
    assert facts["gen_ai.usage.cache_read.input_tokens"] == usage["cache_read_input_tokens"]
    whole = usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
    assert facts["gen_ai.usage.input_tokens"] == whole
    stages = collector.stages(span)
    assert [stage.name for stage in stages] == ["decode", "tokenise", "constrain", "queue", "generate", "reply"]
    assert stages[0].start_time_unix_nano == span.start_time_unix_nano
    assert stages[-1].end_time_unix_nano == span.end_time_unix_nano
    for before, after in itertools.pairwise(stages):
        assert before.end_time_unix_nano == after.start_time_unix_nano
    generate = stages[4]
    (first,) = generate.events
    assert first.name == "first token"
    assert generate.start_time_unix_nano + 40_000_000 < first.time_unix_nano < generate.end_time_unix_nano
    sent = b"".join(collector.raw)
    assert b"whisper" not in sent
    assert b"a b" not in sent
    assert KEY.encode() not in sent
    assert {name for name in facts if not name.startswith("antiphon.")} <= _conventions()


def _conventions() -> set[str]:
    """The names of attributes in OpenTelemetry's semantic conventions."""
    import opentelemetry.semconv

    found: set[str] = set()
    for path in Path(opentelemetry.semconv.__path__[0]).rglob("*_attributes.py"):
        found.update(
            word for line in path.read_text().splitlines() if "Final = " in line for word in line.split('"')[1:2]
        )
    return found


async def test_what_went_wrong_is_told(collector: Collector) -> None:
    """A client's mistake is no error of the server; a stream that breaks off and a client that leaves in line are told
    as what they are, with the stages that they came to."""
    broken = Rule(when="break", text="a b", fail_after=1)
    async with traced(broken, SLOW, slots=1) as (server, engine):
        assert (await server.post({"model": "m"}))[0] == 400
        await server.stream(saying(server, "break"))
        busy = asyncio.ensure_future(server.stream(saying(server, "slow")))
        await at_work(engine, 1)
        waiting = asyncio.ensure_future(server.stream(saying(server, "hi")))
        await in_line(server.service, 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        busy.cancel()
        await at_work(engine, 0)
        await eventually(lambda: server.kept.count("/messages") == 4)
    spans = sorted(collector.requests(), key=lambda span: span.start_time_unix_nano)
    mistake, broke, left, queued = spans
    assert "error.type" not in told(mistake)
    assert [stage.name for stage in collector.stages(mistake)] == ["decode"]
    assert told(broke)["error.type"] == "EngineFailed"
    assert broke.status.code == 2
    assert told(broke)["antiphon.problem"].startswith("broke off")
    assert told(left)["antiphon.problem"] == told(queued)["antiphon.problem"] == "the client went away"
    assert "generate" in [stage.name for stage in collector.stages(left)]
    assert [stage.name for stage in collector.stages(queued)][-2:] == ["queue", "reply"]


async def test_a_sampler_may_keep_nothing(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual variables of the sampler hold."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    async with traced() as (server, _):
        assert (await server.post(saying(server, "hi")))[0] == 200
    assert not collector.spans


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
    ],
)
def test_traces_are_sent_when_the_variables_ask_for_them(given: dict[str, str], expected: bool) -> None:
    """By an endpoint or by name; and what switches them off wins."""
    assert tracing.is_enabled(given) is expected


def test_a_protocol_that_is_not_spoken_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Rather than bytes that the collector cannot read."""
    assert tracing.begin({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}) is None
    assert "grpc" in caplog.text


def test_nothing_is_imported_when_traces_are_off() -> None:
    """A worker that sends no traces does not load the library; one that cannot says what to install."""
    program = (
        "import sys\nfrom antiphon.process import app\napp.tracing.begin({})\n"
        "assert 'opentelemetry.sdk' not in sys.modules\n"
        "sys.modules['opentelemetry.sdk'] = None\n"
        "assert app.tracing.begin({'OTEL_TRACES_EXPORTER': 'otlp'}) is None\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "antiphon[otel]" in done.stderr


async def test_a_server_that_ends_sends_what_is_left(collector: Collector, tmp_path: Path) -> None:
    """With nothing but the variable set, `serve` sends its last spans on the way out, under its own name, and the line
    in the log names the trace."""
    import aiohttp

    script = tmp_path / "script.json"
    script.write_text('{"rules": [{"text": "Hello."}]}')
    with end_to_end.serving(tmp_path, f"scripted+{script}", "--log-format", "json") as server:
        body = {"model": "default", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        async with (
            aiohttp.ClientSession() as client,
            client.post(server.url + "/v1/messages", json=body, headers={"anthropic-version": "x"}) as response,
        ):
            assert response.status == 200
    (span,) = collector.requests()
    resource = told(collector.resources[0].resource)
    assert resource["service.name"] == "antiphon"
    lines = server.log.read_text()
    assert f'"trace_id":"{span.trace_id.hex()}"' in lines
    assert '"message":"stopping; running requests have' in lines
