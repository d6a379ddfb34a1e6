"""Content of a message → parts of a turn. Nothing is fetched here: what lies at an address has been fetched before.

Each API spells the pieces of a content in its own way, and reads them into these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from antiphon.api.conversation import Image, Text
from antiphon.api.errors import BadRequest
from antiphon.prompt.media import documents, pictures
from antiphon.surfaces.content.gathering import Gathering
from antiphon.surfaces.content.remote import Fetched


class Words(msgspec.Struct, frozen=True):
    """Text."""

    text: str


class Picture(msgspec.Struct, frozen=True):
    """A picture at an address, `data:` or http; `where` is the path of the field that names it, `part` of the piece."""

    url: str
    where: str
    part: str


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A document: base64 or a `data:` URL, or else at an address."""

    data: str | None
    url: str | None = None
    name: str | None
    where: str


class Foreign(msgspec.Struct, frozen=True):
    """A piece of a kind that no model takes; `expected` are the kinds that the API has for what they do take."""

    type: str
    where: str
    expected: str


Piece = Words | Picture | File | Foreign


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """What content is read with: whether the model sees, and what was fetched."""

    vision: bool
    fetched: Mapping[str, Fetched] = {}

    def parts(self, pieces: Iterable[Piece], *, asking: bool = False) -> tuple[Text | Image, ...]:
        """The parts of one content. With `asking`, what the model cannot take is an error rather than a gap."""
        gathering: Gathering[Image] = Gathering()
        for piece in pieces:
            match piece:
                case Words(text):
                    gathering.text(text)
                case Picture() if self.vision:
                    gathering.part(self._picture(piece))
                case Picture():
                    if asking:
                        raise BadRequest(
                            f"{piece.part}: this model has no vision; send text only, or serve a model that can see"
                        )
                    gathering.stand_in(pictures.NO_VISION)
                case File():
                    gathering.stand_in(self._document(piece))
                case Foreign(type, where, expected):
                    if asking:
                        raise BadRequest(f"{where}.type: this model takes no {type[:40]!r}; send {expected}")
                    gathering.stand_in(f"[{type[:40]} omitted]")
        return gathering.done()

    def _picture(self, piece: Picture) -> Image:
        url, where = piece.url, piece.where
        if url.startswith("data:"):
            return pictures.image(_declared(url), pictures.decoded(url, where), where)
        there = self._there(url, where)
        return pictures.image(there.media_type, there.data, where)

    def _document(self, piece: File) -> str:
        if piece.data is not None:
            media_type = _declared(piece.data) if piece.data.startswith("data:") else ""
            text = documents.text_of(media_type, pictures.decoded(piece.data, piece.where))
        else:
            there = self._there(piece.url or "", piece.where)
            text = documents.text_of(there.media_type, there.data)
        return f"{piece.name}:\n{text}" if piece.name else text

    def _there(self, url: str, where: str) -> Fetched:
        there = self.fetched.get(url)
        if there is None:
            raise BadRequest(f"{where}: nothing was fetched from this address")
        return there


def addresses(pieces: Iterable[Piece], *, vision: bool) -> Iterator[tuple[str, str]]:
    """What has to be fetched before content can be read: each address with the path of its field."""
    for piece in pieces:
        match piece:
            case Picture(url, where) if vision and not url.startswith("data:"):
                yield url, where
            case File(data=None, url=str(url), where=where):
                yield url, where
            case _:
                pass


def required(text: str | None, where: str) -> str:
    """The value of a field that must be there."""
    if text is None:
        raise BadRequest(f"{where}: Field required")
    return text


def _declared(url: str) -> str:
    """The media type that a `data:` URL tells."""
    return url[len("data:") : 200].partition(",")[0].partition(";")[0]
