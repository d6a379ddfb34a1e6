"""Events → the completions API: a stream of chunks, or one completion by folding the same events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from antiphon.api.events import Finished, StopReason, TextDelta, TokensSampled, Usage
from antiphon.api.reply import Reply, TextBlock
from antiphon.api.tokens import Token
from antiphon.surfaces.completions import sent
from antiphon.surfaces.openai.choices import ChoiceBatch, total
from antiphon.surfaces.openai.token_logprobs import TokenStyle
from antiphon.surfaces.openai.usage import Usage as Figures
from antiphon.surfaces.openai.usage import usage_sent

_to_json = msgspec.json.Encoder().encode

PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """How the texts are told: their id, when they were made, the model's name as the client wrote it, whether a stream
    ends with its usage, what is told of tokens; for each prompt its ids, what is told of it before the reply, and how
    many choices it has."""

    id: str
    created: int
    model: str
    usage: bool
    tokens: TokenStyle
    prompts: Sequence[Sequence[int]]
    echoes: Sequence[str]
    choices: int

    def completion(self, choices: list[sent.Choice], usage: Figures | None = None) -> sent.Completion:
        """A whole answer, or a chunk of one."""
        return sent.Completion(id=self.id, created=self.created, model=self.model, choices=choices, usage=usage)

    def echo(self, index: int) -> str:
        """What stands before the text of a choice."""
        return self.echoes[index // self.choices]

    def prompt_ids(self, index: int) -> Sequence[int] | msgspec.UnsetType:
        """The ids of a choice's prompt, where they are told."""
        return self.prompts[index // self.choices] if self.tokens.ids else msgspec.UNSET

    def usage_sent(self, usages: Sequence[Usage]) -> Figures:
        """The figures as the API reports them."""
        return usage_sent(total(usages, self.choices))


def _reason(reason: StopReason) -> Literal["stop", "length"]:
    return "length" if reason in ("max_tokens", "model_context_window_exceeded") else "stop"


def _logprobs(
    style: TokenStyle, tokens: Sequence[Token], spelled: Mapping[int, bytes], offset: int
) -> sent.Logprobs | None:
    """What is told of tokens whose text begins behind so many characters."""
    if not style.logprobs:
        return None
    texts = {id: raw.decode("utf-8", "replace") for id, raw in spelled.items()}
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(texts[token.id])
    tops = [{texts[id]: logprob for id, logprob in token.top[: style.alternatives]} for token in tokens]
    return sent.Logprobs(
        tokens=[texts[token.id] for token in tokens],
        token_logprobs=[token.logprob for token in tokens],
        top_logprobs=tops if style.alternatives else None,
        text_offset=offsets,
    )


def whole(style: Style, replies: Sequence[Reply]) -> bytes:
    """The unstreamed answer."""
    choices = [_choice(style, index, reply) for index, reply in enumerate(replies)]
    return _to_json(style.completion(choices, style.usage_sent([reply.usage for reply in replies])))


def _choice(style: Style, index: int, reply: Reply) -> sent.Choice:
    echo = style.echo(index)
    return sent.Choice(
        index=index,
        text=echo + "".join(block.text for block in reply.blocks if isinstance(block, TextBlock)),
        logprobs=_logprobs(style.tokens, reply.tokens, reply.spelled, len(echo)),
        finish_reason=_reason(reply.reason),
        token_ids=[token.id for token in reply.tokens] if style.tokens.ids else msgspec.UNSET,
        prompt_token_ids=style.prompt_ids(index),
    )


def _text(tokens: Sequence[Token], spelled: Mapping[int, bytes]) -> str:
    return "".join(spelled[token.id].decode("utf-8", "replace") for token in tokens if token.id in spelled)


class _Progress:
    """How far a choice has been told, and its figures once it is over."""

    def __init__(self, echo: str) -> None:
        self.begun = False
        self.echo = echo
        self.length = len(echo)
        self.usage: Usage | None = None


class StreamEncoder:
    """Turns batches of events, each of one choice, into chunks."""

    ping = PING

    def __init__(self, style: Style) -> None:
        self._style = style
        self._progress = [_Progress(style.echo(i)) for i in range(len(style.prompts) * style.choices)]

    @property
    def finished(self) -> bool:
        """Whether all choices have come to their end."""
        return all(each.usage is not None for each in self._progress)

    def opening(self) -> bytes:
        """A stream has nothing to tell before its first text."""
        return PING

    def batch(self, batch: ChoiceBatch) -> bytes:
        """The chunk for what came of a choice at once, and the end of the stream behind that of the last one."""
        index, events = batch
        style, progress = self._style, self._progress[index]
        text, tokens, spelled = "", list[Token](), dict[int, bytes]()
        end: Finished | None = None
        for event in events:
            if isinstance(event, TextDelta):
                text += event.text
            elif isinstance(event, TokensSampled):
                tokens += event.tokens
                spelled |= event.spelled
            elif isinstance(event, Finished):
                end = event
        if not (text or tokens or end):
            return b""
        first, echo = not progress.begun, progress.echo if not progress.begun else ""
        choice = sent.Choice(
            index=index,
            text=echo + text,
            logprobs=_logprobs(style.tokens, tokens, spelled, progress.length) if tokens else None,
            finish_reason=_reason(end.reason) if end else None,
            token_ids=[token.id for token in tokens] if style.tokens.ids else msgspec.UNSET,
            prompt_token_ids=style.prompt_ids(index) if first else msgspec.UNSET,
        )
        progress.begun, progress.length = True, progress.length + len(_text(tokens, spelled))
        progress.usage = end.usage if end else None
        return _frame(style.completion([choice])) + (self._ending() if self.finished else b"")

    def _ending(self) -> bytes:
        usages = [each.usage for each in self._progress if each.usage is not None]
        frames = _frame(self._style.completion([], self._style.usage_sent(usages))) if self._style.usage else b""
        return frames + DONE


def _frame(chunk: sent.Completion) -> bytes:
    return b"data: " + _to_json(chunk) + b"\n\n"
