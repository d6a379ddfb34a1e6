"""Whether a reply keeps what the request demanded, for when no grammar could hold the model to it."""

from __future__ import annotations

from collections.abc import Iterable

import jsonschema_rs
import msgspec

from antiphon.api.conversation import Generation, Tool
from antiphon.api.events import Reply, TextBlock, ToolBlock


def demands(wanted: Generation) -> bool:
    """Whether a request demands something of its reply that can be broken."""
    return wanted.tool_choice.mode in ("any", "tool") or wanted.output_schema is not None


def complaint(reply: Reply, tools: tuple[Tool, ...], wanted: Generation) -> str:
    """What the reply breaks of the demand; empty when nothing. A reply that was cut or refused is not blamed for it."""
    if reply.reason in ("max_tokens", "model_context_window_exceeded", "stop_sequence", "refusal"):
        return ""
    calls = [block for block in reply.blocks if isinstance(block, ToolBlock)]
    choice = wanted.tool_choice
    if choice.mode in ("any", "tool"):
        allowed = {tool.name: tool for tool in tools if choice.mode == "any" or tool.name == choice.name}
        if not calls:
            return "no tool was called"
        if not choice.parallel and len(calls) > 1:
            return "more than one tool was called"
        for call in calls:
            if call.name not in allowed:
                return f"the tool {call.name!r} was called, which is not allowed here"
            if problem := violation(allowed[call.name].schema, call.input):
                return f"the input of {call.name!r} does not match its schema: {problem}"
        return ""
    if wanted.output_schema is not None and not calls:
        text = "".join(block.text for block in reply.blocks if isinstance(block, TextBlock))
        if problem := violation(wanted.output_schema, text):
            return f"the output does not match its schema: {problem}"
    return ""


def violation(schema: dict[str, object], text: str) -> str:
    """Where and why the JSON text does not match the schema, as `at $.path: what`; empty when it does."""
    try:
        jsonschema_rs.validate(schema, msgspec.json.decode(text))
    except msgspec.DecodeError as error:
        return f"it is no JSON: {error}"
    except jsonschema_rs.ValidationError as error:
        return f"at {_written(error.instance_path)}: {error.message}"
    except ValueError:
        # The schema itself is broken: nothing can be said against the reply.
        return ""
    return ""


def _written(path: Iterable[str | int]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
