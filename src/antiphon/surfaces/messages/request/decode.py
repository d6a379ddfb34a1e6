"""The request → a conversation and what is wanted of the reply. No I/O: what had to be fetched comes in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from antiphon.api.context_management import Compact, Edit
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
from antiphon.server_tools.tool import Declared
from antiphon.serving.service import ModelCard
from antiphon.surfaces.content.remote import Fetched
from antiphon.surfaces.messages import caching, compaction, context_management, token_ids
from antiphon.surfaces.messages.citations import Citing
from antiphon.surfaces.messages.request import checks, output_format, tools, wire
from antiphon.surfaces.messages.request.blocks import Reader
from antiphon.surfaces.messages.request.draft import Draft, last_text
from antiphon.surfaces.messages.request.thinking import thinking_policy

Edits = tuple[Edit, ...] | None
"""The edits of the context that a request asks for; None where it says nothing of that."""

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
    are; `tool_changes` is what a summary tells of the tools, if one may be written."""

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
    tool_changes: Sequence[Mapping[str, Any]] = ()


def decode(
    draft: Draft, card: ModelCard, seal: Seal, fetched: Mapping[str, Fetched], uploads: Mapping[str, str] = {}
) -> DecodedRequest:
    """The request in nouns. `uploads` are the names that files have in the container, by id."""
    request, box = draft.request, draft.box
    _apply_changes(draft)
    choice, server_tool = _choice(draft)
    citing, cites_found = Citing(), output_format.of(request) is None
    reader = Reader(
        citing=citing,
        cites_found=cites_found,
        vision=card.vision,
        seal=seal,
        fetched=fetched,
        uploads=uploads,
        members={there: name for name, there in box.members.items()},
        introductions=box.introductions,
        served=_names_of_served(box),
    )
    messages = _turns(draft.messages, reader)
    turns = (*chain.from_iterable(messages), *_introductions(draft, reader))
    ids = tuple(request.input_ids or ())
    citable = citing.sources.all()
    conversation = Conversation(system=_system(request), turns=turns, tools=box.all(), ids=ids, sources=citable)
    edits = _edits(request)
    style = _token_style(draft, card, edits)
    mark = caching.last_mark(request) if draft.marked else None
    cached_turns = _turns_before(mark, draft, messages) if mark and not ids else None
    ignored = [*draft.unknown, *box.ignored]
    generation = _generation(draft, choice, citing, style, cached_turns, edits, ignored)
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
        tool_changes=compaction.tool_changes(draft.messages) if _summarises(edits) else (),
    )


def _generation(
    draft: Draft,
    choice: ToolChoice,
    citing: Citing,
    style: token_ids.TokenStyle | None,
    cached_turns: int | None,
    edits: Edits,
    ignored: list[str],
) -> GenerationParams:
    """How the reply is generated. What of the thinking is accepted and not acted upon is added to `ignored`."""
    request = draft.request
    return GenerationParams(
        max_tokens=request.max_tokens,
        sampling=Sampling(temperature=request.temperature, top_p=request.top_p, top_k=request.top_k),
        stop_sequences=tuple(filter(None, request.stop_sequences or ())),
        tool_choice=choice,
        thinking=thinking_policy(request, draft.effort, ignored),
        output_schema=output_format.schema(draft, citing),
        cached_turns=cached_turns,
        report=style.report if style else None,
        edits=edits,
    )


def _token_style(draft: Draft, card: ModelCard, edits: Edits) -> token_ids.TokenStyle | None:
    style = token_ids.token_style(draft.request, card)
    summarises = _summarises(edits)
    if style and (draft.box.served or summarises):
        field = "return_token_ids" if style.ids else "return_logprob"
        raise BadRequest(
            f"{field}: a reply with {'a summary' if summarises else 'tools that run on the server'} is sampled in "
            "several parts; leave it out"
        )
    return style


def _choice(draft: Draft) -> tuple[ToolChoice, tuple[str, str] | None]:
    """Which tools may be called, and the server tool that is not set up and that leaves no way around it."""
    choice = tools.choice(draft.request.tool_choice, draft.box)
    if server_tool := _server_tool(draft, choice.mode, choice.name):
        return ToolChoice(), server_tool
    if choice.mode == "auto" and (name := _asked_for(draft)):
        return ToolChoice(mode="tool", name=name, parallel=choice.parallel), None
    return choice, None


def _names_of_served(box: tools.Toolbox) -> dict[tuple[str, str], str]:
    """The names that the model knows tools that run here by, for each tool's own name and its server's."""
    return {
        (str(declared.use.get("name")), str(declared.use.get("server_name", ""))): name
        for name, declared in box.served.items()
    }


def _edits(request: wire.Request) -> Edits:
    if request.compaction is not None:
        return compaction.alone(request)
    return context_management.read(request.context_management) if request.context_management else None


def _summarises(edits: Edits) -> bool:
    return any(isinstance(edit, Compact) for edit in edits or ())


def _turns(messages: list[checks.Indexed], reader: Reader) -> list[list[Turn]]:
    """The turns of each message."""
    last = max((position for position, (_, role, _) in enumerate(messages) if role == "assistant"), default=-1)
    turns = []
    for position, (index, role, blocks) in enumerate(messages):
        where = f"messages.{index}.content"
        if role == "system":
            (turn,) = reader.turns(_unbilled(blocks), role, where, asking=position > last)
            turns.append([Turn(role=role, parts=tuple(part for part in turn.parts if isinstance(part, Text)))])
        else:
            turns.append(reader.turns(blocks, role, where, asking=position > last))
    return turns


def _turns_before(mark: caching.Mark, draft: Draft, turns: list[list[Turn]]) -> int:
    """How many turns stand before a cache mark; those of each message are given."""
    placed = zip(draft.messages, turns, strict=True)
    return sum(len(own) for (index, _, _), own in placed if index < mark.messages)


def _unbilled(blocks: list[wire.AnyBlock]) -> list[wire.AnyBlock]:
    return [wire.Text(_BILLING.sub("", block.text)) if isinstance(block, wire.Text) else block for block in blocks]


def _introductions(draft: Draft, reader: Reader) -> Iterator[Turn]:
    """A last turn for a deferred tool that must be called although nothing in the conversation told of it."""
    untold = [introduced(tool) for waiting in reader.introductions.values() for tool in waiting]
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
                _change(draft, kind, fields, f"messages.{index}.content.{place}", role)


def _change(draft: Draft, kind: str, fields: dict[str, Any], where: str, role: str) -> None:
    box, name = draft.box, tools.named(kind, fields)
    if kind == "tool_reference":
        box.reveal(name)
    elif kind in ("tool_addition", "tool_removal"):
        if role != "system":
            raise BadRequest(f"{where}: `{kind}` blocks can only be in `system` messages")
        if kind == "tool_addition" and (added := tools.brought(fields, where, draft.offered)):
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
