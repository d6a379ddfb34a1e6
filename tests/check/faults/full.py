"""Faults in the rest of the API."""

from __future__ import annotations

from typing import Any

from ..reference import Answer, Request, State, refusal
from .changes import (
    Events,
    Message,
    accepting,
    blocks,
    fault,
    has,
    in_blocks,
    in_each,
    in_events,
    in_messages,
    on,
    refusing,
    saying,
    without,
)

_THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
_SEARCH = {"type": "tool_use", "id": "toolu_9", "name": "web_search", "input": {"query": "x"}}


def _format(request: Request) -> Any:
    return request.body.get("output_config")


def _unsigned(events: Events) -> Events:
    return [each for each in events if each[1].get("delta", {}).get("type") != "signature_delta"]


def _streamed_prose(request: Request, given: Answer, state: State) -> None:
    if isinstance(request.body, dict) and _format(request):
        for name, value in given.events or []:
            if name == "message_delta":
                value["delta"]["stop_reason"] = "max_tokens"
            elif value.get("delta", {}).get("type") == "text_delta":
                value["delta"]["text"] = "prose"


def _dropped_documents(request: Request, given: Answer, state: State) -> None:
    for block in blocks(request):
        if block.get("type") == "document":
            block.pop("source", None)
            block.pop("citations", None)


def _of_blocks(request: Request) -> bool:
    sources = (block.get("source") for block in blocks(request))
    return any(isinstance(source, dict) and source.get("type") == "content" for source in sources)


def _crashing_pictures(request: Request, given: Answer, state: State) -> None:
    if isinstance(request.body, dict) and has("image")(request) and given.status == 200:
        broken = refusal(500, "picture")
        given.status, given.value = broken.status, broken.value


def _wrong_place(block: Message) -> None:
    for citation in block.get("citations", ()):
        citation["start_char_index"] = 0


def _repeated(message: Message) -> None:
    message["content"] = [{"type": "text", "text": "Here is a list of ten lighthouses: one, two"}]


def _silent_cache(message: Message) -> None:
    _cold_cache(message)
    without("cache_creation_input_tokens", "cache_read_input_tokens")(message["usage"])


def _cold_cache(message: Message) -> None:
    used = message["usage"]
    used["input_tokens"] += used["cache_read_input_tokens"]
    used["cache_read_input_tokens"] = 0


def _double_cache(message: Message) -> None:
    message["usage"]["input_tokens"] += message["usage"]["cache_read_input_tokens"]


def _lost_result(request: Request, given: Answer, state: State) -> None:
    if given.text is not None:
        given.text = given.text.splitlines()[0] + "\n"


def _lasting_files(request: Request, given: Answer, state: State) -> None:
    if request.method == "GET" and request.path.startswith("/v1/files/file_") and given.status == 404:
        given.status, given.value = 200, {"id": request.path.rpartition("/")[2], "type": "file"}


def _unread_files(request: Request, given: Answer, state: State) -> None:
    state.texts.clear()


def _all_pages_alike(request: Request, given: Answer, state: State) -> None:
    if request.path == "/v1/models" and "limit" in request.query:
        given.value["data"] *= 2


def _counted_as_before(request: Request, given: Answer, state: State) -> None:
    if request.path.endswith("count_tokens") and "context_management" in (given.value or ()):
        given.value["input_tokens"] = given.value["context_management"]["original_input_tokens"]


def _oldest_first(page: Message) -> None:
    if "data" in page:
        page["data"] = page["data"][::-1]


def _no_limits(page: Message) -> None:
    for model in page.get("data", ()):
        model.pop("max_tokens", None)


def _searches(request: Request) -> bool:
    return any(tool.get("name") == "web_search" for tool in request.body.get("tools") or ())


