"""The request → a conversation and what is wanted of the reply. No I/O: what had to be fetched comes in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Literal

import msgspec

from antiphon.api.context_management import Edit
from antiphon.api.conversation import (
    Conversation,
    GenerationParams,
    Sampling,
    Text,
    Tool,
    ToolChoice,
    Turn,
)
from antiphon.api.errors import BadRequest
from antiphon.api.seal import Seal
from antiphon.prompt.citations.labelling import Sources
from antiphon.prompt.templates.render import introduced
from antiphon.server_tools import unavailable
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.tool import Declared
from antiphon.serving.service import ModelCard
from antiphon.surfaces.content.remote import Fetched
from antiphon.surfaces.messages import (
    caching,
    checks,
    compaction,
    context_management,
    output_format,
    token_ids,
    tools,
    wire,
)
from antiphon.surfaces.messages.blocks import Reader, sources
from antiphon.surfaces.messages.citations import Citing
from antiphon.surfaces.messages.thinking import thinking_policy

# A line of bookkeeping that a client puts at the head of its prompt: it differs between sessions and would keep
# them from sharing a prefix.
_BILLING = re.compile(r"^x-anthropic-billing-header:[^\n]*(?:\n+|$)", re.MULTILINE)


class DecodedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks for, once read: the nouns, and what only this surface needs to know.

    `ignored` names what was accepted and not acted upon; `members` tells toolset members by the names the model
    knows; `served` are the tools that run here, `deferred` those of all that a result may still bring up,
    `searchable` those that a search is made among; `sources` is what results may be cited among, where they may;
    `server_tool` is the name and type of a server tool that is not set up and that the request leaves no way
    around; `hour` says that the last cache mark is to be kept for an hour; `tokens` is how tokens are told, if they
    are."""

    conversation: Conversation
    generation: GenerationParams
    withheld: bool
    ignored: tuple[str, ...]
    members: Mapping[str, tuple[str, str]]
    served: Mapping[str, Declared]
    deferred: Mapping[str, Tool]
    searchable: Mapping[str, Tool]
    server_tool: tuple[str, str] | None
    sources: Sources | None = None
    hour: bool = False
    tokens: token_ids.TokenStyle | None = None


class Draft(msgspec.Struct, kw_only=True):
    """A request whose blocks have been read from the wire, and whose addresses may still have to be fetched.

    `pointing` is false when nothing points at an address or a file, so that nobody need look, `referring` when no tool
    is referred to anywhere, `marked` when nothing is marked to be cached."""

    request: wire.Request
    unknown: list[str]
    pointing: bool
    referring: bool
    marked: bool
    messages: list[checks.Indexed]
    box: tools.Toolbox


def read(body: bytes, offered: ServerTools) -> Draft:
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
    if messages:
        messages = compaction.resumed(messages)
        checks.check(messages)
    return Draft(
        request=request,
        unknown=unknown,
        pointing=b'"url"' in body or b'"file_id"' in body,
        referring=b'"tool_reference"' in body,
        marked=b'"cache_control"' in body,
        messages=messages,
        box=tools.toolbox(request.tools, offered),
    )


def wanted(draft: Draft, card: ModelCard, kind: Literal["url", "file"]) -> dict[str, str]:
    """The addresses (or the ids of files) that must be fetched first, each with the path of the first block that needs
    it."""
    found: dict[str, str] = {}
    for index, _, blocks in draft.messages if draft.pointing else ():
        placed = ((f"messages.{index}.content.{place}", block) for place, block in enumerate(blocks))
        for where, source in sources(placed, vision=card.vision):
            name = source.url if kind == "url" else source.file_id
            if source.type == kind and name is not None:
                found.setdefault(name, f"{where}.{'url.url' if kind == 'url' else 'file.file_id'}")
    return found


def decode(
    draft: Draft, card: ModelCard, seal: Seal, fetched: Mapping[str, Fetched], uploads: Mapping[str, str] = {}
) -> DecodedRequest:
    """The request in nouns. `uploads` are the names that files have in the container, by id."""
    request, box = draft.request, draft.box
    _apply_changes(draft)
    choice = tools.choice(request.tool_choice, box)
    server_tool = _server_tool(draft, choice.mode, choice.name)
    if server_tool:
        choice = ToolChoice()
    elif choice.mode == "auto" and (name := _asked_for(draft)):
        choice = ToolChoice(mode="tool", name=name, parallel=choice.parallel)
    citing, cites_found = Citing(), output_format.of(request) is None
    reader = Reader(
        citing=citing,
        cites_found=cites_found,
        vision=card.vision,
        seal=seal,
        fetched=fetched,
        uploads=uploads,
        members={there: name for name, there in box.members.items()},
        untold=box.told,
        served={
            (str(each.use.get("name")), str(each.use.get("server_name", ""))): name for name, each in box.served.items()
        },
    )
    messages = _turns(draft.messages, reader)
    turns = (*chain.from_iterable(messages), *_untold(draft, reader))
    ids = tuple(request.input_ids or ())
    citable = citing.sources.all()
    conversation = Conversation(system=_system(request), turns=turns, tools=box.all(), ids=ids, sources=citable)
    style = token_ids.token_style(request, card)
    if style and box.served:
        raise BadRequest("return_token_ids: a reply with tools that run on the server is made of several samples")
    ignored = [*draft.unknown, *box.ignored]
    mark = caching.last_mark(request) if draft.marked else None
    generation = GenerationParams(
        max_tokens=request.max_tokens,
        sampling=Sampling(temperature=request.temperature, top_p=request.top_p, top_k=request.top_k),
        stop_sequences=tuple(filter(None, request.stop_sequences or ())),
        tool_choice=choice,
        thinking=thinking_policy(request, ignored),
        output_schema=output_format.schema(request, citing),
        cached_turns=sum(map(len, messages[: mark.messages])) if mark and not ids else None,
        report=style.report if style else None,
        edits=_edits(request),
    )
    return DecodedRequest(
        conversation=conversation,
        generation=generation,
        withheld=request.thinking is not None and request.thinking.display == "omitted",
        ignored=tuple(dict.fromkeys(ignored)),
        members=box.members,
        served=box.served,
        deferred=box.deferred,
        searchable=box.searchable,
        server_tool=server_tool,
        sources=citing.sources if cites_found else None,
        hour=mark is not None and mark.hour,
        tokens=style,
    )


