"""A reference server of the Messages API, made of the standard library: what the checks are checked with.

Everything passes on it. `serving` takes a `Fault`, which changes what goes in or out in one way."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from antiphon_check.server import ERROR_TYPES

from .model import content_of, events_of, prompt_of
from .rules import WINDOW, Refused, examine, refuse

KEY = "reference-key"
MODELS = ("default", "other")


@dataclass
class Request:
    """What came in. `body` is None where it was no JSON."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    raw: bytes
    body: Any


@dataclass
class Answer:
    """What goes out: `value` as JSON, or `text` as it is, or `events` as a stream."""

    status: int = 200
    value: Any = None
    text: str | None = None
    events: list[tuple[str, Any]] | None = None
    headers: dict[str, str] = field(default_factory=dict)


Change = Callable[[Request, Answer, "State"], None]


@dataclass(frozen=True)
class Fault:
    """A way to be wrong. `before` changes the request, or answers it by raising Refused; `after` changes the answer.
    `found_by` are the checks that must find it."""

    name: str
    found_by: frozenset[str]
    before: Change | None = None
    after: Change | None = None


@dataclass
class State:
    """What the server remembers."""

    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    prompts: list[list[str]] = field(default_factory=list)
    batches: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    at_work: int = 0


def answer(request: Request, state: State) -> Answer:
    """What the reference says to a request. Raises Refused."""
    keys = (request.headers.get("x-api-key"), request.headers.get("authorization", "").removeprefix("Bearer "))
    refuse(KEY not in keys, "invalid x-api-key", 401)
    parts = request.path.strip("/").split("/")
    refuse(request.method == "POST" and request.body is None and parts != ["v1", "files"], "the body is no JSON")
    match request.method, *parts:
        case "POST", "v1", "messages":
            return _message(request.body, state)
        case "POST", "v1", "messages", "count_tokens":
            return _count(request.body, state)
        case "GET", "v1", "models":
            return _models(request.query)
        case "GET", "v1", "models", name:
            refuse(name not in MODELS, f"model: {name}", 404)
            return Answer(value=_model(name))
        case method, "v1", "messages", "batches", *rest:
            return _batches(method, rest, request.body, state)
        case method, "v1", "files", *rest:
            return _files(method, rest, request.raw, state)
    raise Refused(404, "no such route")


def _message(body: Any, state: State) -> Answer:
    examine(body, set(MODELS))
    edited, edits = _edited(body)
    message = reply(edited, state)
    if edits is not None:
        message["context_management"] = {"applied_edits": edits}
    return Answer(events=events_of(message)) if body.get("stream") else Answer(value=message)


def reply(body: dict[str, Any], state: State) -> dict[str, Any]:
    """The message that answers a request."""
    prompt = _with_files(body, state)
    refuse(len(prompt) > WINDOW, f"prompt is too long: {len(prompt)} tokens > {WINDOW} maximum")
    content, reason, met = content_of(body, state.ids)
    cached = max((_shared(prompt, each) for each in state.prompts), default=0)
    state.prompts.append(prompt)
    usage = {
        "input_tokens": len(prompt) - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": max(1, min(body["max_tokens"], 20)),
    }
    return {
        "id": f"msg_{next(state.ids)}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": reason,
        "stop_sequence": met,
        "usage": usage,
    }


def _with_files(body: dict[str, Any], state: State) -> list[str]:
    prompt = prompt_of(body)
    return [word for each in prompt for word in (state.texts[each].split() if each in state.texts else [each])]


def _shared(one: list[str], other: list[str]) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one[:-1], other, strict=False)))


def _edited(body: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]] | None]:
    if "context_management" not in body:
        return body, None
    keep = body["context_management"]["edits"][0]["keep"]["value"]
    turns = json.loads(json.dumps(body["messages"]))
    results = [
        block
        for turn in turns
        if isinstance(turn["content"], list)
        for block in turn["content"]
        if block.get("type") == "tool_result"
    ]
    before = len(prompt_of(body))
    for block in results[:-keep]:
        block["content"] = "[cleared]"
    edited = {**body, "messages": turns}
    cleared = before - len(prompt_of(edited))
    kind = "clear_tool_uses_20250919"
    return edited, [{"type": kind, "cleared_tool_uses": len(results) - keep, "cleared_input_tokens": cleared}]


def _count(body: Any, state: State) -> Answer:
    examine(body, set(MODELS), counting=True)
    edited, edits = _edited(body)
    value: dict[str, Any] = {"input_tokens": len(_with_files(edited, state))}
    if edits is not None:
        value["context_management"] = {"original_input_tokens": len(prompt_of(body))}
    return Answer(value=value)


