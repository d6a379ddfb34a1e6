"""The request → a conversation and what is wanted of the reply. No I/O: what had to be fetched comes in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from antiphon.api.conversation import Conversation, GenerationParams, Sampling
from antiphon.api.errors import BadRequest
from antiphon.api.seal import Seal
from antiphon.server_tools.registry import ServerTools
from antiphon.serving.service import ModelCard
from antiphon.surfaces.content.remote import Fetched
from antiphon.surfaces.openai import efforts
from antiphon.surfaces.openai.content import Reader, addresses
from antiphon.surfaces.openai.functions import output_schema, raw_bytes
from antiphon.surfaces.openai.token_logprobs import TokenStyle
from antiphon.surfaces.responses import compaction, sent
from antiphon.surfaces.responses.request import input_items, wire
from antiphon.surfaces.responses.request.history import Turns
from antiphon.surfaces.responses.request.input_items import Placed, placed, placed_in
from antiphon.surfaces.responses.request.parts import addressed
from antiphon.surfaces.responses.token_ids import check_prompt, token_style
from antiphon.surfaces.responses.tools import approvals, toolbox
from antiphon.surfaces.responses.tools.tool_choices import choice

SEALED = "reasoning.encrypted_content"
_SUMMARIES = ("auto", "concise", "detailed")
_TRUNCATIONS = ("auto", "disabled")
_SECRETS = ("authorization", "headers")


class DecodedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks for, once read: the nouns, and what only this surface needs to know. `ignored` names what was
    accepted and not acted upon; `box` has the tools, and `tokens` is what is told of tokens. What is found can be cited
    where the reply `cites`. Calls that are `approved` have no results in the conversation yet."""

    conversation: Conversation
    generation: GenerationParams
    approved: list[input_items.ApprovalRequest]
    ignored: tuple[str, ...]
    box: toolbox.Toolbox
    tokens: TokenStyle
    cites: bool


class Draft(msgspec.Struct, kw_only=True):
    """A request whose items and tools have been read from the wire, and whose addresses may still have to be
    fetched. `members` are its fields as the client wrote them; `earlier` are the items that it goes on from."""

    request: wire.Request
    members: Mapping[str, msgspec.Raw]
    unknown: list[str]
    items: list[Placed]
    box: toolbox.Toolbox
    earlier: list[msgspec.Raw] = []

    @property
    def conversation(self) -> str | None:
        """The id of the conversation that the request belongs to."""
        named = self.request.conversation
        return named.id if isinstance(named, wire.ConversationReference) else named or None


def read(body: bytes, offered: ServerTools) -> Draft:
    """Read a body as far as it can be read by itself, and check what can be checked. `offered` are the server tools
    that are set up."""
    request, members, unknown = wire.read(body)
    if request.truncation is not None and request.truncation not in _TRUNCATIONS:
        raise BadRequest("truncation: Input should be 'auto' or 'disabled'")
    check_prompt(request)
    if raw_bytes(request.prompt):
        # To leave it out would ask the model something else.
        raise BadRequest("prompt: this server stores no prompts; send the input itself")
    if request.conversation and request.previous_response_id:
        raise BadRequest("conversation: cannot be combined with previous_response_id; send one of them")
    return Draft(
        request=request,
        members=members,
        unknown=unknown,
        items=placed(request.input),
        box=toolbox.toolbox(request.tools, offered),
    )


def go_on(draft: Draft, name: str, earlier: list[msgspec.Raw]) -> None:
    """Put the items that the field `name` stands for before those of the request."""
    draft.items[:0] = placed_in(name, earlier)
    draft.earlier = earlier


def references(draft: Draft) -> list[str]:
    """The ids of the items that are only referred to."""
    return [item.id for _, _, item in draft.items if isinstance(item, input_items.Reference)]


def resolve(draft: Draft, items: Mapping[str, msgspec.Raw]) -> None:
    """Put the items that were found in the places where they are referred to, also in what is kept of the request:
    they may be forgotten before it is."""
    own = draft.request.input if isinstance(draft.request.input, list) else []
    first = len(draft.items) - len(own)
    for place, (where, _, item) in enumerate(draft.items):
        if isinstance(item, input_items.Reference) and item.id in items:
            found = items[item.id]
            draft.items[place] = (where, *input_items.item(found, where))
            if place >= first:
                own[place - first] = found


def remote_addresses(draft: Draft, card: ModelCard) -> dict[str, str]:
    """The addresses that must be fetched first, each with the path of the first part that needs it."""
    paths: dict[str, str] = {}
    for address, where in addresses(addressed(draft.items), vision=card.vision):
        paths.setdefault(address, where)
    return paths


