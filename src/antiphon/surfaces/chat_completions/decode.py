"""The request → a conversation and what is wanted of the reply. No I/O: what had to be fetched comes in."""

from __future__ import annotations

from collections.abc import Container, Mapping

import msgspec

from antiphon.api.conversation import (
    Conversation,
    GenerationParams,
    Part,
    Text,
    Thinking,
    ThinkingPolicy,
    ToolResult,
    ToolUse,
    Turn,
)
from antiphon.api.errors import BadRequest
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.tool import Declared
from antiphon.serving.service import ModelCard
from antiphon.surfaces.chat_completions import responses_body, tools, web_search, wire
from antiphon.surfaces.chat_completions.parts import pieces
from antiphon.surfaces.chat_completions.reply import Form
from antiphon.surfaces.chat_completions.responses_body import Placed
from antiphon.surfaces.content.remote import Fetched
from antiphon.surfaces.openai import efforts
from antiphon.surfaces.openai.content import Reader, addresses
from antiphon.surfaces.openai.free_text import called_with
from antiphon.surfaces.openai.functions import arguments, raw_bytes
from antiphon.surfaces.openai.sampling import sampling, stop_sequences
from antiphon.surfaces.openai.token_logprobs import TokenStyle, token_style

_SWITCHES = ("enable_thinking", "thinking")


class Draft(msgspec.Struct, kw_only=True):
    """A request that has been read from the wire, and whose addresses may still have to be fetched. `unknown` are the
    fields that are ignored; `messages` are there with their dotted paths."""

    request: wire.Request
    unknown: list[str]
    messages: list[Placed]


class DecodedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks for, once read. `ignored` names what was accepted and not acted upon; `legacy` says that
    calls are to be told in the older form, as functions; `forms` are those of calls that give free text, by the tool's
    name; `tokens` is what is told of tokens, and `served` are the tools that run here."""

    conversation: Conversation
    generation: GenerationParams
    ignored: tuple[str, ...]
    legacy: bool
    forms: dict[str, Form]
    tokens: TokenStyle
    served: dict[str, Declared]


def read(body: bytes) -> Draft:
    """Read a body as far as it can be read by itself, and check what can be checked."""
    request, members, unknown = wire.read(body)
    messages = [(f"messages.{index}", message) for index, message in enumerate(request.messages)]
    if "messages" not in members and request.input_ids is None:
        if "input" not in members:
            raise BadRequest("messages: Field required")
        request, messages = responses_body.read(members, request, unknown)
    if not messages and request.input_ids is None:
        raise BadRequest("messages: at least one message is required")
    if messages and request.input_ids is not None:
        raise BadRequest("input_ids: the prompt is either messages or input_ids, not both")
    if request.top_logprobs and not request.logprobs:
        raise BadRequest("top_logprobs: it needs log-probabilities; set logprobs too")
    return Draft(request=request, unknown=unknown, messages=messages)


def remote_addresses(draft: Draft, card: ModelCard) -> dict[str, str]:
    """The addresses that must be fetched first, each with the path of the first part that needs it."""
    paths: dict[str, str] = {}
    for where, message in draft.messages:
        placed = pieces(message.content, f"{where}.content")
        for address, place in addresses(placed, vision=card.vision):
            paths.setdefault(address, place)
    return paths


def decode(
    draft: Draft, card: ModelCard, fetched: Mapping[str, Fetched], offered: ServerTools | None = None
) -> DecodedRequest:
    """The request in nouns. `offered` are the server tools that are set up."""
    request, ignored = draft.request, list(draft.unknown)
    served = web_search.declared(request, offered or ServerTools())
    tooling = tools.tooling(request, ignored, [each.tool for each in served.values()])
    ids = tuple(request.input_ids or ())
    if request.web_search_options is not None and not served:
        ignored.append(web_search.FIELD)
    if ids:
        card.check_ids(ids, "input_ids")
    tokens = _token_style(request, card)
    generation = GenerationParams(
        max_tokens=request.max_completion_tokens or request.max_tokens,
        sampling=sampling(request),
        stop_sequences=stop_sequences(request),
        tool_choice=tooling.choice,
        thinking=_thinking(request, ignored),
        output_schema=tools.output_schema(request.response_format),
        report=tokens.report,
    )
    turns = _Turns(Reader(vision=card.vision, fetched=fetched), tooling.forms).read(draft.messages)
    return DecodedRequest(
        conversation=Conversation(turns=turns, tools=tooling.tools, ids=ids),
        generation=generation,
        ignored=tuple(ignored),
        legacy=tooling.legacy,
        forms=tooling.forms,
        served=served,
        tokens=tokens,
    )


def _token_style(request: wire.Request, card: ModelCard) -> TokenStyle:
    return token_style(
        card,
        ids=bool(request.return_token_ids),
        logprobs=bool(request.logprobs),
        alternatives=request.top_logprobs or 0,
        asking="logprobs",
        count="top_logprobs",
    )


def _thinking(request: wire.Request, ignored: list[str]) -> ThinkingPolicy:
    """The effort, and the template's own switch."""
    if not efforts.known(request.reasoning_effort):
        ignored.append("reasoning_effort")
    switches = request.chat_template_kwargs or {}
    ignored += [f"chat_template_kwargs.{name}" for name in switches if name not in _SWITCHES]
    on = next((switches[name] for name in _SWITCHES if isinstance(switches.get(name), bool)), None)
    return efforts.thinking(request.reasoning_effort, on)


