"""Whether a reply keeps what the request demanded, for when no grammar could hold the model to it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from functools import lru_cache

import jsonschema_rs
import msgspec

from antiphon.api.conversation import GenerationParams, Tool
from antiphon.api.errors import BadRequest, Internal
from antiphon.api.reply import Reply, TextBlock, ToolBlock
from antiphon.constraint.schema.modern import modern
from antiphon.parsing.json import lenient

log = logging.getLogger("antiphon")

MOST_ATTEMPTS = 5
"""How often the model is asked for a reply, or a call, that must be checked."""


def demands(params: GenerationParams) -> bool:
    """Whether a request demands something of its reply that can be broken."""
    return params.tool_choice.mode in ("any", "tool") or params.output_schema is not None


def complaint(reply: Reply, tools: tuple[Tool, ...], params: GenerationParams) -> str:
    """What the reply breaks of the demand; empty when nothing. One that was cut need only be the beginning of one that
    keeps it; one that was refused, or ended by a stop sequence of the client's, is not blamed."""
    if reply.reason in ("stop_sequence", "refusal"):
        return ""
    cut = reply.reason in ("max_tokens", "model_context_window_exceeded")
    calls = [block for block in reply.blocks if isinstance(block, ToolBlock)]
    choice = params.tool_choice
    allowed = {tool.name: tool for tool in tools if choice.mode != "tool" or tool.name == choice.name}
    if choice.mode in ("any", "tool"):
        if not calls:
            return "" if cut else "no tool was called"
        if not choice.parallel and len(calls) > 1:
            return "more than one tool was called"
    for call in calls:
        if call.name not in allowed:
            return f"the tool {call.name!r} was called, which is not allowed here"
        if choice.mode == "auto" and allowed[call.name].strict is False:
            continue
        if problem := violation(allowed[call.name].schema, call.input, cut=cut and not call.complete):
            return f"the input of {call.name!r} does not match its schema: {problem}"
    if params.output_schema is not None and not calls:
        text = "".join(block.text for block in reply.blocks if isinstance(block, TextBlock))
        if problem := violation(params.output_schema, _closed(text) if cut else text, cut=cut):
            return f"the output does not match its schema: {problem}"
    return ""


def confirm(reply: Reply, tools: tuple[Tool, ...], params: GenerationParams) -> None:
    """Raises Internal where a reply breaks the demand although a grammar held it. llama.cpp lets go of one that costs
    more at a token than it grants, and goes on without it."""
    if demands(params) and (problem := complaint(reply, tools, params)):
        log.error("the engine stopped enforcing the grammar of a reply: %s", problem)
        raise Internal(f"the engine did not enforce the constraints of the request: {problem}")


def violation(schema: dict[str, object], text: str, *, cut: bool = False) -> str:
    """Where and why the JSON text does not match the schema, as `at $.path: what`; empty when it does. Where the text
    was `cut` and closed, only what had been said to its end counts. The schema is read as the grammar's is: by its own
    draft, and without keywords that say nothing."""
    try:
        value = msgspec.json.decode(text)
        open_path = _last(value) if cut else None
        for error in _validator(json.dumps(schema)).iter_errors(value):
            path = list(error.instance_path)
            if open_path is None or path != open_path[: len(path)]:
                return f"at {_written(path)}: {error.message}"
    except msgspec.DecodeError as error:
        return f"it is not JSON: {error}"
    except (ValueError, BadRequest, RecursionError):
        # Nothing can be said against the reply by a schema that leads nowhere, or of a value nested without bounds.
        return ""
    return ""


def _closed(text: str) -> str:
    """The beginning of a JSON text as a whole one."""
    try:
        return lenient.whole(text)[0] if text.strip() else "null"
    except lenient.Broken:
        return text


def _last(value: object) -> list[str | int]:
    """The path to what was written last in a value."""
    path: list[str | int] = []
    while isinstance(value, dict | list) and value:
        step = next(reversed(value)) if isinstance(value, dict) else len(value) - 1
        value = value[step]
        path.append(step)
    return path


@lru_cache(maxsize=256)
def _validator(schema: str) -> jsonschema_rs.Validator:
    read = modern(json.loads(schema)).schema
    return jsonschema_rs.Draft202012Validator(read, validate_formats=True, ignore_unknown_formats=True, offline=True)


def _written(path: Iterable[str | int]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
