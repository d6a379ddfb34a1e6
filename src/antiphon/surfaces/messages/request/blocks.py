"""Content blocks → parts of a turn.

What the model can use reaches it; what it cannot becomes one short plain text. Nothing is fetched here: what
lies at an address has been fetched before, and comes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import assert_never

import msgspec

from antiphon.api.citations import Passage, SourceKind, written
from antiphon.api.conversation import Image, Part, Role, Text, Thinking, Tool, ToolResult, ToolUse, Turn
from antiphon.api.errors import BadRequest
from antiphon.api.seal import Forged, Seal
from antiphon.prompt.citations import sentences
from antiphon.prompt.citations.labelling import shown
from antiphon.prompt.media import documents, pictures
from antiphon.prompt.media.documents import titled
from antiphon.prompt.templates.render import introduced
from antiphon.server_tools import history
from antiphon.server_tools.result import told_result
from antiphon.surfaces.content.gathering import Gathering
from antiphon.surfaces.content.remote import Fetched
from antiphon.surfaces.messages.citations import Citing
from antiphon.surfaces.messages.placeholders import placeholder
from antiphon.surfaces.messages.request import tools, uploads, wire

_OWN = {"text": "data", "content": "content"}
"""The field that holds a document which is in the request itself, by the type of its source."""


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """What blocks are read with: what can be cited (what server tools found only if it `cites_found`), whether the
    model sees, what was fetched (by address or file id), the seal, the names of toolset members as the model knows
    them, by member and toolset. `uploads` are the names of files in the container where code runs, by id.
    `introductions` are tools that the next block to refer to them tells the model of, by name; `served` the names of
    server tools as the model knows them."""

    citing: Citing
    cites_found: bool = True
    vision: bool
    seal: Seal
    fetched: Mapping[str, Fetched] = {}
    uploads: Mapping[str, str] = {}
    members: Mapping[tuple[str, str], str] = {}
    introductions: Mapping[str, list[Tool]] = {}
    served: history.Names = {}

    def turns(self, content: list[wire.AnyBlock], role: Role, where: str, *, asking: bool) -> list[Turn]:
        """The turns of one message: several where server tools were run between what the model said. `asking` is true
        of the last user turn, where a picture that cannot be seen is an error rather than a gap."""
        ours: set[str] = set()
        parts = self._parts(content, role, where, ours, asking=asking)
        return history.rounds(parts, ours) if ours else [Turn(role=role, parts=parts)]

    def _parts(
        self, content: list[wire.AnyBlock], role: Role, where: str, ours: set[str], *, asking: bool
    ) -> tuple[Part, ...]:
        """The parts of a message in their order; `ours` takes in the ids of its calls of server tools."""
        gathering: Gathering[Part] = Gathering()
        for index, block in enumerate(content):
            path = f"{where}.{index}"
            match block:
                case wire.Text(text, citations) if citations and role == "assistant":
                    gathering.text(written(text, self.citing.cited(citations)))
                case wire.ThinkingBlock():
                    thought = self._thinking(block, path)
                    if thought and role == "assistant":
                        gathering.part(Thinking(thought))
                case wire.ToolUse():
                    gathering.part(self._tool_use(block, path))
                case wire.ToolResult():
                    gathering.part(self._tool_result(block, path))
                case wire.Other(kind, fields) if role == "assistant" and (
                    call := history.call(kind, fields, self.served)
                ):
                    ours.add(call.id)
                    gathering.part(call)
                case wire.Other(kind, fields) if history.answers(kind, fields, ours):
                    sources = self.citing.sources if self.cites_found else None
                    reveal = self._next_introduction
                    gathering.part(told_result(fields, self.seal, reveal, sees=self.vision, sources=sources)[0])
                case _:
                    self._showing(block, gathering, path, asking=asking and role == "user", sees=role == "user")
        return gathering.done()

    def _showing(
        self, block: wire.AnyBlock, into: Gathering[Part] | Gathering[Image], where: str, *, asking: bool, sees: bool
    ) -> None:
        """A block that may stand in a message, in a tool result or in a document alike."""
        match block:
            case wire.Text(text):
                into.text(text)
            case wire.Image(source):
                self._image(source, into, where, asking=asking, sees=sees)
            case wire.Document():
                self._document(block, into, where, asking=asking, sees=sees)
            case wire.SearchResult():
                self._search_result(block, into, where)
            case wire.Other(uploads.KIND, fields) if name := self.uploads.get(str(fields.get("file_id"))):
                into.stand_in(f"[uploaded file {name}: it is in the folder where code runs]")
            case wire.Other(kind, fields):
                into.stand_in(placeholder(kind, fields))
                for tool in self._tools(block):
                    into.stand_in(introduced(tool))
            case wire.ThinkingBlock():
                pass
            case wire.ToolUse() | wire.ToolResult():
                into.stand_in("[tool use omitted]")
            case _:
                assert_never(block)

    def _next_introduction(self, name: str) -> Tool | None:
        waiting = self.introductions.get(name)
        return waiting.pop(0) if waiting else None

    def _tools(self, block: wire.Other) -> Iterator[Tool]:
        """The tools that this block is the first to tell of."""
        for kind, fields in tools.references(block, nested=False):
            if kind != "tool_removal" and (told := self._next_introduction(tools.named(kind, fields))):
                yield told

    def _thinking(self, block: wire.ThinkingBlock, where: str) -> str:
        try:
            return self.seal.open(block.thinking or "", block.signature or "")
        except Forged:
            raise BadRequest(f"{where}: Invalid `signature` in `thinking` block") from None

    def _tool_use(self, block: wire.ToolUse, where: str) -> ToolUse:
        if not isinstance(wire.value(block.input, f"{where}.tool_use.input"), dict):
            raise BadRequest(f"{where}.tool_use.input: Input should be a valid dictionary")
        name = self.members.get((block.name, block.toolset_name or ""), block.name)
        # Templates that take arguments as text see what they see elsewhere, however this client's library puts spaces.
        return ToolUse(id=block.id, name=name, input=msgspec.json.format(bytes(block.input), indent=0).decode())

    def _tool_result(self, block: wire.ToolResult, where: str) -> ToolResult:
        inner: Gathering[Image] = Gathering()
        if isinstance(block.content, str):
            inner.text(block.content)
        for at, each in wire.listed(block.content, f"{where}.tool_result.content"):
            self._showing(each, inner, at, asking=False, sees=True)
        return ToolResult(tool_use_id=block.tool_use_id, parts=inner.done(), is_error=bool(block.is_error))

    def _image(
        self, source: wire.Source, into: Gathering[Part] | Gathering[Image], where: str, *, asking: bool, sees: bool
    ) -> None:
        if not self.vision and asking:
            raise BadRequest(f"{where}.image: this model has no vision; send text only, or serve a model that can see")
        if not self.vision or not sees:
            into.stand_in(pictures.NO_VISION if not self.vision else "[image omitted]")
            return
        path = f"{where}.image.source"
        media_type, data = self._bytes(source, path)
        if source.type == "file" and pictures.kind(data) is None:
            raise BadRequest(f"{path}.file.file_id: the file is {media_type}, and an image was expected")
        into.part(pictures.image(media_type, data, path))

    def _search_result(self, block: wire.SearchResult, into: Gathering[Part] | Gathering[Image], where: str) -> None:
        inner: Gathering[Image] = Gathering()
        for at, each in wire.listed(block.content, f"{where}.content"):
            self._showing(each, inner, at, asking=False, sees=False)
        enabled = bool(block.citations and block.citations.enabled)
        index = self.citing.count("search_result", enabled, where)
        if enabled and (passages := sentences.of_blocks(_texts(block.content, f"{where}.content"))):
            into.stand_in(self.citing.sources.instructions())
            cited = self.citing.sources.add("search_result", index, passages, title=block.title, address=block.source)
            body, id = shown(cited), cited.label
        else:
            body, id = _text_of(inner.done()), None
        into.stand_in(titled("search_result", body, id=id, title=block.title, source=block.source))

    def _document(
        self, block: wire.Document, into: Gathering[Part] | Gathering[Image], where: str, *, asking: bool, sees: bool
    ) -> None:
        source, path = block.source, f"{where}.document.source"
        if (field := _OWN.get(source.type)) and getattr(source, field) is None:
            raise BadRequest(f"{path}.{source.type}.{field}: Field required")
        enabled = bool(block.citations and block.citations.enabled)
        index = self.citing.count("document", enabled, where)
        citable = self._citable(source, path) if enabled else None
        parts: tuple[Image | Text, ...] = ()
        if citable is None or source.type == "content":
            parts = self._document_parts(source, path, asking=asking, sees=sees)
        if citable is None:
            body, id = _text_of(parts), None
        else:
            into.stand_in(self.citing.sources.instructions())
            cited = self.citing.sources.add(
                citable[0],
                index,
                citable[1],
                title=block.title,
                file_id=source.file_id if source.type == "file" else None,
            )
            body, id = shown(cited), cited.label
        into.stand_in(titled("document", body, id=id, title=block.title, context=block.context))
        for part in parts:
            if isinstance(part, Image):
                into.part(part)

    def _document_parts(self, source: wire.Source, base: str, *, asking: bool, sees: bool) -> tuple[Image | Text, ...]:
        """What a document says and shows."""
        inner: Gathering[Image] = Gathering()
        match source.type:
            case "text":
                inner.text(source.data or "")
            case "content":
                if isinstance(source.content, str):
                    inner.text(source.content)
                for path, each in wire.listed(source.content, f"{base}.content"):
                    self._showing(each, inner, path, asking=asking, sees=sees)
            case "base64" | "url" | "file":
                media_type, data = self._bytes(source, base)
                inner.text(documents.text_of(media_type, data))
            case other:
                inner.stand_in(f"[document omitted: unknown source {other[:40]!r}]")
        return inner.done()

    def _citable(self, source: wire.Source, where: str) -> tuple[SourceKind, tuple[Passage, ...]] | None:
        """The passages of a document, and what they are counted in; None where there is nothing to cite."""
        kind: SourceKind = "text"
        match source.type:
            case "text":
                passages = sentences.of_text(source.data or "")
            case "content":
                kind = "blocks"
                whole = [source.content] if isinstance(source.content, str) else None
                passages = sentences.of_blocks(whole or _texts(source.content, f"{where}.content"))
            case "base64" | "url" | "file":
                media_type, data = self._bytes(source, where)
                if documents.is_pdf(media_type, data):
                    kind, passages = "pages", sentences.of_pages(documents.pdf_pages(data))
                elif documents.is_text(media_type):
                    passages = sentences.of_text(documents.text_of(media_type, data))
                else:
                    return None
            case _:
                return None
        return (kind, passages) if passages else None

    def _bytes(self, source: wire.Source, where: str) -> tuple[str, bytes]:
        match source.type:
            case "base64":
                if source.data is None:
                    raise BadRequest(f"{where}.base64.data: Field required")
                return source.media_type or "", pictures.decoded(source.data, f"{where}.base64.data")
            case "url":
                if source.url is None:
                    raise BadRequest(f"{where}.url.url: Field required")
                there = self.fetched.get(source.url)
                if there is None:
                    raise BadRequest(f"{where}.url: nothing was fetched from this address")
                return there.media_type, there.data
            case "file":
                if source.file_id is None:
                    raise BadRequest(f"{where}.file.file_id: Field required")
                file = self.fetched.get(source.file_id)
                if file is None:
                    raise BadRequest(f"{where}.file.file_id: no file was read for this block")
                return file.media_type, file.data
            case other:
                raise BadRequest(
                    f"{where}: Input tag '{other[:60]}' found using 'type' does not match any of the expected tags: "
                    "'base64', 'url', 'file'"
                )


def sources(content: Iterable[tuple[str, wire.AnyBlock]], *, vision: bool) -> Iterator[tuple[str, wire.Source]]:
    """The sources of images and documents in these blocks that the model can use, each with its path."""
    for where, block in content:
        match block:
            case wire.Image(source) if vision:
                yield f"{where}.image.source", source
            case wire.Document(source):
                yield f"{where}.document.source", source
                if source.type == "content":
                    yield from sources(wire.listed(source.content, f"{where}.document.source.content"), vision=vision)
            case wire.ToolResult(_, inner):
                yield from sources(wire.listed(inner, f"{where}.tool_result.content"), vision=vision)
            case wire.SearchResult(_, _, inner):
                yield from sources(wire.listed(inner, f"{where}.search_result.content"), vision=vision)
            case _:
                pass


def _texts(content: wire.Content | None, where: str) -> list[str | None]:
    """The text of each block; None of one that has none."""
    return [block.text if isinstance(block, wire.Text) else None for _, block in wire.listed(content, where)]


def _text_of(parts: tuple[Image | Text, ...]) -> str:
    return "\n".join(part.text for part in parts if isinstance(part, Text))