def _edits(request: wire.Request) -> tuple[Edit, ...] | None:
    if request.compaction is not None:
        return compaction.alone(request)
    return context_management.read(request.context_management) if request.context_management else None


def _indexed(index: int, message: wire.Message) -> checks.Indexed:
    role = wire.ROLES.get(message.role)
    where = f"messages.{index}"
    if role is None:
        raise BadRequest(f"{where}.role: Input should be 'user', 'assistant' or 'system'")
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


def _turns(messages: list[checks.Indexed], reader: Reader) -> list[list[Turn]]:
    """The turns of each message."""
    last = max((at for at, (_, role, _) in enumerate(messages) if role == "assistant"), default=-1)
    turns = []
    for at, (index, role, blocks) in enumerate(messages):
        where = f"messages.{index}.content"
        if role == "system":
            (turn,) = reader.turns(_unbilled(blocks), role, where, asking=at > last)
            turns.append([Turn(role=role, parts=tuple(part for part in turn.parts if isinstance(part, Text)))])
        else:
            turns.append(reader.turns(blocks, role, where, asking=at > last))
    return turns


def _unbilled(blocks: list[wire.AnyBlock]) -> list[wire.AnyBlock]:
    return [wire.Text(_BILLING.sub("", block.text)) if isinstance(block, wire.Text) else block for block in blocks]


def _untold(draft: Draft, reader: Reader) -> Iterator[Turn]:
    """A last turn for a deferred tool that must be called although nothing in the conversation told of it."""
    untold = [introduced(tool) for waiting in reader.untold.values() for tool in waiting]
    if untold and draft.messages and draft.messages[-1][1] != "assistant":
        yield Turn(role="system", parts=(Text("\n".join(untold)),))


def _system(request: wire.Request) -> str:
    if isinstance(request.system, str):
        return _BILLING.sub("", request.system)
    texts = []
    for where, block in wire.listed(request.system, "system"):
        if not isinstance(block, wire.Text):
            raise BadRequest(f"{where}.type: Input should be 'text'")
        texts.append(_BILLING.sub("", block.text))
    return "".join(texts)


def _apply_changes(draft: Draft) -> None:
    """Show and hide tools as the conversation went on to refer to them, add them or take them away."""
    for index, role, blocks in draft.messages:
        for place, block in enumerate(blocks):
            for kind, fields in tools.references(block, nested=draft.referring):
                _change(draft.box, kind, fields, f"messages.{index}.content.{place}", role)


def _change(box: tools.Toolbox, kind: str, fields: dict[str, Any], where: str, role: str) -> None:
    name = tools.named(kind, fields)
    if kind == "tool_reference":
        box.reveal(name)
    elif kind in ("tool_addition", "tool_removal"):
        if role != "system":
            raise BadRequest(f"{where}: `{kind}` blocks can only be in `system` messages")
        if kind == "tool_addition" and (added := tools.brought(fields, where)):
            box.bring(added)
            return
        if tools.refers(fields) and name not in box:
            raise BadRequest(
                f"{where}.{kind}.tool.name: Tool '{name}' not found in provided tools", code="tool_reference_unresolved"
            )
        (box.reveal if kind == "tool_addition" else box.conceal)(name)


def _server_tool(draft: Draft, mode: str, name: str | None) -> tuple[str, str] | None:
    box = draft.box
    if mode == "tool" and name in box.server:
        return name, box.server[name]
    if not box.server or box.callable or box.deferred or mode == "none":
        return None
    first = next(iter(box.server.items()))
    if mode == "any":
        return first
    return first if unavailable.wants_search(first[1], last_text(draft)) else None


def _asked_for(draft: Draft) -> str:
    """The name of the one tool there is, where it runs here and the user asks for nothing but a call of it."""
    box = draft.box
    if len(box.callable) != 1 or box.deferred:
        return ""
    (name,) = box.callable
    words = box.served[name].asked_for if name in box.served else ""
    return name if words and words in last_text(draft) else ""


def last_text(draft: Draft) -> str:
    """The text of the last user message."""
    for _, role, blocks in reversed(draft.messages):
        if role == "user":
            return "".join(block.text for block in blocks if isinstance(block, wire.Text))
    return ""
