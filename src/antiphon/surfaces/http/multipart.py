"""A form with a file in it (`multipart/form-data`, RFC 7578), read as it comes: the file's bytes pass through."""

from __future__ import annotations

from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from antiphon.api.errors import BadRequest

_GATHERED = 256 * 1024
"""Bytes of the file that go on together."""
_LONGEST_FIELD = 4096
_MOST_FIELDS = 32
_LONGEST_BOUNDARY = 256
"""What the parser takes; RFC 2046 allows 70."""


class Form:
    """The form of a request. `pieces` is read once; then `fields` and what is known of the file are complete."""

    def __init__(self, content_type: str, chunks: AsyncIterator[bytes]) -> None:
        """Raises BadRequest where the body is said to be none."""
        media_type, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary")
        if media_type != b"multipart/form-data" or not boundary or len(boundary) > _LONGEST_BOUNDARY:
            raise BadRequest(
                "content-type: the body of an upload must be multipart/form-data with a boundary of at most "
                f"{_LONGEST_BOUNDARY} bytes"
            )
        self.fields = dict[str, str]()
        self.filename = ""
        self.media_type = ""
        self._chunks = chunks
        self._headers = dict[bytes, bytes]()
        self._header = [b"", b""]
        self._part = ""
        self._file = bytearray()
        self._value = bytearray()
        self._files = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": lambda data, start, end: self._add_header(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._add_header(1, data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_part,
                "on_part_data": lambda data, start, end: self._add(data[start:end]),
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes of the file. Raises BadRequest where the form is broken, or has no file or several."""
        async for chunk in self._chunks:
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise BadRequest(f"the form in the request's body cannot be read: {error}") from None
            if len(self._file) >= _GATHERED:
                yield self._taken()
        if not self._ended:
            raise BadRequest("the form in the request's body is cut short: its last boundary is missing")
        if not self._files:
            raise BadRequest("file: Field required")
        if self._file:
            yield self._taken()

    def _taken(self) -> bytes:
        taken = bytes(self._file)
        self._file.clear()
        return taken

    def _add_header(self, place: int, data: bytes) -> None:
        self._header[place] += data

    def _end_header(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = [b"", b""]

    def _begin_part(self) -> None:
        _, named = parse_options_header(self._headers.get(b"content-disposition"))
        self._part = named.get(b"name", b"").decode("utf-8", "replace")
        self._value.clear()
        if len(self.fields) >= _MOST_FIELDS:
            raise BadRequest(f"the form in the request's body has more than {_MOST_FIELDS} fields")
        if self._part == "file":
            self._files += 1
            if self._files > 1:
                raise BadRequest("file: an upload has one file; send each in a request of its own")
            self.filename = named.get(b"filename", b"").decode("utf-8", "replace")
            self.media_type = parse_options_header(self._headers.get(b"content-type"))[0].decode("latin-1")

    def _add(self, data: bytes) -> None:
        if self._part == "file":
            self._file += data
        elif len(self._value) + len(data) <= _LONGEST_FIELD:
            self._value += data
        else:
            raise BadRequest(f"{self._part[:60]}: the field is longer than {_LONGEST_FIELD} bytes")

    def _end_part(self) -> None:
        if self._part != "file":
            self.fields[self._part] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True
