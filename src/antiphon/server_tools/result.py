"""What a model sees of a server tool's result block: one function for the block just made and for the one that a client
sends back, so that both are the same tokens.

A block from elsewhere, or of a tool that is not set up here, is told by the words found in it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from antiphon.api.citations import Passage, SourceKind
from antiphon.api.conversation import Image, Text, Tool, ToolResult
from antiphon.api.errors import BadRequest
from antiphon.api.seal import Forged, Seal
from antiphon.prompt.citations import sentences
from antiphon.prompt.citations.labelling import Sources, shown
from antiphon.prompt.media import pictures
from antiphon.prompt.media.documents import pdf_pages, text_of, titled
from antiphon.prompt.templates.render import introduced
from antiphon.server_tools.tool import Fields

NOT_RUN = "this call was not run"
_DEEP = 8


def told_result(
    fields: Mapping[str, Any],
    seal: Seal,
    reveal: Callable[[str], Tool | None],
    *,
    sees: bool,
    sources: Sources | None = None,
) -> tuple[ToolResult, list[Tool]]:
    """The result that a block tells of, and the tools that it is the first to bring up: those that `reveal` still
    gives, by name. They are told of behind the result. A model that `sees` gets pictures in the place of the words for
    them. Pages that were found join the `sources` that can be cited, if there are any; of those that were fetched, the
    ones that the request wants cited."""
    content = fields.get("content")
    tools = [tool for name in references(content) if (tool := reveal(name)) is not None]
    code = error_code(content)
    said = [_failure(code, content)] if code else _said(content, seal, sources, sees=sees)
    wrong = bool(code) or fields.get("is_error") is True
    parts = _parts([*said, *map(introduced, tools)])
    return ToolResult(tool_use_id=str(fields.get("tool_use_id", "")), parts=parts, is_error=wrong), tools


def slow(fields: Mapping[str, Any]) -> bool:
    """Whether a result takes its time to read: a PDF does."""
    content = fields.get("content")
    document = content.get("content") if isinstance(content, dict) else None
    source = document.get("source") if isinstance(document, dict) else None
    return _text(source, "type") == "base64"


def not_run(id: str) -> ToolResult:
    """What stands for the result of a call that has none."""
    return ToolResult(tool_use_id=id, parts=(Text(NOT_RUN),), is_error=True)


def error_code(content: Any) -> str:
    """The error code of a result that is one, or nothing."""
    return _text(content, "error_code") if isinstance(content, dict) else ""


def _failure(code: str, content: Any) -> str:
    return ": ".join(filter(None, ("error", code, _text(content, "error_message"))))


def references(content: Any) -> Iterator[str]:
    """The names of the tools that a result refers to."""
    listed = content.get("tool_references") if isinstance(content, dict) else None
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict) and (name := _text(each, "tool_name") or _text(each, "name")):
            yield name


def words(content: Any, depth: int = 0) -> str:
    """The words in whatever a server tool returned: titles, addresses, texts, output, error codes."""
    if isinstance(content, str):
        return content
    if depth > _DEEP:
        return ""
    if isinstance(content, list):
        return "\n".join(filter(None, (words(each, depth + 1) for each in content)))
    if not isinstance(content, dict):
        return ""
    if code := _text(content, "error_code"):
        return f"error: {code}"
    if _text(content, "type") == "web_search_result":
        return f"- {_text(content, 'title')} {_text(content, 'url')}".rstrip()
    if name := _text(content, "tool_name"):
        return f"- {name}"
    texts = [_text(content, key) for key in ("title", "url", "text", "stdout", "stderr")]
    if _text(content, "type") == "text" or _text(content, "media_type") == "text/plain":
        texts.append(_text(content, "data"))
    texts += [words(content.get(key), depth + 1) for key in ("content", "source", "tool_references", "lines")]
    return "\n".join(filter(None, texts))


def _said(content: Any, seal: Seal, sources: Sources | None, *, sees: bool) -> list[str | Image]:
    seen = [_picture(each) for each in content] if sees and isinstance(content, list) else []
    if not any(seen):
        return [_shown(content, seal, sources) or "nothing"]
    return [picture or _shown(each, seal, sources) for picture, each in zip(seen, content, strict=True)]


def _picture(fields: Any) -> Image | None:
    """The picture that a text stands for."""
    source = fields.get("source") if _text(fields, "type") == "text" else None
    try:
        data = pictures.decoded(_text(source, "data"), "")
        return pictures.image(_text(source, "media_type"), data, "") if data else None
    except BadRequest:
        return None


def _parts(said: Iterable[str | Image]) -> tuple[Text | Image, ...]:
    """Lines and pictures in their order."""
    parts: list[Text | Image] = []
    for each in said:
        before = parts[-1] if parts else None
        if isinstance(each, Image):
            parts.append(each)
        elif each and isinstance(before, Text):
            parts[-1] = Text(f"{before.text}\n{each}")
        elif each:
            parts.append(Text(each))
    return tuple(parts)


def _shown(content: Any, seal: Seal, sources: Sources | None) -> str:
    if isinstance(content, list):
        if content and all(_text(each, "type") == "web_search_result" for each in content):
            return "\n\n".join(_search_result(number, each, seal, sources) for number, each in enumerate(content, 1))
        return "\n".join(filter(None, (_shown(each, seal, sources) for each in content)))
    if isinstance(content, dict) and _text(content, "type") == "web_fetch_result":
        return _fetched(content, sources)
    if isinstance(content, dict) and (telling := _TOLD.get(_text(content, "type"))):
        return telling(content)
    return words(content)


def _search_result(number: int, fields: Fields, seal: Seal, sources: Sources | None) -> str:
    title, url, age = (_text(fields, key) for key in ("title", "url", "page_age"))
    try:
        inside = seal.open("", _text(fields, "encrypted_content"))
    except Forged:
        inside = ""
    if sources is not None and (passages := sentences.of_text(inside)):
        instructions = sources.instructions()
        source = sources.add("web_search_result", 0, passages, title=title, address=url)
        text = titled("search_result", shown(source), id=source.label, title=title, source=url, age=age)
    else:
        instructions, head = "", f"{number}. {title}\n{url}" + (f" ({age})" if age else "")
        text = "\n".join(filter(None, [head, inside]))
    return "\n\n".join(filter(None, [instructions, text]))


def _fetched(fields: Fields, sources: Sources | None) -> str:
    document = fields.get("content")
    document = document if isinstance(document, dict) else {}
    source = document.get("source")
    source = source if isinstance(source, dict) else {}
    citations = document.get("citations")
    enabled = isinstance(citations, dict) and citations.get("enabled") is True
    index = sources.count("document") if sources is not None else 0
    title, url = _text(document, "title"), _text(fields, "url")
    if sources is not None and enabled and (found := _passages(source)):
        instructions = sources.instructions()
        cited = sources.add(found[0], index, found[1], title=title or None, address=url)
        told = titled("document", shown(cited), id=cited.label, title=title, source=url)
        return "\n\n".join(filter(None, [instructions, told]))
    return titled("document", _body(source), title=title, source=url)


def _body(source: Fields) -> str:
    """What a fetched document says."""
    if _text(source, "type") != "base64":
        return _text(source, "data")
    try:
        return text_of(_text(source, "media_type"), base64.b64decode(_text(source, "data"), validate=True))
    except (BadRequest, ValueError):
        return "[a document that cannot be read]"


def _passages(source: Fields) -> tuple[SourceKind, tuple[Passage, ...]] | None:
    """What can be cited of a fetched document, and what it is counted in."""
    if _text(source, "type") != "base64":
        passages = sentences.of_text(_text(source, "data"))
        return ("text", passages) if passages else None
    try:
        passages = sentences.of_pages(pdf_pages(base64.b64decode(_text(source, "data"), validate=True)))
    except ValueError:
        return None
    return ("pages", passages) if passages else None


def _ran(fields: Fields) -> str:
    outputs = [_text(fields, "stdout"), _text(fields, "stderr"), words(fields.get("content"))]
    code = fields.get("return_code")
    return "\n".join(filter(None, [*outputs, f"[exit status {code}]" if code else ""])) or "[no output]"


def _created(fields: Fields) -> str:
    return "The file was changed." if fields.get("is_file_update") is True else "The file was created."


def _replaced(fields: Fields) -> str:
    return "The file was changed.\n" + words(fields.get("lines")) if fields.get("lines") else "The file was changed."


def _viewed(fields: Fields) -> str:
    return _text(fields, "content")


def _text(fields: Any, key: str) -> str:
    value = fields.get(key) if isinstance(fields, dict) else None
    return value if isinstance(value, str) else ""


_TOLD: dict[str, Callable[[Fields], str]] = {
    "code_execution_result": _ran,
    "bash_code_execution_result": _ran,
    "text_editor_code_execution_create_result": _created,
    "text_editor_code_execution_str_replace_result": _replaced,
    "text_editor_code_execution_view_result": _viewed,
}