def _model(name: str) -> dict[str, Any]:
    limits = {"max_input_tokens": WINDOW, "max_tokens": WINDOW}
    return {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z", **limits}


def _models(query: str) -> Answer:
    asked = dict(re.findall(r"(\w+)=([^&]*)", query))
    names = list(MODELS)
    if "after_id" in asked:
        names = names[names.index(asked["after_id"]) + 1 :]
    return Answer(value=_page([_model(name) for name in names], int(asked.get("limit", 20))))


def _page(entries: list[dict[str, Any]], limit: int = 20) -> dict[str, Any]:
    shown = entries[:limit]
    ends = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    return {"data": shown, "has_more": len(entries) > limit, "first_id": ends[0], "last_id": ends[1]}


def _batches(method: str, rest: list[str], body: Any, state: State) -> Answer:
    if method == "POST":
        ids = [each["custom_id"] for each in body["requests"]]
        refuse(len(set(ids)) != len(ids), "requests: custom_id must be unique")
        id = f"msgbatch_{next(state.ids)}"
        state.batches[id] = [
            {"custom_id": each["custom_id"], "result": {"type": "succeeded", "message": reply(each["params"], state)}}
            for each in body["requests"]
        ]
        return Answer(value=_batch(id, state))
    if not rest:
        return Answer(value=_page([_batch(id, state) for id in reversed(state.batches)]))
    refuse(rest[0] not in state.batches, f"no batch {rest[0]}", 404)
    if rest[1:] == ["results"]:
        return Answer(text="".join(json.dumps(each) + "\n" for each in state.batches[rest[0]]))
    return Answer(value=_batch(rest[0], state))


def _batch(id: str, state: State) -> dict[str, Any]:
    counts = {"processing": 0, "succeeded": len(state.batches[id]), "errored": 0, "canceled": 0, "expired": 0}
    times = {"created_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-02T00:00:00Z"}
    return {"id": id, "type": "message_batch", "processing_status": "ended", "request_counts": counts, **times}


def _files(method: str, rest: list[str], raw: bytes, state: State) -> Answer:
    if method == "POST":
        id = f"file_{next(state.ids)}"
        text = raw.decode().split("\r\n\r\n", 1)[1].rsplit("\r\n--", 2)[0]
        state.texts[id] = text
        about = {"filename": "notes.txt", "mime_type": "text/plain", "size_bytes": len(text)}
        state.files[id] = {"id": id, "type": "file", "created_at": "2026-01-01T00:00:00Z", **about}
        return Answer(value=state.files[id])
    if not rest:
        return Answer(value=_page(list(reversed(state.files.values()))))
    refuse(rest[0] not in state.files, f"no file {rest[0]}", 404)
    if method == "DELETE":
        del state.files[rest[0]]
        return Answer(value={"id": rest[0], "type": "file_deleted"})
    return Answer(value=state.files[rest[0]])


def refusal(status: int, message: str) -> Answer:
    """An error in its envelope."""
    return Answer(status, {"type": "error", "error": {"type": ERROR_TYPES[status], "message": message}})


@contextlib.contextmanager
def serving(fault: Fault | None = None) -> Iterator[str]:
    """The reference server on a free port of loopback, with a fault or without: its address."""
    state = State()

    def responded(request: Request) -> Answer:
        state.at_work += 1
        try:
            if fault and fault.before:
                fault.before(request, Answer(), state)
            given = answer(request, state)
        except Refused as reason:
            given = refusal(reason.status, str(reason))
        finally:
            state.at_work -= 1
        given.headers |= {"request-id": f"req_{next(state.ids)}"}
        if fault and fault.after:
            fault.after(request, given, state)
        return given

    with listening(handler(responded)) as url:
        yield url


class _Server(ThreadingHTTPServer):
    # Connections that are made at once. Of more than it may hold in line, the kernel resets some.
    request_queue_size = 128


@contextlib.contextmanager
def listening(kind: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server of this handler, on a free port of loopback: its address."""
    server = _Server(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def handler(respond: Callable[[Request], Answer]) -> type[BaseHTTPRequestHandler]:
    """The handler of a server that answers with what `respond` gives."""

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True

        def __getattr__(self, name: str) -> Any:
            # `do_GET` and its like.
            return self._serve if name.startswith("do_") else super().__getattribute__(name)

        def _serve(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            try:
                body = json.loads(raw) if raw else None
            except ValueError:
                body = None
            path, _, query = self.path.partition("?")
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._send(respond(Request(self.command, path, query, headers, raw, body)))

        def _send(self, given: Answer) -> None:
            text, kind = _written(given)
            self.send_response(given.status)
            for name, value in {"content-type": kind, **given.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(text.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler


def _written(given: Answer) -> tuple[str, str]:
    if given.events is not None:
        frames = (f"event: {name}\ndata: {json.dumps(value)}\n\n" for name, value in given.events)
        return "".join(frames), "text/event-stream; charset=utf-8"
    if given.text is not None:
        return given.text, "application/x-jsonl"
    return json.dumps(given.value), "application/json"
