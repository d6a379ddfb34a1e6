"""Images: told by their first bytes, and measured before anything decodes them."""

from __future__ import annotations

import binascii
import struct

import msgspec

from antiphon.api.conversation import Image
from antiphon.api.errors import BadRequest

MAX_SIDE = 8000
_EXPECTED = "Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'"

NO_VISION = "[image omitted: model has no vision]"


def image(media_type: str, data: bytes, where: str) -> Image:
    """The image, if it is of a type and size that models take. What the bytes say counts, not the declared type."""
    detected = kind(data)
    if detected is None:
        if media_type not in ("image/jpeg", "image/png", "image/gif", "image/webp"):
            raise BadRequest(f"{where}.base64.media_type: {_EXPECTED}")
        raise BadRequest(f"{where}.base64.data: Could not process image: these bytes are not {media_type}")
    size = dimensions(detected, data)
    if size is None:
        raise BadRequest(f"{where}.base64.data: Could not process image: its size cannot be read")
    if max(size) > MAX_SIDE:
        raise BadRequest(
            f"{where}.base64.data: At least one of the image dimensions exceed max allowed size: {MAX_SIDE} pixels",
            code="image_dimensions_too_large",
            details={"max_side_length_pixels": MAX_SIDE, "paths": [where]},
        )
    return Image(detected, data)


def kind(data: bytes) -> str | None:
    """The media type that the first bytes show."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def dimensions(media_type: str, data: bytes) -> tuple[int, int] | None:
    """Width and height, as the header tells them."""
    try:
        match media_type:
            case "image/png":
                return struct.unpack_from(">II", data, 16)
            case "image/gif":
                return struct.unpack_from("<HH", data, 6)
            case "image/webp":
                return _webp(data)
            case _:
                return _jpeg(data)
    except struct.error:
        return None


def _webp(data: bytes) -> tuple[int, int] | None:
    form = data[12:16]
    if form == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if form == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if form == b"VP8X" and len(data) >= 30:
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    offset = 2
    while offset + 9 <= len(data):
        if data[offset] != 0xFF:
            return None
        marker = data[offset + 1]
        if marker == 0xFF:
            offset += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            offset += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, offset + 5)
            return width, height
        else:
            (length,) = struct.unpack_from(">H", data, offset + 2)
            offset += 2 + max(length, 2)
    return None


def decoded(data: str, where: str) -> bytes:
    """The bytes of base64 text, of a `data:` URL too."""
    if data.startswith("data:"):
        data = data.partition(",")[2]
    try:
        return msgspec.convert(data, bytes)
    except msgspec.ValidationError:
        pass  # It is fast and strict; some clients break lines or leave the padding out.
    try:
        return binascii.a2b_base64(data + "=" * (-len(data) % 4))
    except (binascii.Error, ValueError) as trouble:
        raise BadRequest(f"{where}: Invalid base64 data: {trouble}") from None
