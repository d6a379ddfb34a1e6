"""Documents, pictures, search results and citations."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

from antiphon_check.basic.messages import prompt_tokens, text
from antiphon_check.registry import API, GUIDE, SDK, check
from antiphon_check.server import Server
from antiphon_check.verdict import Unjudged, expect

_FACTS = "The lighthouse was built in 1853. It has 97 steps. Its keeper was called Marta."
_TYPES = SDK + "types/document_block_param.py"


def _question(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*blocks, {"type": "text", "text": "How many steps are there?"}]}]


def document(data: str = _FACTS, **fields: Any) -> dict[str, Any]:
    """A document of plain text."""
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": data}, **fields}


def png(size: int = 16) -> str:
    """A red square, in base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\xff\0\0" * size for _ in range(size))
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(data).decode()


@check(
    "full.document_text",
    "A document of text is read: it makes the prompt longer.",
    reason="A document that is dropped is answered with inventions.",
    source=_TYPES,
)
def document_text(server: Server) -> None:
    short, long = (
        prompt_tokens(server.message(messages=_question(document(data))).get("usage") or {})
        for data in ("It has 97 steps.", _FACTS * 5)
    )
    expect(long > short + 40, f"the prompt has {short} tokens with a short document, {long} with a long one")


@check(
    "full.document_content",
    "A document may be a list of blocks, and have a title and a context.",
    reason="It is the form for texts that are cited piece by piece.",
    source=_TYPES,
)
def document_content(server: Server) -> None:
    pieces = [{"type": "text", "text": each} for each in _FACTS.split(". ")]
    source = {"type": "content", "content": pieces}
    block = {"type": "document", "source": source, "title": "Lighthouses", "context": "From a leaflet."}
    server.message(messages=_question(block))


@check(
    "full.search_result",
    "Blocks of type `search_result` are accepted.",
    reason="Programs with their own search pass on its results this way.",
    source=SDK + "types/search_result_block_param.py",
)
def search_result(server: Server) -> None:
    content = [{"type": "text", "text": _FACTS}]
    block = {"type": "search_result", "source": "https://example.com", "title": "Lighthouses", "content": content}
    server.message(messages=_question(block))


@check(
    "full.image",
    "A picture is accepted, or refused with a 400 by a model without vision.",
    reason="Assistants paste screenshots; a 500 ends the conversation.",
    source=GUIDE + "vision",
)
def image(server: Server) -> None:
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png()}}
    exchange = server.request("POST", "/v1/messages", server.plain(messages=_question(block)))
    if exchange.status == 200:
        server.accepted(exchange, "content")
    else:
        server.refused(exchange, 400)


@check(
    "full.image_broken",
    "A file that is not a picture is a 400.",
    reason="The mistake is found early.",
    source=GUIDE + "vision",
)
def image_broken(server: Server) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "bm8gcGljdHVyZQ=="}
    body = server.plain(messages=_question({"type": "image", "source": source}))
    server.refused(server.request("POST", "/v1/messages", body), 400)


@check(
    "full.citations",
    "The cited text is in the document, at the place that the citation names.",
    reason="Programs highlight the place; a citation that was made up is worse than none.",
    source=GUIDE + "citations",
)
def citations(server: Server) -> None:
    block = document(citations={"enabled": True}, title="Lighthouses")
    reply = server.message(max_tokens=200, messages=_question(block))
    cited = [each for part in reply["content"] for each in part.get("citations") or []]
    if not cited:
        raise Unjudged("the reply cites nothing")
    for each in cited:
        expect(each.get("type") == "char_location", f"a citation of a text has the type {each.get('type')!r}")
        place = _FACTS[each.get("start_char_index", 0) : each.get("end_char_index", 0)]
        expect(each.get("cited_text") == place, f"it cites {each.get('cited_text')!r}, at the place stands {place!r}")
        expect(each.get("document_index") == 0, f"`document_index` is {each.get('document_index')!r}")


@check(
    "full.citations_mixed",
    "Citations are on for all documents of a request or for none: otherwise it is a 400.",
    reason="The API demands it.",
    source=GUIDE + "citations",
)
def citations_mixed(server: Server) -> None:
    blocks = (document(citations={"enabled": True}), document("Another leaflet."))
    server.refused(server.request("POST", "/v1/messages", server.plain(messages=_question(*blocks))), 400)


@check(
    "full.prefill",
    "A reply goes on from an assistant's turn at the end and does not repeat it, or the request is a 400.",
    reason="Programs join the two.",
    source=API + "messages",
)
def prefill(server: Server) -> None:
    begun = "Here is a list of ten lighthouses:"
    messages = [{"role": "user", "content": "A list, please."}, {"role": "assistant", "content": begun}]
    exchange = server.request("POST", "/v1/messages", server.plain(messages=messages))
    if exchange.status != 200:
        server.refused(exchange, 400)
        return
    expect(begun not in text(server.accepted(exchange, "content")), "the reply repeats the turn")
