"""The items of a response while they are written: what is told when one opens, of each piece, and when it closes.

The stream and the whole response are made of the same items, so that they cannot tell different things.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from antiphon.api.citations import Citation
from antiphon.api.seal import Seal
from antiphon.server_tools.history import Names
from antiphon.surfaces.http.json_text import text_json
from antiphon.surfaces.openai.annotations import Annotations
from antiphon.surfaces.openai.token_logprobs import Likelihood
from antiphon.surfaces.responses.tools.shapes import Acting, Fields, Shape

ItemEvents = Iterator[tuple[str, Fields]]
"""Events, each by its name and its members apart from the item's id and place."""


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """How items are told: what makes their ids, how calls of the client's tools look, by the names that the model knows
    them by; what it knows the tools by that run here, by their names on the wire and those of their servers; the
    definitions of the tools that can be searched for; whether thinking is told as a summary, and whether it is sealed
    too, so that it comes back as it was; whether texts are `scored`, token by token."""

    new_id: Callable[[str], str]
    seal: Seal
    shapes: Mapping[str, Shape] = {}
    served: Names = {}
    definitions: Mapping[str, msgspec.Raw] = {}
    summary: bool = False
    sealed: bool = False
    scored: bool = False


class Item(Protocol):
    """An item that is open. Its `delta` is the event of a piece of it, with the members that never change; an empty
    name where pieces are not told."""

    id: str
    delta: tuple[str, Fields]

    def opening(self) -> Fields:
        """The item as it opens."""

    def opened(self) -> ItemEvents:
        """What follows its opening at once."""

    def take(self, piece: str) -> str:
        """What is told of a further piece."""

    def closing(self, complete: bool) -> ItemEvents:
        """What is told before it closes."""

    def whole(self, complete: bool) -> Fields:
        """The whole item. It is not `complete` where the reply was cut within it."""


class Message:
    """What the model says; a refusal with `part` `refusal`. `citations` are for what it begins with."""

    def __init__(self, style: Style, part: str = "output_text", citations: Sequence[Citation] = ()) -> None:
        self.id = style.new_id("msg_")
        self._text: list[str] = []
        self._annotations = Annotations(citations)
        self._part, self._member = part, "refusal" if part == "refusal" else "text"
        self._event = f"response.{part}"
        self._place: Fields = {"content_index": 0}
        self.scores: list[Likelihood] = []
        """The log-probabilities of its tokens so far."""
        if part == "output_text":
            self._place["logprobs"] = self.scores
        # Those of a piece are told beside it.
        self.delta = (f"{self._event}.delta", {"content_index": 0} if style.scored else self._place)

    def opening(self) -> Fields:
        """Without content."""
        return self._item("in_progress", [])

    def opened(self) -> ItemEvents:
        """Its one part opens."""
        yield "response.content_part.added", {"content_index": 0, "part": self._content(b'""')}

    def take(self, piece: str) -> str:
        """All of it."""
        self._text.append(piece)
        self._annotations.grow(len(piece))
        return piece

    def cite(self, citations: Sequence[Citation]) -> ItemEvents:
        """These are cited for the text that follows: what is told of the text before it."""
        ended = self._annotations.cite(citations)
        added = [{"content_index": 0, "annotation_index": index, "annotation": each} for index, each in ended]
        return iter([("response.output_text.annotation.added", fields) for fields in added])

    def closing(self, complete: bool) -> ItemEvents:
        """Its text and its part are whole."""
        yield from self.cite(())
        text = text_json("".join(self._text))
        yield f"{self._event}.done", {**self._place, self._member: msgspec.Raw(text)}
        yield "response.content_part.done", {"content_index": 0, "part": self._content(text)}

    def whole(self, complete: bool) -> Fields:
        """With its content."""
        content = [self._content(text_json("".join(self._text)))]
        return self._item("completed" if complete else "incomplete", content)

    def _content(self, text: bytes) -> Fields:
        content = {"type": self._part, self._member: msgspec.Raw(text)}
        if self._part == "output_text":
            content |= {"annotations": self._annotations.all(), "logprobs": self.scores}
        return content

    def _item(self, status: str, content: list[Fields]) -> Fields:
        return {"type": "message", "id": self.id, "status": status, "role": "assistant", "content": content}


