"""Events → the chat completions API: a stream of chunks.

The format has one message with three places (content, reasoning, calls) and no boundaries between blocks, so all
there is to hold is which call is open. The hot path glues a prefix and a suffix that are made once per reply around a
JSON string: no dictionaries, no second pass over the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

import msgspec

from antiphon.api.errors import Internal
from antiphon.api.events import (
    AnyEvent,
    Cited,
    Compacted,
    Finished,
    ServerResult,
    ServerToolStart,
    Started,
    TextDelta,
    ThinkingDelta,
    TokensSampled,
    ToolDelta,
    ToolEnd,
    ToolStart,
    Usage,
)
from antiphon.api.tokens import Token
from antiphon.surfaces.chat_completions.content import Content
from antiphon.surfaces.chat_completions.reply import FUNCTION, Style, finish_reason
from antiphon.surfaces.http.json_text import text_json
from antiphon.surfaces.openai.free_text import TextOfCall
from antiphon.surfaces.openai.usage import usage_sent

_to_json = msgspec.json.Encoder().encode

PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"


def _chunk(style: Style) -> dict[str, Any]:
    """A chunk of a stream, without its choices."""
    return {
        "id": style.id,
        "object": "chat.completion.chunk",
        "created": style.created,
        "model": style.model,
        "system_fingerprint": None,
        "choices": [],
    }


def closing(style: Style, usage: Usage) -> bytes:
    """What follows the last chunk of the last choice."""
    told = b"data: " + _to_json({**_chunk(style), "usage": usage_sent(usage)}) + b"\n\n" if style.usage else b""
    return told + DONE


class Encoder:
    """Turns batches of events into chunks, one reply long: that of the choice with this index. If it is not the only
    one, whoever tells them all tells the end."""

    def __init__(self, style: Style, index: int = 0) -> None:
        self._style = style
        self._index = index
        self.usage = Usage(prompt=0)
        self._tokens: list[Token] = []
        self._spelled: dict[int, bytes] = {}
        self._due = 0
        self._started = False
        self._finished = False
        self._calls = 0
        self._bare = False
        self._free: TextOfCall | None = None
        self._searching = False
        self._text, self._thought = Content(), Content()
        top = _to_json(_chunk(style))
        self._head = b"data: " + top.removesuffix(b"[]}") + b'[{"index":%d,"delta":{' % index
        self._closing = b'],"usage":null}\n\n' if style.usage else b"]}\n\n"
        self._tail = b'},"logprobs":null,"finish_reason":null}' + self._closing
        self._content = self._head + b'"content":'
        self._reasoning = self._head + b'"reasoning_content":'
        self._arguments, self._call_end = b"", b""

    @property
    def finished(self) -> bool:
        """Whether the reply has come to its end."""
        return self._finished

    def start(self) -> bytes:
        """The first chunk, which only says who speaks."""
        if self._started:
            raise Internal("a reply cannot start twice")
        self._started = True
        frame = self._head + b'"role":"assistant","content":""' + self._tail
        if self._style.tokens.ids and self._index == 0:
            frame = frame.removesuffix(b"}\n\n") + b',"prompt_token_ids":%b}\n\n' % _to_json(self._style.prompt_ids)
        return frame

    def batch(self, events: Iterable[AnyEvent]) -> bytes:
        """The chunks for what came at once: neighbouring deltas of one kind become one."""
        out: list[bytes] = []
        held: list[str] = []
        kind: type[AnyEvent] = Started
        for event in events:
            current = type(event)
            # By exact type: this runs for every token, and a chain of isinstance is slow.
            text: str | None = None
            if current is TextDelta or current is ThinkingDelta:
                text = event.text  # type: ignore[union-attr]
            elif current is ToolDelta:
                text = event.json  # type: ignore[union-attr]
            if text == "":
                continue
            if current is TokensSampled:
                self._tokens += event.tokens  # type: ignore[union-attr]
                self._spelled |= event.spelled  # type: ignore[union-attr]
                continue
            if current is not kind:
                if held:
                    self._delta(kind, "".join(held), out)
                    held = []
                kind = current
            if text is None:
                self._boundary(event, out)
            else:
                held.append(text)
                self._due = len(self._tokens)
        if held:
            self._delta(kind, "".join(held), out)
        return b"".join(out)

    def _delta(self, kind: type[AnyEvent], text: str, out: list[bytes]) -> None:
        if not self._started or self._finished:
            raise Internal("a delta came outside of the reply")
        if kind is TextDelta:
            out.append(self._content + text_json(self._text.add(text)) + self._tail_with(self._due))
        elif kind is ThinkingDelta:
            self._text.cite(())
            out.append(self._reasoning + text_json(self._thought.add(text)) + self._tail_with(self._due))
        elif self._searching:
            pass  # The API has no place for what is searched for.
        elif not self._calls:
            raise Internal("input for a tool call that was never begun")
        elif not self._surplus:
            self._bare = False
            if self._free is not None and not (text := self._free.take(text)):
                return
            self._input(text, out)

    def _input(self, text: str, out: list[bytes]) -> None:
        """More of what the open call is given."""
        out.append(self._arguments + text_json(text) + self._call_end + self._tail_with(self._due))

    def _tail_with(self, count: int, reason: bytes = b"null") -> bytes:
        """The end of a chunk, with the first so many of the tokens that are to be told."""
        if not count and reason == b"null":
            return self._tail
        style, tokens = self._style.tokens, self._tokens[:count]
        self._tokens, self._due = self._tokens[count:], 0
        logprobs = _to_json(style.content(tokens, self._spelled)) if tokens else b"null"
        ids = b',"token_ids":' + _to_json([token.id for token in tokens]) if tokens and style.ids else b""
        return b'},"logprobs":%b,"finish_reason":%b%b}' % (logprobs, reason, ids) + self._closing

    def _boundary(self, event: AnyEvent, out: list[bytes]) -> None:
        match event:
            case Started():
                if not self._started:
                    out.append(self.start())
            case _ if not self._started or self._finished:
                raise Internal("an event came outside of the reply")
            case Cited(citations):
                self._text.cite(citations)
            case ServerToolStart():
                self._complete(out)
                self._text.cite(())
                self._searching = True
            case ToolEnd() if self._searching:
                self._searching = False
            case ServerResult():
                self._text.part()
                self._thought.part()
            case ToolStart(id, name):
                self._complete(out)
                self._text.cite(())
                self._open(id, name, out)
            case ToolEnd():
                self._complete(out)
            case Finished():
                self._complete(out)
                if event.explanation:
                    out.append(self._head + b'"refusal":' + text_json(event.explanation) + self._tail)
                if annotations := self._text.annotations():
                    # All at once: the SDK adds up no lists of anything without an index.
                    out.append(self._head + b'"annotations":' + _to_json(annotations) + self._tail)
                self._end(finish_reason(self._style, event), event.usage, out)
            case TextDelta() | ThinkingDelta() | ToolDelta() | TokensSampled() | Compacted():
                pass
            case _:
                assert_never(event)

    @property
    def _surplus(self) -> bool:
        """Whether the open call is one that the older form has no room for."""
        return self._style.legacy and self._calls > 1

    def _open(self, id: str, name: str, out: list[bytes]) -> None:
        index = self._calls
        self._calls += 1
        if self._surplus:
            return
        form = self._style.forms.get(name)
        self._bare, self._free = form is None, TextOfCall() if form else None
        kind, member = (text.encode() for text in form or FUNCTION)
        named = b'"name":%b,"%b":""' % (_to_json(name), member)
        if self._style.legacy:
            before = self._head + b'"function_call":{'
            first, more, after = before, before, b"}"
        else:
            before = self._head + b'"tool_calls":[{"index":%d,' % index
            first = before + b'"id":%b,"type":"%b","%b":{' % (_to_json(id), kind, kind)
            more, after = before + b'"%b":{' % kind, b"}}]"
        self._arguments, self._call_end = more + b'"%b":' % member, after
        out.append(first + named + after + self._tail)

    def _complete(self, out: list[bytes]) -> None:
        """A call without a word of input has the empty object as its input. What is left of a free text is told."""
        if self._bare:
            self._delta(ToolDelta, "{}", out)
        if self._free is not None:
            if rest := self._free.rest():
                self._input(rest, out)
            self._free = None

    def _end(self, reason: str, usage: Usage, out: list[bytes]) -> None:
        self._finished, self.usage = True, usage
        out.append(self._head + self._tail_with(len(self._tokens), _to_json(reason)))
        if self._style.choices == 1:
            out.append(closing(self._style, usage))