class _Turns:
    """Reads messages one by one, and holds which calls still wait for their result. The `free` tools take free text."""

    def __init__(self, reader: Reader, free: Container[str]) -> None:
        self._reader = reader
        self._free = free
        self._waiting: list[str] = []
        self._functions: dict[str, str] = {}

    def read(self, messages: list[Placed]) -> tuple[Turn, ...]:
        last = max((at for at, (_, message) in enumerate(messages) if message.role == "assistant"), default=-1)
        turns = [self._turn(message, where, at > last) for at, (where, message) in enumerate(messages)]
        if messages:
            self._check_answered(messages[-1][0])
        return tuple(turns)

    def _turn(self, message: wire.Message, where: str, asking: bool) -> Turn:
        match message.role:
            case "system" | "developer":
                return Turn(role="system", parts=self._reader.parts(pieces(message.content, f"{where}.content")))
            case "user":
                self._check_answered(where)
                if message.content is None:
                    raise BadRequest(f"{where}.content: Field required")
                parts = self._reader.parts(pieces(message.content, f"{where}.content"), asking=asking)
                # An empty question is a question still: without its turn, the reply before it would be continued.
                return Turn(role="user", parts=parts or (Text(""),))
            case "assistant":
                # One turn may come as several messages: a part of it in each.
                return Turn(role="assistant", parts=self._assistant(message, where))
            case "tool" | "function":
                parts = self._reader.parts(pieces(message.content, f"{where}.content"))
                return Turn(role="user", parts=(ToolResult(tool_use_id=self._answered(message, where), parts=parts),))
            case _:
                raise BadRequest(f"{where}.role: Input should be 'system', 'developer', 'user', 'assistant' or 'tool'")

    def _assistant(self, message: wire.Message, where: str) -> tuple[Part, ...]:
        thought = message.reasoning_content or message.reasoning
        parts: list[Part] = [Thinking(thought)] if thought else []
        parts += self._reader.parts(pieces(message.content, f"{where}.content"))
        if message.refusal and message.content is None:
            parts.append(Text(message.refusal))
        for call in message.tool_calls or ():
            if call.id in self._waiting:
                raise BadRequest(f"{where}.tool_calls: ids must be unique; {call.id!r} is there twice")
            self._waiting.append(call.id)
            parts.append(self._call(call, where))
        if message.function_call is not None:
            # The older form has no ids; the place of the message in the conversation makes one.
            id, name = f"function_{where.rpartition('.')[2]}", message.function_call.name
            self._functions[name] = id
            parts.append(ToolUse(id=id, name=name, input=arguments(raw_bytes(message.function_call.arguments))))
        return tuple(parts)

    def _call(self, call: wire.ToolCall, where: str) -> ToolUse:
        if call.custom is not None:
            return ToolUse(id=call.id, name=call.custom.name, input=called_with(call.custom.input))
        if call.function is None:
            raise BadRequest(f"{where}.tool_calls: each needs its function or custom")
        name, written = call.function.name, raw_bytes(call.function.arguments)
        if name in self._free and written.startswith(b'"'):
            return ToolUse(id=call.id, name=name, input=called_with(msgspec.json.decode(written, type=str)))
        return ToolUse(id=call.id, name=name, input=arguments(written))

    def _answered(self, message: wire.Message, where: str) -> str:
        """The id of the call that a message is the answer to."""
        if message.role == "function":
            id = self._functions.pop(message.name or "", None)
            if id is None:
                raise BadRequest(
                    f"{where}: messages with role 'function' must be a response to a preceding message with "
                    "'function_call'."
                )
            return id
        if message.tool_call_id is None:
            raise BadRequest(f"{where}.tool_call_id: Field required")
        if message.tool_call_id not in self._waiting:
            raise BadRequest(
                f"{where}.tool_call_id: messages with role 'tool' must be a response to a preceding message with "
                f"'tool_calls'; no call {message.tool_call_id!r} waits for one."
            )
        self._waiting.remove(message.tool_call_id)
        return message.tool_call_id

    def _check_answered(self, where: str) -> None:
        if self._waiting:
            raise BadRequest(
                f"{where}: An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. These had no response: {', '.join(self._waiting)}"
            )