class Reasoning:
    """What the model thinks: as its content, or where the client asked for a summary as that."""

    def __init__(self, style: Style) -> None:
        self.id = style.new_id("rs_")
        self._style = style
        self._text: list[str] = []
        if style.summary:
            self._place: Fields = {"summary_index": 0}
            self._kind, self._part, text = "summary_text", "response.reasoning_summary_part", "reasoning_summary_text"
        else:
            self._place = {"content_index": 0}
            self._kind, self._part, text = "reasoning_text", "response.content_part", "reasoning_text"
        self._event = f"response.{text}"
        self.delta = (f"{self._event}.delta", self._place)

    def opening(self) -> Fields:
        """Without a thought."""
        return {"type": "reasoning", "id": self.id, "status": "in_progress", "summary": []}

    def opened(self) -> ItemEvents:
        """Its one part opens."""
        yield f"{self._part}.added", {**self._place, "part": {"type": self._kind, "text": ""}}

    def take(self, piece: str) -> str:
        """All of it."""
        self._text.append(piece)
        return piece

    def closing(self, complete: bool) -> ItemEvents:
        """Its text and its part are whole."""
        text = msgspec.Raw(text_json("".join(self._text)))
        yield f"{self._event}.done", {**self._place, "text": text}
        yield f"{self._part}.done", {**self._place, "part": {"type": self._kind, "text": text}}

    def whole(self, complete: bool) -> Fields:
        """With the thought, and sealed where that was asked for."""
        thought = "".join(self._text)
        content = [{"type": self._kind, "text": msgspec.Raw(text_json(thought))}]
        item: Fields = {"type": "reasoning", "id": self.id, "status": "completed" if complete else "incomplete"}
        item |= {"summary": content} if self._style.summary else {"summary": [], "content": content}
        if self._style.sealed:
            item["encrypted_content"] = self._style.seal.sign(thought, withheld=True)
        return item


class Call:
    """A call of one of the client's tools."""

    def __init__(self, style: Style, call_id: str, shape: Shape) -> None:
        self.id = style.new_id(shape.prefix)
        self._call_id = call_id
        self._shape = shape
        self._event, self._member = shape.told_as
        self._reader = shape.reader()
        self._input: list[str] = []
        self._sent: list[str] = []
        self.delta = (f"{self._event}.delta" if self._event else "", dict[str, Any]())

    def opening(self) -> Fields:
        """Without its input."""
        return self._item("in_progress", self._shape.opening())

    def opened(self) -> ItemEvents:
        """Nothing."""
        return iter(())

    def take(self, piece: str) -> str:
        """What can be told of the input already."""
        self._input.append(piece)
        delta = self._reader.feed(piece)
        self._sent.append(delta)
        return delta

    def closing(self, complete: bool) -> ItemEvents:
        """Its input is whole; what of it was not told yet is told first."""
        if not self._event:
            return
        raw = self._shape.whole(self._json)[self._member]
        whole, sent = msgspec.json.decode(raw), "".join(self._sent)
        if whole != sent and whole.startswith(sent):
            yield f"{self._event}.delta", {"delta": msgspec.Raw(text_json(whole[len(sent) :]))}
        yield f"{self._event}.done", {self._member: raw}

    def whole(self, complete: bool) -> Fields:
        """With its input."""
        return self._item("completed" if complete else "incomplete", self._shape.whole(self._json))

    @property
    def _json(self) -> str:
        return "".join(self._input) or "{}"

    def _item(self, status: str, fields: Fields) -> Fields:
        return {"type": self._shape.type, "id": self.id, "call_id": self._call_id, "status": status, **fields}


class WholeCall(Call):
    """A call whose item opens once it is whole."""

    def __init__(self, style: Style, call_id: str, shape: Acting) -> None:
        super().__init__(style, call_id, shape)
        self._acting = shape

    def opening(self) -> Fields:
        """With what an item of its type has from the beginning."""
        return self._item("in_progress", self._acting.opening(self._json))

    def opened(self) -> ItemEvents:
        """What it consists of."""
        return self._acting.events(self._json)

    def whole(self, complete: bool) -> Fields:
        """With its input."""
        return self._item("completed" if complete else self._acting.cut, self._acting.whole(self._json))
