"""Any OpenAI-compatible chat server: what it runs, what a prompt takes there, and the stream of a reply.

The prompt is made there and the output is read there, so this is no engine of tokens: `serving/chat_model` serves it. A
connection that is closed cancels its generation.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from antiphon.api.errors import EngineFailed, Failure, PromptTooLong
from antiphon.engines import EngineKind, Health, Reach
from antiphon.engines.answers import Card, Encoded
from antiphon.engines.attached import Attached
from antiphon.engines.upstream import Refused, ReportedFailure

_CONTEXT = re.compile(r"context (?:length|size|window)|maximum context|too many tokens|too long", re.IGNORECASE)
_NUMBER = re.compile(r"\d{2,}")


class Function(msgspec.Struct):
    """A part of a call: its name, or more of its arguments."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class CallDelta(msgspec.Struct):
    """A part of the call of this `index`; some servers send neither index nor id."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class _Part(msgspec.Struct):
    """A part of content that is a list, as Mistral's models that think have it."""

    text: str | None = None
    thinking: list[_Part] | str | None = None


class Delta(msgspec.Struct):
    """More of a reply. Thinking is called by either name, or is among the content; a refusal comes in its place."""

    content: str | list[_Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[CallDelta] | None = None

    @property
    def text(self) -> str:
        """More of what is said."""
        return _text(self.content)

    @property
    def thinking(self) -> str:
        """More of what is thought."""
        thinking = self.reasoning_content or self.reasoning
        if thinking or not isinstance(self.content, list):
            return thinking or ""
        return "".join(_text(part.thinking) for part in self.content)


def _text(content: str | list[_Part] | None) -> str:
    return "".join(part.text or "" for part in content) if isinstance(content, list) else content or ""


class _Choice(msgspec.Struct):
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class Used(msgspec.Struct):
    """The figures of a reply, as far as the server tells any."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class Chunk(msgspec.Struct):
    """One event of a stream; unknown members are skipped."""

    choices: list[_Choice] = []
    usage: Used | None = None
    error: Any = None

    @property
    def delta(self) -> Delta | None:
        """What it brings. A server that does not stream sends the whole message at once."""
        return (self.choices[0].delta or self.choices[0].message) if self.choices else None

    @property
    def end(self) -> str | None:
        """Why the reply is over, if it is."""
        return self.choices[0].finish_reason if self.choices else None


_chunk = msgspec.json.Decoder(Chunk, strict=False)
_FAILED = ("error", "abort")


class _Meta(msgspec.Struct):
    n_ctx: int | None = None
    n_ctx_train: int | None = None


class _Card(Card):
    """A model; each kind of server has its own name for the window."""

    context_length: int | None = None
    max_context_length: int | None = None
    meta: _Meta | None = None


class _Cards(msgspec.Struct):
    data: list[_Card]


class _Counted(msgspec.Struct):
    """vLLM tells a `count`."""

    count: int | None = None


class _Prompt(msgspec.Struct):
    prompt: str


class ChatServer:
    """The server at a base URL, which mostly ends in `/v1`."""

    def __init__(self, server: Attached) -> None:
        self._server = server
        # Routes for tokens stand beside the API, not in it.
        self._root = "/.." if server.url.endswith("/v1") else ""

    async def describe(self) -> tuple[str, int, int]:
        """The model's name, its window in tokens (0: not said) and when it was made, in Unix seconds."""
        listed = (await self._server.ask("GET", "/models", _Cards)).data
        card = listed[0] if listed else _Card()
        meta = card.meta or _Meta()
        windows = (card.max_model_len, card.context_length, card.max_context_length, meta.n_ctx, meta.n_ctx_train)
        return card.id or "chat", next(filter(None, windows), 0), card.created or 0

    async def count(self, body: dict[str, Any]) -> int | None:
        """How many tokens the prompt of this request takes, by the routes that vLLM or llama.cpp have for it; None
        where there is none."""
        fields = {key: body[key] for key in ("model", "messages", "tools", "chat_template_kwargs") if key in body}
        try:
            counted = await self._server.ask("POST", self._root + "/tokenize", _Counted, fields)
            if counted.count is not None:
                return counted.count
            prompt = await self._server.ask("POST", self._root + "/apply-template", _Prompt, fields)
            text = {"content": prompt.prompt, "add_special": True, "parse_special": True}
            return len((await self._server.ask("POST", self._root + "/tokenize", Encoded, text)).tokens)
        except Failure:
            return None

    async def stream(self, body: dict[str, Any]) -> AsyncGenerator[list[Chunk], None]:
        """The chunks that each read from the socket completes, until the reply is over and its figures have come, or
        will not come."""
        ended = used = False
        try:
            async with aclosing(self._server.stream("/chat/completions", body, _read)) as reads:
                async for chunks in reads:
                    yield chunks
                    ended = ended or any(chunk.end for chunk in chunks)
                    used = used or any(chunk.usage for chunk in chunks)
                    if ended and used:
                        return
        except Refused as refusal:
            raise _overflow(refusal) or refusal from None
        except EngineFailed:
            if not ended:
                raise

    async def health(self) -> Health:
        """By the list of models, which every such server has."""
        return await self._server.health("/models")

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()


def _read(data: bytes) -> Chunk:
    chunk = _chunk.decode(data)
    if chunk.error is not None:
        raise ReportedFailure(chunk.error)
    if chunk.end in _FAILED:
        raise ReportedFailure(f"it says {chunk.end!r}")
    return chunk


def _overflow(refusal: Refused) -> PromptTooLong | None:
    """The refusal in the words that clients know, where it is about a prompt that is too long."""
    numbers = sorted(int(found) for found in set(_NUMBER.findall(refusal.reason)))
    if not _CONTEXT.search(refusal.reason) or len(numbers) < 2:
        return None
    return PromptTooLong(numbers[-1], numbers[-2])


def _connect(address: str, reach: Reach) -> ChatServer:
    return ChatServer(Attached(address, reach, "chat server"))


ENGINE = EngineKind(
    scheme="openai",
    summary="any OpenAI-compatible chat server, which makes the prompt and parses the output itself",
    connect=_connect,
    start="antiphon serve openai+http://127.0.0.1:8080/v1 --engine-key KEY --context-length 32768",
    takes=(
        "tools, `tool_choice`, JSON schemas, images and thinking, as far as the server supports them; forced calls and "
        "schemas are checked here and tried again, and a reply that still does not match is an error; "
        "one that `max_tokens` cut in front of its call is returned as it is, with that `stop_reason`",
        "schemas for the input of forced calls, if the server enforces them for strict tools: vLLM does (started "
        "with `--structured-outputs-config.backend xgrammar --structured-outputs-config.disable_any_whitespace true`, "
        "otherwise a small model may write blanks to the end)",
        "calls and thinking that the server leaves in the text, with `--tool-call-parser` and `--reasoning-parser`",
    ),
    shows='`make test` over llama.cpp\'s own chat route, and `make engines-real ARGS="vllm vllm-thinking"` over that '
    "of a real vLLM: words, counts, cache, forced calls, schemas, thinking, streams and disconnects",
    lacks=(
        "the prefix law, the fence, thinking budgets and `POST /v1/messages/render`: the prompt is not made here",
        "an exact `count_tokens`, except for servers with vLLM's or llama.cpp's routes for it: otherwise a token is "
        "taken to be four characters",
        "streaming of forced calls and schemas: such a reply is sent once it has been checked",
    ),
)