def decode(draft: Draft, card: ModelCard, seal: Seal, fetched: Mapping[str, Fetched]) -> DecodedRequest:
    """The request in nouns."""
    request, box = draft.request, draft.box
    schema = _output_schema(request.text)
    # A reply that must be JSON has no place for tags.
    history = Turns(Reader(vision=card.vision, fetched=fetched), seal, box, cites=schema is None)
    turns = history.read(draft.items)
    sources = history.sources.all() if history.sources else ()
    chosen, shown = choice(request.tool_choice, box, request.parallel_tool_calls is not False)
    effort = request.reasoning.effort if request.reasoning else None
    ignored = [*draft.unknown, *_ignored(request), *box.ignored]
    approved = approvals.awaited(draft.items)
    edits = compaction.edits(draft.items, request.context_management, ignored)
    tokens = token_style(request, card, ignored, rounds=bool(box.served or approved or edits))
    ids = tuple(request.input_ids or ())
    return DecodedRequest(
        conversation=Conversation(
            system=request.instructions or "", turns=turns, tools=shown, ids=ids, sources=sources
        ),
        generation=GenerationParams(
            max_tokens=request.max_output_tokens,
            sampling=Sampling(temperature=request.temperature, top_p=request.top_p),
            tool_choice=chosen,
            thinking=efforts.thinking(effort),
            output_schema=schema,
            edits=edits,
            report=tokens.report,
        ),
        approved=approved,
        ignored=tuple(dict.fromkeys(ignored)),
        box=box,
        tokens=tokens,
        cites=schema is None,
    )


def summarised(request: wire.Request) -> bool:
    """Whether thinking is asked for as a summary."""
    reasoning = request.reasoning
    return reasoning is not None and (reasoning.summary or reasoning.generate_summary) in _SUMMARIES


def echo(draft: Draft, *, stored: bool = False) -> sent.Echo:
    """What the response repeats of the request, and whether it is `stored`."""
    request = draft.request
    return sent.Echo(
        model=request.model,
        instructions=request.instructions,
        max_output_tokens=request.max_output_tokens,
        max_tool_calls=request.max_tool_calls,
        metadata=request.metadata or {},
        parallel_tool_calls=request.parallel_tool_calls is not False,
        previous_response_id=request.previous_response_id,
        conversation=sent.Conversation(draft.conversation) if draft.conversation else None,
        store=stored,
        prompt_cache_key=request.prompt_cache_key,
        reasoning={
            "effort": request.reasoning.effort if request.reasoning else None,
            "summary": (request.reasoning.summary or request.reasoning.generate_summary) if request.reasoning else None,
        },
        safety_identifier=request.safety_identifier,
        temperature=request.temperature,
        text=_text(draft),
        tool_choice=_raw(draft, "tool_choice", b'"auto"'),
        tools=_tools(draft),
        top_logprobs=request.top_logprobs or 0,
        top_p=request.top_p,
        truncation="auto" if request.truncation == "auto" else "disabled",
        user=request.user,
    )


def own_items(draft: Draft) -> bytes:
    """The items of the request itself, as JSON."""
    given_input = draft.request.input
    if isinstance(given_input, str):
        return msgspec.json.encode([{"type": "message", "role": "user", "content": given_input}])
    return msgspec.json.encode(given_input or [])


def _raw(draft: Draft, name: str, otherwise: bytes) -> msgspec.Raw:
    """What the client wrote, on one line: it is repeated in the frames of a stream."""
    written = raw_bytes(draft.members.get(name, msgspec.UNSET))
    return msgspec.Raw(msgspec.json.format(written, indent=-1) if written else otherwise)


def _tools(draft: Draft) -> msgspec.Raw:
    """The tools without what opens MCP servers: others may read a response, and it is kept."""
    tools = [msgspec.json.decode(tool, type=dict[str, msgspec.Raw]) for tool in draft.request.tools or ()]
    shown = [{name: tool[name] for name in tool if name not in _SECRETS} for tool in tools]
    return msgspec.Raw(msgspec.json.format(msgspec.json.encode(shown), indent=-1))


def _text(draft: Draft) -> dict[str, Any]:
    config = wire.value(_raw(draft, "text", b"{}"), "text")
    verbosity = {"verbosity": config["verbosity"]} if "verbosity" in config else {}
    return {"format": config.get("format") or {"type": "text"}, **verbosity}


def _ignored(request: wire.Request) -> list[str]:
    """What was understood and has no effect here."""
    names = []
    if request.reasoning and not efforts.known(request.reasoning.effort):
        names.append("reasoning.effort")
    if request.text and request.text.verbosity not in (None, "medium"):
        names.append("text.verbosity")
    return names


def _output_schema(text: wire.TextConfig | None) -> dict[str, Any] | None:
    format = text.format if text else None
    match format:
        case None | wire.TextFormat(type="text"):
            return None
        case wire.TextFormat(type="json_object"):
            return {"type": "object"}
        case wire.TextFormat(type="json_schema", schema=schema):
            if not raw_bytes(schema):
                raise BadRequest("text.format.schema: Field required")
            return output_schema(raw_bytes(schema), "text.format.schema")
    raise BadRequest("text.format.type: Input should be 'text', 'json_object' or 'json_schema'")
