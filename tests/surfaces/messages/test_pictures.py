"""Images and documents: what a model can use reaches it, what it cannot becomes a word about it."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.api.conversation import Image, Text, ToolResult
from antiphon.prompt.media.documents import pdf_text
from antiphon.prompt.media.pictures import dimensions, kind
from antiphon.surfaces.content.remote import Fetched
from tests.surfaces.messages.reading import body, conversation, read, refusal
from tests.surfaces.messages.sdk_corpus import PNG
from tests.surfaces.scripted_service import shown

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
CALL = {"type": "tool_use", "id": "1", "name": "f", "input": {}}


def pdf(*pages: str) -> bytes:
    """A small PDF with a line of text on each page."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>"]
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects.append(f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode())
    objects.append(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    for number, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode()
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
            % (5 + 2 * number)
        )
        objects.append(b"<</Length %d>>stream\n%b\nendstream" % (len(stream), stream))
    out = b"%PDF-1.4\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)


def document(source: dict[str, Any], **fields: Any) -> list[Any]:
    content = [{"type": "document", "source": source, **fields}, {"type": "text", "text": "Sum up."}]
    return [{"role": "user", "content": content}]


def test_an_image_reaches_a_model_that_sees() -> None:
    """Decoded once, in its place, told by its bytes."""
    parts = (
        conversation([{"role": "user", "content": [IMAGE, {"type": "text", "text": "?"}]}], vision=True).turns[0].parts
    )
    assert parts == (Image("image/png", base64.b64decode(PNG)), Text("?"))


def test_an_image_in_a_result_reaches_it_too() -> None:
    """K1: screenshots are how agents see."""
    result = {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "shot"}, IMAGE]}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [CALL]},
        {"role": "user", "content": [result]},
    ]
    part = conversation(messages, vision=True).turns[2].parts[0]
    assert isinstance(part, ToolResult)
    assert [type(each) for each in part.parts] == [Text, Image]
    assert "[image omitted: model has no vision]" in shown(conversation(messages))


def test_a_blind_model_says_so_only_when_it_is_asked_to_look() -> None:
    """In the last user turn a picture is the question; in history it is a gap."""
    asking = {"role": "user", "content": [IMAGE]}
    assert "no vision" in refusal(messages=[asking])
    history = [asking, {"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]
    assert "[image omitted: model has no vision]" in shown(conversation(history))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"type": "base64", "media_type": "image/png"}, "image.source.base64.data: Field required"),
        (
            {"type": "base64", "media_type": "image/bmp", "data": "Qk0="},
            "base64.media_type: Input should be 'image/jpeg'",
        ),
        ({"type": "base64", "media_type": "image/png", "data": "AAAA"}, "Could not process image"),
        ({"type": "base64", "media_type": "image/png", "data": "A"}, "Invalid base64 data"),
        ({"type": "file", "file_id": "file_1"}, "image.source.file.file_id: no file was read"),
        ({"type": "file"}, "image.source.file.file_id: Field required"),
        ({"type": "url"}, "image.source.url.url: Field required"),
        ({"type": "ftp"}, "Input tag 'ftp' found using 'type'"),
    ],
)
def test_an_image_that_cannot_be_had_is_refused(source: dict[str, Any], words: str) -> None:
    """With the place of the field that is wrong."""
    message = refusal(messages=[{"role": "user", "content": [{"type": "image", "source": source}]}], vision=True)
    assert message.startswith("messages.0.content.0.image.source")
    assert words in message


def test_a_picture_that_is_too_large_is_refused_by_its_header() -> None:
    """Before anything decodes it."""
    huge = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 9000, 10)
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(huge).decode()}
    assert "8000 pixels" in refusal(
        messages=[{"role": "user", "content": [{"type": "image", "source": source}]}], vision=True
    )


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 30, 20), (30, 20)),
        (b"GIF89a" + struct.pack("<HH", 30, 20), (30, 20)),
        (
            b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x0b\x08" + struct.pack(">HH", 20, 30) + b"\x01\x00\x00\x00",
            (30, 20),
        ),
        (b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\x1d\0\0\x13\0\0", (30, 20)),
        (b"RIFF\0\0\0\0WEBPVP8L" + bytes(5) + struct.pack("<I", 29 | 19 << 14), (30, 20)),
        (b"RIFF\0\0\0\0WEBPVP8 " + bytes(10) + struct.pack("<HH", 30, 20), (30, 20)),
    ],
)
def test_sizes_are_read_from_headers(data: bytes, size: tuple[int, int]) -> None:
    """All four types, and all three of WebP."""
    told = kind(data)
    assert told is not None
    assert dimensions(told, data) == size


@given(st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF1234WEBP"]), st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_broken_headers_are_no_failure(start: bytes, rest: bytes) -> None:
    """Fuzz: a size or none."""
    told = kind(start + rest)
    assert told is not None
    dimensions(told, start + rest)


def test_documents_become_text() -> None:
    """Plain, in blocks, as PDF: the words reach the model, with title and context (K5)."""
    plain = {"type": "text", "media_type": "text/plain", "data": "Bees fly."}
    words = shown(conversation(document(plain, title="Bees", context="From a book")))
    assert words.strip() == (
        "<document>\n<title>Bees</title>\n<context>From a book</context>\nBees fly.\n</document>\nSum up."
    )
    blocks = {"type": "content", "content": [{"type": "text", "text": "Bees "}, {"type": "text", "text": "fly."}]}
    assert "\nBees fly.\n" in shown(conversation(document(blocks)))
    assert "\nBees fly.\n" in shown(conversation(document({"type": "content", "content": "Bees fly."})))
    encoded = base64.b64encode(pdf("Bees fly.", "Twice.")).decode()
    words = shown(conversation(document({"type": "base64", "media_type": "application/pdf", "data": encoded})))
    assert "Bees fly.\n\nTwice." in words


def test_what_lies_at_an_address_comes_in_fetched() -> None:
    """Reading a request does no fetching of its own."""
    source = {"type": "url", "url": "http://x.example/a"}
    there = {"http://x.example/a": Fetched("text/plain", b"Bees fly.")}
    given_body = body(messages=document(source))
    assert "Bees fly." in shown(read(given_body, fetched=there).conversation)


def test_pdfs_are_read_within_limits() -> None:
    """Pages and characters; what was left out is said. What is no PDF is said, too, and never fails."""
    data = pdf("one", "two", "three")
    assert pdf_text(data) == "one\n\ntwo\n\nthree"
    assert pdf_text(data, max_pages=1) == "one\n\n[2 more pages omitted]"
    assert pdf_text(data, max_characters=4) == "one\n\nt\n\n[1 more page omitted]"
    assert pdf_text(b"%PDF-1.4 nonsense") == "[document omitted: it is not a readable PDF]"
    assert pdf_text(pdf("")) == "[document omitted: it has no text, only pictures]"


def test_a_search_result_becomes_text() -> None:
    """With title and source, as user content and in a result."""
    found = {
        "type": "search_result",
        "source": "http://b",
        "title": "Bees",
        "content": [{"type": "text", "text": "Fly."}],
    }
    words = shown(conversation([{"role": "user", "content": [found]}]))
    assert words.strip() == ("<search_result>\n<title>Bees</title>\n<source>http://b</source>\nFly.\n</search_result>")
