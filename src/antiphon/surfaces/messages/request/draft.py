"""A request, read as far as it can be by itself: what it points at may still have to be fetched. No I/O."""

from __future__ import annotations

from typing import Literal

import msgspec

from antiphon.api.errors import BadRequest
from antiphon.server_tools.registry import ServerTools
from antiphon.serving.service import ModelCard
from antiphon.surfaces.messages import compaction
from antiphon.surfaces.messages.request import checks, tools, wire
from antiphon.surfaces.messages.request.blocks import sources
from antiphon.surfaces.messages.request.thinking import Effort, effort_in_force


class Draft(msgspec.Struct, kw_only=True):
    """A request whose blocks have been read from the wire, and whose addresses may still have to be fetched.

    `effort` is that of the reply. `pointing` is false when nothing points at an address or a file, so that nobody need
    look, `referring` when no tool is referred to anywhere, `marked` when nothing is marked to be cached. `offered` are
    the server tools that are set up."""

    request: wire.Request
    unknown: list[str]
    effort: Effort | None
    pointing: bool
    referring: bool
    marked: bool
    messages: list[checks.Indexed]
    box: tools.Toolbox
    offered: ServerTools


def read_draft(body: bytes, offered: ServerTools) -> Draft:
    """Read a body as far as it can be read by itself, and check what can be checked. `offered` are the server tools
    that are set up."""
    request, unknown = wire.read(body)
    if not isinstance(request.thread, msgspec.UnsetType) and bytes(request.thread) != b"null":
        # With this very code the SDKs send the whole history instead; ignoring it would lose the conversation.
        raise BadRequest(
            "thread: this server keeps no threads; send the whole conversation",
            code="thread_unsupported_request",
            details={"unsupported": ["thread"]},
        )
    if not request.messages and request.input_ids is None:
        raise BadRequest("messages: at least one message is required")
    if request.messages and request.input_ids is not None:
        raise BadRequest("input_ids: the prompt is either messages or input_ids, not both")
    messages = [_indexed(index, message) for index, message in enumerate(request.messages)]
    effort = effort_in_force(request, messages)
    if messages:
        messages = compaction.resumed(_shown(request, messages))
        checks.check(messages)
    return Draft(
        request=request,
        unknown=unknown,
        effort=effort,
        pointing=b'"url"' in body or b'"file_id"' in body,
        referring=b'"tool_reference"' in body,
        marked=b'"cache_control"' in body,
        messages=messages,
        box=tools.toolbox(request.tools, offered),
        offered=offered,
    )


def addresses(draft: Draft, card: ModelCard, kind: Literal["url", "file"]) -> dict[str, str]:
    """The addresses (or the ids of files) that must be fetched first, each with the path of the first block that needs
    it."""
    paths: dict[str, str] = {}
    for index, _, blocks in draft.messages if draft.pointing else ():
        placed = ((f"messages.{index}.content.{place}", block) for place, block in enumerate(blocks))
        for where, source in sources(placed, vision=card.vision):
            name = source.url if kind == "url" else source.file_id
            if source.type == kind and name is not None:
                paths.setdefault(name, f"{where}.{'url.url' if kind == 'url' else 'file.file_id'}")
    return paths


def last_text(draft: Draft) -> str:
    """The text of the last user message."""
    for _, role, blocks in reversed(draft.messages):
        if role == "user":
            return "".join(block.text for block in blocks if isinstance(block, wire.Text))
    return ""


def _shown(request: wire.Request, messages: list[checks.Indexed]) -> list[checks.Indexed]:
    """The messages without the text of system messages whose user turn is over. Changes of tools stay in force."""
    last = max((index for index, role, _ in messages if role == "user"), default=-1)
    over = {index for index, message in enumerate(request.messages[:last]) if message.clear_at == "next_user_message"}
    return [
        (index, role, [block for block in blocks if not (index in over and isinstance(block, wire.Text))])
        for index, role, blocks in messages
    ]


def _indexed(index: int, message: wire.Message) -> checks.Indexed:
    role = wire.ROLES.get(message.role)
    where = f"messages.{index}"
    if role is None:
        raise BadRequest(f"{where}.role: Input should be 'user', 'assistant' or 'system'")
    if message.clear_at is not None and role != "system":
        raise BadRequest(f"{where}.clear_at: only `system` messages can have it")
    if isinstance(message.content, msgspec.UnsetType):
        if role != "system" or message.output_config is msgspec.UNSET:
            raise BadRequest(f"{where}.content: Field required")
        return index, role, []
    if isinstance(message.content, str):
        blocks: list[wire.AnyBlock] = [wire.Text(message.content)] if message.content else []
    else:
        blocks = [block for _, block in wire.listed(message.content, f"{where}.content")]
    if role == "user" and not any(not isinstance(block, wire.Text) or block.text for block in blocks):
        raise BadRequest(
            f"{where}: all messages must have non-empty content except for the optional final assistant message"
        )
    return index, role, blocks
