"""What a model sees of a request, taken apart for people: every token with its text, and where each stretch came from.

The text is spelled from the ids themselves, because they are what the engine gets: a remembered turn keeps the ids that
were sampled, which the chat template would have written otherwise. Where each stretch came from is found out by
rendering the conversation once more, with a mark at either end of what the client wrote.
"""

from __future__ import annotations

import codecs
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Literal, NamedTuple

import msgspec

from antiphon.api.conversation import Conversation, Part, Role, Text, Thinking, ThinkingPolicy, ToolResult, Turn
from antiphon.api.errors import BadRequest
from antiphon.api.offload import offload
from antiphon.prompt.prefix.predecessors import PromptRecord, missed, shared
from antiphon.prompt.prompter import Prompt, Prompter
from antiphon.prompt.stretches import Source, Stretch, aligned, by_search, with_roles
from antiphon.prompt.templates.render import Renderer

Spell = Callable[[Sequence[int]], Awaitable[list[bytes]]]
"""The bytes that each id stands for."""
FindPredecessor = Callable[[PromptRecord], Awaitable[PromptRecord | None]]
"""Finds the prompt that one is to be compared with, if there is one."""
Kind = Literal["control", "template", "text", "fenced", "remembered"]

_MARKS: dict[Source, str] = {"system": "\ue300", "user": "\ue301", "assistant": "\ue302", "tool": "\ue303"}
"""Private-use characters that open a stretch of the client's text in a trial rendering."""
_CLOSE = "\ue304"
_SHOWN = 8
"""How many of the tokens are told that stood where a prompt diverged."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a prompt: its text, the tokens that begin in it (from `first` up to, not including, `end`), and the
    `role` of the turn it belongs to (empty: none).

    `kind` is `control` (a control token), `template` (what the chat template or this server adds), `text` (what the
    client sent), `fenced` (a control token's text that a client sent, kept from becoming one) or `remembered` (tokens
    of an earlier reply as they were sampled, where the template would write something else)."""

    kind: Kind
    role: Source | Literal[""]
    text: str
    first: int
    end: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt beside the one before it: how many tokens that one had, how many leading ones both share, and, where
    this one does not go on from all of it, the index of the first token that `diverged`, what stood there before,
    and why."""

    tokens: int
    shared: int
    diverged: int | None = None
    before: str = ""
    reason: str = ""


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt taken apart. `tokens` are the texts of the `ids`; joined they are the `text`. It takes `length` tokens,
    pictures included, which have neither ids nor text. `reused` of the first ids were sampled or prompted in an earlier
    turn and remembered; `cached` of them an engine that still holds the conversation need not compute again. `previous`
    is None where no prompt before this one is known."""

    text: str
    ids: list[int]
    tokens: list[str]
    spans: list[Span]
    length: int
    reused: int
    cached: int
    previous: Comparison | None


async def inspect(
    prompter: Prompter,
    spell: Spell,
    conversation: Conversation,
    policy: ThinkingPolicy,
    find: FindPredecessor | None,
    model: str,
) -> Inspection:
    """The prompt of a conversation whose turns are in order. `spell` gives the bytes of each id, `find` the prompt that
    this one is compared with, if any. BadRequest where the template refuses the conversation."""
    prompt = await prompter.prompt(conversation, policy)
    now = await prompter.record(prompt, policy, model, text=False)
    before = await find(now) if find else None
    tokens = token_texts(await spell(prompt.ids))
    previous = None
    if before is not None:
        previous = _compared(before, now)
        if previous.diverged is not None:
            was = token_texts(await spell(before.numbers[previous.shared : previous.shared + _SHOWN]))
            previous = msgspec.structs.replace(previous, before="".join(was))
    reused = max(prompt.reused, previous.shared if previous else 0)
    spans = await offload(prompt.large, partial(_spans, prompter, policy, prompt, tokens))
    return Inspection(
        text="".join(tokens),
        ids=prompt.ids,
        tokens=tokens,
        spans=spans,
        length=prompt.length,
        reused=prompt.reused,
        cached=min(reused, len(prompt.ids) - 1),
        previous=previous,
    )


def _compared(before: PromptRecord, now: PromptRecord) -> Comparison:
    same, miss = shared(before, now), missed(before, now)
    return Comparison(
        tokens=len(before.numbers),
        shared=same,
        diverged=None if miss is None else same,
        reason=miss.reason if miss else "",
    )


def token_texts(pieces: Iterable[bytes]) -> list[str]:
    """The text of each token. A character whose bytes are spread over several tokens is told by the last of them, so
    that the texts joined are the whole text."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = [decoder.decode(piece) for piece in pieces]
    if texts and (rest := decoder.decode(b"", True)):
        texts[-1] += rest
    return texts


def _sources(prompter: Prompter, policy: ThinkingPolicy, prompt: Prompt) -> list[Stretch]:
    """Where the stretches of a prompt's text come from."""
    guarded, cut = prompt.guarded, prompt.cut
    prefill = guarded.turns[-1:] if guarded.prefill else ()
    bare = msgspec.structs.replace(guarded, turns=guarded.turns[: len(guarded.turns) - len(prefill)])
    stretches = list(_unmarked(_trial(prompter.renderer, bare, policy)))
    if "".join(stretch.text for stretch in stretches) != prompt.rendered:
        # The template compares or trims what it is given, or a client's text holds a mark.
        stretches = by_search(prompt.rendered, _said(bare))
    stretches = with_roles(stretches, {prompter.seams.text, prompter.seams.call} - {""})
    if cut:
        stretches = [stretch._replace(text=stretch.text.replace(cut, "")) for stretch in stretches]
    begun = prompt.continued.replace(cut, "") if cut else prompt.continued
    said = "".join(text for _, text in _said(Conversation(turns=prefill)))
    said = said.replace(cut, "") if cut else said
    ending = len(begun) - len(said)
    return [*stretches, Stretch("template", "assistant", begun[:ending]), Stretch("text", "assistant", begun[ending:])]


