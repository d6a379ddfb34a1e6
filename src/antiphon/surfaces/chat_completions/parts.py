"""Content of a message → parts of a turn. Nothing is fetched here: what lies at an address has been fetched before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from antiphon.api.conversation import Image, Text
from antiphon.api.errors import BadRequest
from antiphon.prompt import documents
from antiphon.surfaces.chat_completions import wire
from antiphon.surfaces.content import pictures
from antiphon.surfaces.content.gathering import Gathering
from antiphon.surfaces.content.remote import Fetched


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """What content is read with: whether the model sees, and what was fetched."""

    vision: bool
    fetched: Mapping[str, Fetched] = {}

    def parts(self, content: wire.Content, where: str, *, asking: bool = False) -> tuple[Text | Image, ...]:
        """The parts of one content. With `asking`, what the model cannot take is an error rather than a gap."""
        gathering: Gathering[Image] = Gathering()
        if isinstance(content, str):
            gathering.text(content)
        for at, part in _placed(content, where):
            match part.type:
                case "text" | "input_text":
                    gathering.text(_given(part.text, f"{at}.text"))
                case "refusal":
                    gathering.text(_given(part.refusal, f"{at}.refusal"))
                case "image_url" if self.vision:
                    gathering.part(self._picture(part, at))
                case "image_url":
                    if asking:
                        raise BadRequest(
                            f"{at}: this model has no vision; send text only, or serve a model that can see"
                        )
                    gathering.stand_in(pictures.NO_VISION)
                case "file":
                    gathering.stand_in(_document(part, at))
                case other:
                    if asking:
                        raise BadRequest(
                            f"{at}.type: this model takes no {other[:40]!r}; send 'text', 'image_url' or 'file'"
                        )
                    gathering.stand_in(f"[{other[:40]} omitted]")
        return gathering.done()

    def _picture(self, part: wire.Part, where: str) -> Image:
        url, at = _url(part, where), f"{where}.image_url.url"
        if url.startswith("data:"):
            return pictures.image(_declared(url), pictures.decoded(url, at), at)
        there = self.fetched.get(url)
        if there is None:
            raise BadRequest(f"{at}: nothing was fetched from this address")
        return pictures.image(there.media_type, there.data, at)


def addresses(content: wire.Content, where: str) -> Iterator[tuple[str, str]]:
    """What has to be fetched before this content can be read: each address with the path of its field."""
    for at, part in _placed(content, where):
        if part.type == "image_url" and not (url := _url(part, at)).startswith("data:"):
            yield url, f"{at}.image_url.url"


def _placed(content: wire.Content, where: str) -> Iterator[tuple[str, wire.Part]]:
    listed: Sequence[wire.Part] = content if isinstance(content, list) else ()
    for index, part in enumerate(listed):
        yield f"{where}.{index}", part


def _given(text: str | None, where: str) -> str:
    if text is None:
        raise BadRequest(f"{where}: Field required")
    return text


def _url(part: wire.Part, where: str) -> str:
    given = part.image_url
    return given.url if isinstance(given, wire.ImageUrl) else _given(given, f"{where}.image_url")


def _declared(url: str) -> str:
    """The media type that a `data:` URL tells."""
    return url[len("data:") : 200].partition(",")[0].partition(";")[0]


def _document(part: wire.Part, where: str) -> str:
    file = part.file
    if file is None or (file.file_data is None and file.file_id is None):
        raise BadRequest(f"{where}.file.file_data: Field required")
    if file.file_data is None:
        raise BadRequest(
            f"{where}.file: this server keeps no files; send the content as file_data instead of a file id"
        )
    media_type = _declared(file.file_data) if file.file_data.startswith("data:") else ""
    text = documents.text_of(media_type, pictures.decoded(file.file_data, f"{where}.file.file_data"))
    return f"{file.filename}:\n{text}" if file.filename else text
