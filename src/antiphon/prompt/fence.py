"""Two doors to the tokenizer: control tokens come from the template only, whatever users type is text.

Where a client's text contains the text of a control token, an invisible cut is put into the middle of it before the
template sees it. The rendered prompt is tokenised piece by piece between the cuts: the text is what it was, but no
piece contains a control token's text any more. Prompts without such text are tokenised in one piece, exactly as the
reference implementation does.

A tokenizer that adds a space at the start of each piece cannot be cut without changing the text. There a word joiner,
which is invisible, stays in the text instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from antiphon.api.conversation import Conversation, Part, Text, Thinking, Tool, ToolResult, ToolUse, Turn

_JOINER = "⁠"
# The first of these private-use characters that no client's text contains marks the cuts.
_CUTS = tuple(chr(code) for code in range(0xE000, 0xE100))


class Fence:
    """Guards against one vocabulary's control tokens. `exact_cuts` is the engine's word that pieces tokenised apart
    keep their text."""

    def __init__(self, control_tokens: Iterable[str], exact_cuts: bool = True) -> None:
        self.control_tokens = frozenset(control_tokens)
        ordered = sorted({token for token in self.control_tokens if len(token) > 1}, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        self._exact = exact_cuts

    def guard(self, conversation: Conversation, *, as_text: bool = False) -> tuple[Conversation, str]:
        """The conversation with every control token's text broken up, and the character that marks the cuts (empty:
        nothing had to be cut). A prompt that goes to the engine `as_text` cannot be cut: there the joiner stays."""
        if self._control is None or not any(map(self._control.search, _texts(conversation))):
            return conversation, ""
        cut, exact = _JOINER, self._exact and not as_text
        if exact:
            joined = "".join(_texts(conversation))
            cut = next(character for character in _CUTS if character not in joined)
        return _mapped(conversation, lambda text: self._broken(text, cut)), cut if exact else ""

    def spelled(self, text: str) -> list[tuple[int, int]]:
        """Where a prompt's text spells a control token, be it one or the guarded text of one: from, up to."""
        if self._control is None:
            return []
        if _JOINER not in text:
            return [match.span() for match in self._control.finditer(text)]
        places = [index for index, character in enumerate(text) if character != _JOINER]
        bare = self._control.finditer(text.replace(_JOINER, ""))
        return [(places[match.start()], places[match.end() - 1] + 1) for match in bare]

    def _broken(self, text: str, cut: str) -> str:
        """`text` with a cut in the middle of each control token's text. Halves can hold shorter ones, and the second
        one may begin another."""
        assert self._control is not None
        pieces, done = list[str](), 0
        while found := self._control.search(text, done):
            middle = found.start() + len(found[0]) // 2
            pieces += (text[done : found.start()], self._broken(text[found.start() : middle], cut), cut)
            done = middle
        return "".join([*pieces, text[done:]])


def segments(prompt: str, cut: str) -> list[str]:
    """The pieces of a rendered prompt that are tokenised apart."""
    return [piece for piece in prompt.split(cut) if piece] if cut else [prompt]


def _texts(conversation: Conversation) -> Iterable[str]:
    """Every text in the conversation that came from the client."""
    yield conversation.system
    for turn in conversation.turns:
        for part in turn.parts:
            yield from _part_texts(part)
    for tool in conversation.first_tools:
        yield tool.name
        yield tool.description
        yield from _json_texts(tool.schema)


def _part_texts(part: Part) -> Iterable[str]:
    match part:
        case Text(text) | Thinking(text):
            yield text
        case ToolUse():
            yield part.name
            yield from _json_texts(msgspec.json.decode(part.input))
        case ToolResult():
            for inner in part.parts:
                yield from _part_texts(inner)


def _json_texts(value: Any) -> Iterable[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for key, inner in value.items():
                yield key
                yield from _json_texts(inner)
        case list():
            for inner in value:
                yield from _json_texts(inner)


def _mapped(conversation: Conversation, change: Any) -> Conversation:
    turns = tuple(Turn(role=t.role, parts=tuple(_mapped_part(p, change) for p in t.parts)) for t in conversation.turns)
    tools = tuple(
        Tool(
            name=change(tool.name),
            description=change(tool.description),
            schema=_mapped_json(tool.schema, change),
            strict=tool.strict,
        )
        for tool in conversation.first_tools
    )
    return Conversation(system=change(conversation.system), turns=turns, tools=tools)


def _mapped_part(part: Any, change: Any) -> Any:
    match part:
        case Text(text):
            return Text(change(text))
        case Thinking(text):
            return Thinking(change(text))
        case ToolUse():
            before = msgspec.json.decode(part.input)
            after = _mapped_json(before, change)
            # Only an input that had to be cut is written anew; any other stays as the client sent it.
            text = part.input if after == before else msgspec.json.encode(after).decode()
            return ToolUse(id=part.id, name=change(part.name), input=text)
        case ToolResult():
            parts = tuple(_mapped_part(inner, change) for inner in part.parts)
            return ToolResult(tool_use_id=part.tool_use_id, parts=parts, is_error=part.is_error)
        case _:
            return part


def _mapped_json(value: Any, change: Any) -> Any:
    match value:
        case str():
            return change(value)
        case Mapping():
            return {change(key): _mapped_json(inner, change) for key, inner in value.items()}
        case list():
            return [_mapped_json(inner, change) for inner in value]
        case _:
            return value
