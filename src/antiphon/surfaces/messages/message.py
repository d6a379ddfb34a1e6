"""The message object: how a reply is told, and a whole one by folding its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, assert_never

import msgspec

from antiphon.api.events import Finished, Usage
from antiphon.api.reply import (
    Block,
    CompactionBlock,
    Reply,
    ServerResultBlock,
    ServerToolBlock,
    TextBlock,
    ThinkingBlock,
    ToolBlock,
)
from antiphon.api.seal import Seal
from antiphon.surfaces.http.json_text import text_json
from antiphon.surfaces.messages import sent
from antiphon.surfaces.messages.citations import location
from antiphon.surfaces.messages.context_management import applied
from antiphon.surfaces.messages.token_ids import TokenStyle

_to_json = msgspec.json.Encoder().encode


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """How one reply is told: its id, the client's name for the model, whether thinking is withheld and context
    management was asked for, which tools are a toolset's members (name → member, toolset), the answer to
    `diagnostics`, whether the last cache mark is for an hour, the service tier; how tokens are told, if they are, and
    the prompt's; what a summary tells of the tools."""

    id: str
    model: str
    seal: Seal
    withheld: bool = False
    context_management: bool = False
    members: Mapping[str, tuple[str, str]] = {}
    diagnostics: sent.Diagnostics | None = None
    hour: bool = False
    tier: str = "standard"
    tokens: TokenStyle | None = None
    prompt_ids: Sequence[int] = ()
    tool_changes: Sequence[Mapping[str, Any]] = ()


def usage_sent(style: Style, usage: Usage) -> sent.Usage:
    """The figures as the API reports them."""
    return sent.Usage(
        input_tokens=usage.prompt - usage.cached - usage.created,
        cache_creation_input_tokens=usage.created,
        cache_read_input_tokens=usage.cached,
        cache_creation=_created(style, usage),
        output_tokens=usage.output,
        output_tokens_details=sent.OutputDetails(thinking_tokens=usage.thinking),
        server_tool_use=dict(usage.server_tools) or None,
        service_tier=style.tier,
        iterations=_iterations(style, usage) or msgspec.UNSET,
    )


def _created(style: Style, usage: Usage) -> sent.CacheCreation:
    long, short = (usage.created, 0) if style.hour else (0, usage.created)
    return sent.CacheCreation(ephemeral_5m_input_tokens=short, ephemeral_1h_input_tokens=long)


def _iterations(style: Style, usage: Usage) -> list[sent.Iteration | sent.CompactionIteration]:
    iterations: list[sent.Iteration | sent.CompactionIteration] = [_iteration(style, each) for each in usage.rounds]
    if usage.compaction is None:
        return iterations
    summary = sent.CompactionIteration(**msgspec.structs.asdict(_iteration(style, usage.compaction)))
    return [summary, *(iterations or ([_iteration(style, usage)] if usage.prompt else []))]


def _iteration(style: Style, usage: Usage) -> sent.Iteration:
    return sent.Iteration(
        input_tokens=usage.prompt - usage.cached - usage.created,
        cache_creation_input_tokens=usage.created,
        cache_read_input_tokens=usage.cached,
        cache_creation=_created(style, usage),
        output_tokens=usage.output,
    )


def message_sent(style: Style, content: list[Any], usage: sent.Usage, end: Finished | None = None) -> sent.Message:
    """The message object; as long as it has no `end`, its beginning."""
    return sent.Message(
        id=style.id,
        model=style.model,
        content=content,
        stop_reason=end.reason if end else None,
        stop_sequence=end.stop_sequence if end else None,
        stop_details=details(end) if end else None,
        container=container(end) if end else None,
        diagnostics=style.diagnostics,
        usage=usage,
        prompt_token_ids=style.prompt_ids if style.tokens and style.tokens.ids else msgspec.UNSET,
        context_management=applied(end.edits if end else ()) if style.context_management else msgspec.UNSET,
    )


def details(end: Finished) -> sent.StopDetails | None:
    """What there is to say of a refusal."""
    return sent.StopDetails(explanation=end.explanation) if end.reason == "refusal" else None


def container(end: Finished) -> sent.Container | None:
    """The container that code ran in, if any did."""
    if end.container is None:
        return None
    expires = datetime.fromtimestamp(end.container.expires, UTC)
    return sent.Container(id=end.container.id, expires_at=expires.isoformat(timespec="seconds").replace("+00:00", "Z"))


def tool_sent(style: Style, id: str, name: str, input: msgspec.Raw) -> sent.ToolUse:
    """A call by the name that the client gave the tool."""
    member, toolset = style.members.get(name, (name, ""))
    return sent.ToolUse(id=id, name=member, input=input, toolset_name=toolset or msgspec.UNSET)


def _block_sent(style: Style, block: Block) -> sent.Text | sent.Thinking | sent.ToolUse | Mapping[str, Any]:
    match block:
        case TextBlock(text, citations):
            # No `citations` where there are none: some clients take the key only with a list.
            return sent.Text(msgspec.Raw(text_json(text)), list(map(location, citations)) or msgspec.UNSET)
        case ThinkingBlock(text):
            signature = style.seal.sign(text, withheld=style.withheld)
            shown = b'""' if style.withheld else text_json(text)
            return sent.Thinking(msgspec.Raw(shown), signature)
        case ToolBlock():
            return tool_sent(style, block.id, block.name, msgspec.Raw(block.input.encode("utf-8", "replace")))
        case ServerToolBlock(fields, input):
            return {**fields, "input": msgspec.Raw(input.encode("utf-8", "replace"))}
        case CompactionBlock(summary):
            return compaction_sent(style, summary, summary)
        case ServerResultBlock(fields):
            return fields
        case _:
            assert_never(block)


def compaction_sent(style: Style, content: str | None, summary: str | None) -> dict[str, Any]:
    """The block, with the summary or, as it begins in a stream, without; all else is there from the beginning."""
    block = {"type": "compaction", "content": content, "encrypted_content": None}
    if summary is None:
        return {**block, "signature": None}
    return {**block, "signature": style.seal.sign(summary, withheld=False), "tool_changes": style.tool_changes}


def whole(style: Style, reply: Reply) -> bytes:
    """The unstreamed reply."""
    content = [_block_sent(style, block) for block in reply.blocks]
    end = Finished(reply.reason, reply.usage, reply.stop_sequence, reply.explanation, reply.container, reply.edits)
    return whole_of(style, content, end, style.tokens.members(reply.tokens) if style.tokens else {})


def whole_of(style: Style, content: list[Any], end: Finished, more: Mapping[str, Any] = {}) -> bytes:
    """A message of the given content, with `more` members."""
    message = message_sent(style, content, usage_sent(style, end.usage), end)
    return _to_json(msgspec.structs.replace(message, **more))
