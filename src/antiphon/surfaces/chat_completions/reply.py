"""A whole reply → the chat completions API: one completion, and what it has in common with a stream of chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from antiphon.api.events import Finished, StopReason
from antiphon.api.reply import Reply, ServerResultBlock, TextBlock, ThinkingBlock, ToolBlock
from antiphon.surfaces.chat_completions import sent
from antiphon.surfaces.chat_completions.content import Content
from antiphon.surfaces.http.json_text import text_json
from antiphon.surfaces.openai.choices import total
from antiphon.surfaces.openai.free_text import free_text
from antiphon.surfaces.openai.token_logprobs import TokenStyle
from antiphon.surfaces.openai.usage import usage_sent

REASONS: dict[StopReason, sent.Reason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "length",
    # Never here.
    "compaction": "stop",
}


class Form(NamedTuple):
    """How calls of a tool are told that takes free text: their type, and the member that has the text."""

    type: Literal["function", "custom"]
    member: Literal["arguments", "input"]


CUSTOM = Form("custom", "input")
FUNCTION = Form("function", "arguments")
"""For programs that declare custom tools as the Responses API does: they expect a function whose arguments are the
text."""


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """How one reply is to be told: its id, when it was made, the model's name as the client wrote it, whether a stream
    ends with its usage, and whether calls are told in the older form, as functions; the `forms` of calls that give free
    text, by the tool's name; how many `choices` there are, what is told of tokens, and the ids of the prompt."""

    id: str
    created: int
    model: str
    usage: bool = False
    legacy: bool = False
    forms: Mapping[str, Form] = {}
    choices: int = 1
    tokens: TokenStyle = TokenStyle(ids=False, logprobs=False, alternatives=0)
    prompt_ids: Sequence[int] = ()


def finish_reason(style: Style, end: Finished | Reply) -> sent.Reason:
    """Why a reply ended, in this API's words."""
    if end.explanation:
        # A refusal that is told in words has a place of its own, and nothing else shows it.
        return "stop"
    return "function_call" if style.legacy and end.reason == "tool_use" else REASONS[end.reason]


def whole(style: Style, *replies: Reply) -> bytes:
    """The unstreamed reply, a choice for each of these."""
    completion = sent.Completion(
        id=style.id,
        created=style.created,
        model=style.model,
        choices=[_choice(style, index, reply) for index, reply in enumerate(replies)],
        usage=usage_sent(total([reply.usage for reply in replies], len(replies))),
        prompt_token_ids=style.prompt_ids if style.tokens.ids else msgspec.UNSET,
    )
    return msgspec.json.encode(completion)


def _choice(style: Style, index: int, reply: Reply) -> sent.Choice:
    return sent.Choice(
        index=index,
        message=_message(style, reply),
        logprobs=style.tokens.content(reply.tokens, reply.spelled),
        finish_reason=finish_reason(style, reply),
        token_ids=[token.id for token in reply.tokens] if style.tokens.ids else msgspec.UNSET,
    )


def _message(style: Style, reply: Reply) -> sent.Message:
    content, reasoning = Content(), Content()
    texts, thoughts, calls = list[str](), list[str](), list[ToolBlock]()
    for block in reply.blocks:
        match block:
            case TextBlock(text, citations):
                content.cite(citations)
                texts.append(content.add(text))
            case ThinkingBlock(text):
                thoughts.append(reasoning.add(text))
            case ToolBlock():
                calls.append(block)
            case ServerResultBlock():
                content.part()
                reasoning.part()
    shown = texts or not (calls or reply.explanation)
    message = sent.Message(content=msgspec.Raw(text_json("".join(texts))) if shown else None, refusal=reply.explanation)
    if thoughts:
        message.reasoning_content = msgspec.Raw(text_json("".join(thoughts)))
    if annotations := content.annotations():
        message.annotations = annotations
    if calls and style.legacy:
        message.function_call = _function(calls[0])
    elif calls:
        message.tool_calls = [_call(call, style.forms.get(call.name)) for call in calls]
    return message


def _call(call: ToolBlock, form: Form | None) -> sent.ToolCall:
    if form is None:
        return sent.ToolCall(id=call.id, function=_function(call))
    text = msgspec.Raw(text_json(free_text(call.input)))
    if form is CUSTOM:
        return sent.ToolCall(id=call.id, type="custom", custom=sent.Custom(call.name, text))
    return sent.ToolCall(id=call.id, function=sent.Function(call.name, text))


def _function(call: ToolBlock) -> sent.Function:
    return sent.Function(call.name, msgspec.Raw(text_json(call.input)))