def _trial(renderer: Renderer, conversation: Conversation, policy: ThinkingPolicy) -> str:
    try:
        return renderer.prompt(_marked(conversation), policy)
    except BadRequest:
        return ""


def _marked(conversation: Conversation) -> Conversation:
    turns = tuple(
        Turn(role=turn.role, parts=tuple(_marked_part(part, turn.role) for part in turn.parts))
        for turn in conversation.turns
    )
    return msgspec.structs.replace(conversation, system=_between_marks(conversation.system, "system"), turns=turns)


def _marked_part(part: Part, role: Role) -> Part:
    match part:
        case Text(text):
            return Text(_between_marks(text, role))
        case Thinking(text):
            return Thinking(_between_marks(text, role))
        case ToolResult():
            inner = (Text(_between_marks(p.text, "tool")) if isinstance(p, Text) else p for p in part.parts)
            return msgspec.structs.replace(part, parts=tuple(inner))
        case _:
            return part


def _between_marks(text: str, source: Source) -> str:
    """The text with its marks inside of its outer white space, which many templates trim."""
    core = text.strip()
    if not core:
        return text
    before, _, after = text.partition(core)
    return f"{before}{_MARKS[source]}{core}{_CLOSE}{after}"


def _said(conversation: Conversation) -> Iterator[tuple[Source, str]]:
    """The client's texts in the order in which templates write them."""
    if conversation.system:
        yield "system", conversation.system
    for turn in conversation.turns:
        for part in turn.parts:
            if isinstance(part, Text | Thinking):
                yield turn.role, part.text
            elif isinstance(part, ToolResult):
                yield from (("tool", inner.text) for inner in part.parts if isinstance(inner, Text))


def _unmarked(trial: str) -> Iterator[Stretch]:
    opens = {mark: source for source, mark in _MARKS.items()}
    source: Source | Literal[""] = ""
    begun = 0
    for index, character in enumerate(trial):
        if character in opens or character == _CLOSE:
            yield Stretch("text" if source else "template", source, trial[begun:index])
            source, begun = opens.get(character, ""), index + 1
    yield Stretch("template", source, trial[begun:])


class _Place(NamedTuple):
    kind: Kind
    role: Source | Literal[""]
    begin: int
    end: int


def _spans(prompter: Prompter, policy: ThinkingPolicy, prompt: Prompt, tokens: Sequence[str]) -> list[Span]:
    """The spans of a prompt whose tokens have these texts. What the assistant says in what was kept was sampled, and
    never had to be fenced."""
    stretches, fence, reused = _sources(prompter, policy, prompt), prompter.fence, prompt.reused
    text = "".join(tokens)
    begins = [0, *accumulate(map(len, tokens))]
    controls = {
        begin: begin + len(token) for begin, token in zip(begins, tokens, strict=False) if token in fence.control_tokens
    }
    places = [
        place
        for stretch, begin in _placed(aligned(stretches, text))
        for place in _divided(stretch, begin, fence.spelled(stretch.text), controls, begins[reused])
    ]
    spans: list[Span] = []
    first = 0
    for place in places:
        end = first
        while end < len(tokens) and begins[end] < place.end:
            end += 1
        span = text[place.begin : place.end]
        spans.append(Span(kind=place.kind, role=place.role, text=span, first=first, end=end))
        first = end
    if spans and first < len(tokens):
        # The last tokens may have no text of their own.
        spans[-1] = msgspec.structs.replace(spans[-1], end=len(tokens))
    return spans


def _placed(found: Iterable[Stretch]) -> Iterator[tuple[Stretch, int]]:
    offset = 0
    for stretch in found:
        if stretch.text:
            yield stretch, offset
        offset += len(stretch.text)


def _divided(
    stretch: Stretch, begin: int, spelled: Sequence[tuple[int, int]], controls: dict[int, int], sampled: int
) -> Iterator[_Place]:
    """A stretch, divided at the places where it spells control tokens: some are, others are fenced text."""
    position, whole = begin, begin + len(stretch.text)
    for start, stop in ((begin + one, begin + other) for one, other in spelled):
        genuine = controls.get(start) == stop
        if not genuine and stretch.role == "assistant" and start < sampled:
            continue
        if start > position:
            yield _Place(stretch.kind, stretch.role, position, start)
        yield _Place("control" if genuine else "fenced", stretch.role, start, stop)
        position = stop
    if position < whole:
        yield _Place(stretch.kind, stretch.role, position, whole)
