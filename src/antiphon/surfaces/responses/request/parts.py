"""The pieces of a message's or a result's content, as this API spells them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from antiphon.api.citations import Source
from antiphon.api.errors import BadRequest
from antiphon.surfaces.http.validation import complaint
from antiphon.surfaces.openai.annotations import text_with_citations
from antiphon.surfaces.openai.content import File, Foreign, Picture, Piece, Words, required
from antiphon.surfaces.openai.functions import raw_bytes
from antiphon.surfaces.responses.request import input_items, wire

_EXPECTED = "'input_text', 'input_image' or 'input_file'"


def pieces(content: input_items.Content, where: str, sources: Sequence[Source] = ()) -> Iterator[Piece]:
    """The pieces of one content. Texts that cite the `sources` are as the model wrote them."""
    if isinstance(content, str):
        yield Words(content)
        return
    for index, part in enumerate(content or ()):
        yield _piece(part, f"{where}.{index}", sources)


def output_pieces(item: input_items.Output, where: str) -> Iterator[Piece]:
    """The pieces of what a tool answered: text, a list of parts, a screenshot, or what came of each command."""
    raw = raw_bytes(item.output)
    if not raw:
        yield Words("" if item.status is None else item.status)
        return
    output = wire.value(raw, where)
    if isinstance(output, str):
        yield Words(output)
    elif isinstance(output, dict):
        yield from pieces([_part(output, where)], where)
    elif isinstance(output, list):
        for index, each in enumerate(output):
            if isinstance(each, dict) and "type" not in each and "outcome" in each:
                yield Words(_command_output(each, last=index == len(output) - 1))
            else:
                yield _piece(_part(each, f"{where}.{index}"), f"{where}.{index}")
    else:
        raise BadRequest(f"{where}: Input should be a valid string or a valid list")


def addressed(items: Iterable[input_items.Placed]) -> Iterator[Any]:
    """The pieces of all items that may point at an address."""
    for where, _, item in items:
        if isinstance(item, input_items.Message):
            yield from pieces(item.content, f"{where}.content")
        elif isinstance(item, input_items.Output):
            yield from output_pieces(item, f"{where}.output")


def _part(value: Any, where: str) -> input_items.Part:
    try:
        return msgspec.convert(value, input_items.Part)
    except msgspec.ValidationError as trouble:
        raise BadRequest(complaint(str(trouble), where)) from None


def _command_output(result: dict[str, Any], *, last: bool) -> str:
    """What a command wrote, and how it ended where that was not well."""
    outcome = result.get("outcome")
    outcome = outcome if isinstance(outcome, dict) else {}
    code = outcome.get("exit_code")
    ended = "[timed out]" if outcome.get("type") == "timeout" else f"[exit status {code}]" if code else ""
    written = [text for key in ("stdout", "stderr") if isinstance(text := result.get(key), str)]
    shown = "\n".join(text.removesuffix("\n") for text in (*written, ended) if text)
    return shown if last else shown + "\n"


def _piece(part: input_items.Part, where: str, sources: Sequence[Source] = ()) -> Piece:
    match part.type:
        case "output_text" if part.annotations and sources:
            return Words(text_with_citations(required(part.text, f"{where}.text"), part.annotations, sources))
        case "input_text" | "output_text" | "text" | "reasoning_text" | "summary_text":
            return Words(required(part.text, f"{where}.text"))
        case "refusal":
            return Words(required(part.refusal, f"{where}.refusal"))
        case "input_image" | "computer_screenshot":
            if part.image_url is None:
                raise _kept_nowhere(part, where, "image_url")
            return Picture(part.image_url, f"{where}.image_url", where)
        case "input_file":
            if part.file_data is None and part.file_url is None:
                raise _kept_nowhere(part, where, "file_data")
            field = "file_url" if part.file_data is None else "file_data"
            return File(data=part.file_data, url=part.file_url, name=part.filename, where=f"{where}.{field}")
        case other:
            return Foreign(other, where, _EXPECTED)


def _kept_nowhere(part: input_items.Part, where: str, field: str) -> BadRequest:
    if part.file_id is None:
        return BadRequest(f"{where}.{field}: Field required")
    return BadRequest(f"{where}.file_id: this server keeps no files; send the content as {field}")