THINKING = (
    fault(
        "thinking refused in streams",
        "full.thinking_stream",
        before=refusing(lambda request: request.body.get("stream") and request.body.get("thinking")),
    ),
    fault("no signatures", "full.thinking", after=in_blocks("thinking", without("signature"))),
    fault("no signatures in streams", "full.thinking_stream", after=in_events(_unsigned)),
    fault("thinking refused when it comes back", "full.thinking_back", before=refusing(has("thinking"))),
    fault(
        "thinks when told not to",
        "full.thinking_off",
        after=in_messages(
            lambda message: message["content"].insert(0, _THOUGHT),
            lambda request: (request.body.get("thinking") or {}).get("type") == "disabled",
        ),
    ),
    fault("budgets not looked at", "full.thinking_refused", after=accepting("budget_tokens: too large")),
)
OUTPUTS = (
    fault(
        "prose for JSON",
        "full.structured",
        after=in_messages(saying(content=[{"type": "text", "text": "My day was good."}]), _format),
    ),
    fault("prose for JSON in streams, cut", "full.structured_stream", after=_streamed_prose),
    fault("any schema is fine", "full.structured_refused", after=accepting("output_config.format")),
)
DOCUMENTS = (
    fault(
        "documents dropped",
        "full.citations_mixed",
        "full.document_text",
        "full.file_document",
        before=_dropped_documents,
    ),
    fault("documents of blocks refused", "full.document_content", before=refusing(_of_blocks)),
    fault("search results refused", "full.search_result", before=refusing(has("search_result"))),
    fault("pictures are a 500", "full.image", after=_crashing_pictures),
    fault("any picture is fine", "full.image_broken", after=accepting("not a picture")),
    fault("cites the wrong place", "full.citations", after=in_blocks("text", _wrong_place)),
    fault("cites some", "full.citations_mixed", after=accepting("citations: must be enabled")),
    fault(
        "repeats what was begun",
        "full.prefill",
        after=in_messages(_repeated, lambda request: request.body["messages"][-1]["role"] == "assistant"),
    ),
)
KEPT = (
    fault("no figures of the cache", "full.cache_fields", after=in_messages(_silent_cache)),
    fault("nothing is cached", "full.cache_read", after=in_messages(_cold_cache)),
    fault(
        "what is cached counts twice",
        "basic.content_forms",
        "basic.stream_usage",
        "basic.unicode",
        "full.cache_read",
        "full.cache_sum",
        after=in_messages(_double_cache, lambda request: "tools" not in request.body and not blocks(request)),
    ),
    fault(
        "batches without counts",
        "full.batch_fields",
        after=on("/v1/messages/batches", without("request_counts"), "POST"),
    ),
    fault("results lost", "full.batch_results", after=_lost_result),
    fault("the oldest batch first", "full.batch_list", after=on("/v1/messages/batches", _oldest_first)),
    fault("one id twice in a batch", "full.batch_refused", after=accepting("custom_id must be unique")),
    fault("files without a size", "full.file_fields", after=on("/v1/files", saying(size_bytes=0), "POST")),
    fault("files never go", "full.file_life", after=_lasting_files),
    fault("files not read", "full.file_document", before=_unread_files),
)
OTHERS = (
    fault(
        "no stop sequence",
        "full.null_fields",
        after=in_messages(without("stop_sequence"), lambda request: "stop_sequences" not in request.body),
    ),
    fault(
        "no stop reason in message_start",
        "full.null_fields",
        after=in_each("message_start", lambda value: value["message"].pop("stop_reason")),
    ),
    fault("models without limits", "full.model_limits", after=on("/v1/models", _no_limits)),
    fault("pages of any size", "full.models_pages", after=_all_pages_alike),
    fault("counts what was cleared", "full.count_edited", after=_counted_as_before),
    fault(
        "searches left to the client",
        "full.server_tools",
        after=in_messages(saying(content=[_SEARCH], stop_reason="tool_use"), _searches),
    ),
)
FAULTS = (*THINKING, *OUTPUTS, *DOCUMENTS, *KEPT, *OTHERS)
