"""Events → the Responses API: one response by folding the events, and what it has besides its items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, assert_never

import msgspec

from antiphon.api.events import Finished, Usage
from antiphon.api.reply import (
    Block,
    CompactionBlock,
    Reply,
    ServerResultBlock,
    ServerToolBlock,
    TextBlock,
    ThinkingBlock,
    ToolBlock,
)
from antiphon.surfaces.openai.token_logprobs import TokenStyle
from antiphon.surfaces.responses import items, sent
from antiphon.surfaces.responses.compaction import Compaction
from antiphon.surfaces.responses.items import Item
from antiphon.surfaces.responses.server_items import ServerCall, ServerCalls
from antiphon.surfaces.responses.token_ids import members
from antiphon.surfaces.responses.tools.approvals import ApprovalRequest, Guarded
from antiphon.surfaces.responses.tools.shapes import Acting, Fields, Function


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """How one response is told: its id, when it was made and what tells when it is over, in Unix seconds, what it
    repeats of its request, how its items are told, and what of its tokens and those of its prompt. The `first` items
    are there before the model says anything."""

    id: str
    created: int
    clock: Callable[[], float]
    echo: sent.Echo
    items: items.Style
    background: bool = False
    first: Sequence[Item] = ()
    tokens: TokenStyle = TokenStyle(ids=False, logprobs=False, alternatives=0)
    prompt_ids: Sequence[int] = ()


def usage_sent(usage: Usage) -> sent.Usage:
    """The figures as the API reports them."""
    return sent.Usage(
        input_tokens=usage.prompt,
        input_tokens_details=sent.InputDetails(usage.cached),
        output_tokens=usage.output,
        output_tokens_details=sent.OutputDetails(usage.thinking),
        total_tokens=usage.prompt + usage.output,
    )


def response(style: Style, status: sent.Status, output: list[Fields], **more: Any) -> sent.Response:
    """The response as far as it has come."""
    return sent.Response(
        **msgspec.structs.asdict(style.echo),
        id=style.id,
        created_at=style.created,
        status=status,
        background=style.background,
        output=output,
        prompt_token_ids=style.prompt_ids if style.tokens.ids else msgspec.UNSET,
        **more,
    )


def ended(style: Style, output: list[Fields], end: Finished, tokens: Fields) -> sent.Response:
    """The response that has come to its end, with what is told of its tokens."""
    incomplete = _incomplete(end)
    return response(
        style,
        "incomplete" if incomplete else "completed",
        output,
        completed_at=None if incomplete else int(style.clock()),
        incomplete_details=incomplete,
        usage=usage_sent(end.usage.compaction or end.usage if end.reason == "compaction" else end.usage),
        **tokens,
    )


def _incomplete(end: Finished) -> sent.Incomplete | None:
    match end.reason:
        case "max_tokens" | "model_context_window_exceeded" | "pause_turn":
            return sent.Incomplete("max_output_tokens")
        case "refusal" if not end.explanation:
            return sent.Incomplete("content_filter")
        case _:
            # A refusal that is told in words has a place of its own.
            return None


def cut_short(end: Finished) -> bool:
    """Whether a reply ends in the midst of an item."""
    return end.reason in ("max_tokens", "model_context_window_exceeded")


def whole(style: Style, reply: Reply) -> sent.Response:
    """The unstreamed response."""
    end = Finished(reply.reason, reply.usage, reply.stop_sequence, reply.explanation)
    output = _Output(style.items, style.first)
    last, cut = len(reply.blocks) - 1, cut_short(end)
    for index, block in enumerate(reply.blocks):
        output.add(block, cut=index == last and cut)
    fields = output.items(cut=cut)
    if reply.explanation:
        refusal = items.Message(style.items, "refusal")
        refusal.take(reply.explanation)
        fields.append(refusal.whole(True))
    return ended(style, fields, end, members(style.tokens, list(reply.tokens)))


class _Output:
    """The items that the blocks of a whole reply are."""

    def __init__(self, style: items.Style, first: Sequence[Item]) -> None:
        self._style = style
        self._items: list[Fields | ServerCall] = [item.whole(True) for item in first]
        self._calls = ServerCalls(style)
        self._message: items.Message | None = None

    def add(self, block: Block, *, cut: bool) -> None:
        """Take the next block in."""
        if not isinstance(block, TextBlock):
            self._end_message()
        match block:
            case TextBlock(text, citations):
                # Texts that follow each other are one message: they differ in what is cited for them.
                self._message = self._message or items.Message(self._style)
                self._message.cite(citations)
                self._message.take(text)
            case ThinkingBlock(text):
                self._add(items.Reasoning(self._style), text, not cut)
            case ToolBlock():
                self._calls.beside(block.id)
                self._add(client_call(self._style, block.id, block.name), block.input, block.complete)
            case ServerToolBlock(use, input):
                self._items.append(call := self._calls.begin(use))
                call.take(input)
            case ServerResultBlock(result):
                call = self._calls.end(result)
                self._items[self._items.index(call)] = self._calls.whole(call)
                if follower := self._calls.follower(call):
                    self._items.append(follower)
            case CompactionBlock(summary):
                if summary is not None:
                    self._items.append(compaction_item(self._style, summary).whole(True))
            case _:
                assert_never(block)

    def _add(self, item: Item, text: str, complete: bool) -> None:
        item.take(text)
        self._items.append(item.whole(complete))

    def _end_message(self, complete: bool = True) -> None:
        if self._message is not None:
            self._items.append(self._message.whole(complete))
            self._message = None

    def items(self, *, cut: bool) -> list[Fields]:
        """All of them. Calls without a result are incomplete, and so is the last message of a reply that was cut."""
        self._end_message(not cut)
        return [item.whole(False) if isinstance(item, ServerCall) else item for item in self._items]


def compaction_item(style: items.Style, summary: str) -> Item:
    """The item of a summary."""
    return Compaction(style.new_id("cmp_"), summary, style.seal)


def client_call(style: items.Style, id: str, name: str) -> Item:
    """A call of one of the client's tools, or one that it has to approve, as an open item."""
    shape = style.shapes.get(name) or Function(name)
    match shape:
        case Guarded():
            return ApprovalRequest(id, shape)
        case Acting():
            return items.WholeCall(style, id, shape)
        case _:
            return items.Call(style, id, shape)
