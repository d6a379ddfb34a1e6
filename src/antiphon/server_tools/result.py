"""What a model sees of a server tool's result block: one function for the block just made and for the one that a client
sends back, so that both are the same tokens.

A block from elsewhere, or of a tool that is not set up here, is told by the words found in it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from antiphon.api.conversation import Image, Text, Tool, ToolResult
from antiphon.api.errors import BadRequest
from antiphon.api.seal import Forged, Seal
from antiphon.prompt.media import pictures
from antiphon.prompt.media.documents import text_of, titled
from antiphon.prompt.templates.render import introduced
from antiphon.server_tools.tool import Fields

NOT_RUN = "this call was not run"
_DEEP = 8


def told_result(
    fields: Mapping[str, Any], seal: Seal, untold: Callable[[str], Tool | None], *, sees: bool
) -> tuple[ToolResult, list[Tool]]:
    """The result that a block tells of, and the tools that it is the first to bring up: those that `untold` still
    gives, by name. They are told of behind the result. A model that `sees` gets pictures in the place of the words for
    them."""
    content = fields.get("content")
    found = [tool for name in references(content) if (tool := untold(name)) is not None]
    code = error_code(content)
    said = [_failure(code, content)] if code else _said(content, seal, sees=sees)
    wrong = bool(code) or fields.get("is_error") is True
    parts = _parts([*said, *map(introduced, found)])
    return ToolResult(tool_use_id=str(fields.get("tool_use_id", "")), parts=parts, is_error=wrong), found


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
    kept = [_text(content, key) for key in ("title", "url", "text", "stdout", "stderr")]
    if _text(content, "type") == "text" or _text(content, "media_type") == "text/plain":
        kept.append(_text(content, "data"))
    kept += [words(content.get(key), depth + 1) for key in ("content", "source", "tool_references", "lines")]
    return "\n".join(filter(None, kept))


def _said(content: Any, seal: Seal, *, sees: bool) -> list[str | Image]:
    seen = [_picture(each) for each in content] if sees and isinstance(content, list) else []
    if not any(seen):
        return [_shown(content, seal) or "nothing"]
    return [picture or _shown(each, seal) for picture, each in zip(seen, content, strict=True)]


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


def _shown(content: Any, seal: Seal) -> str:
    if isinstance(content, list):
        if content and all(_text(each, "type") == "web_search_result" for each in content):
            return "\n\n".join(_search_result(number, each, seal) for number, each in enumerate(content, 1))
        return "\n".join(filter(None, (_shown(each, seal) for each in content)))
    if isinstance(content, dict) and (telling := _TOLD.get(_text(content, "type"))):
        return telling(content)
    return words(content)


def _search_result(number: int, fields: Fields, seal: Seal) -> str:
    age = _text(fields, "page_age")
    try:
        inside = seal.open("", _text(fields, "encrypted_content"))
    except Forged:
        inside = ""
    head = f"{number}. {_text(fields, 'title')}\n{_text(fields, 'url')}" + (f" ({age})" if age else "")
    return "\n".join(filter(None, [head, inside]))


def _fetched(fields: Fields) -> str:
    document = fields.get("content")
    document = document if isinstance(document, dict) else {}
    source = document.get("source")
    source = source if isinstance(source, dict) else {}
    body = _text(source, "data")
    if _text(source, "type") == "base64":
        try:
            body = text_of(_text(source, "media_type"), base64.b64decode(body, validate=True))
        except (BadRequest, ValueError):
            body = "[a document that cannot be read]"
    return titled("document", body, title=_text(document, "title"), source=_text(fields, "url"))


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
    "web_fetch_result": _fetched,
    "code_execution_result": _ran,
    "bash_code_execution_result": _ran,
    "text_editor_code_execution_create_result": _created,
    "text_editor_code_execution_str_replace_result": _replaced,
    "text_editor_code_execution_view_result": _viewed,
}
