"""Code execution: `code_execution_20250522` (Python) and every later version (Python, bash and a text editor).

The files that code leaves belong to a container, which the reply names and the next request may name again. What a
request uploads to the container is there before its first run; what a run makes or changes is kept as a file of the
client's.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from antiphon.api.conversation import Tool
from antiphon.server_tools.code import made
from antiphon.server_tools.code.containers import Containers
from antiphon.server_tools.code.sandbox import Sandbox
from antiphon.server_tools.tool import Call, Declared, Fields, Session, ToolFailed, cut, server_use
from antiphon.storage.file_store import FileStore

MOST_CHARACTERS = 1_000_000
"""Of code, or of a file's text."""
_SHOWN = (("stdout", 2, "the output"), ("stderr", 2, "the error output"), ("content", 1, "the file"))
"""What the model sees of a run or of a file: the field, how many share the room of a result, what it is."""
_FIRST = "code_execution_20250522"
_WHERE = "It runs in a sandbox without network; files in the current folder last as long as the conversation."


class CodeExecution:
    """The family."""

    name = "code_execution"

    def __init__(self, sandbox: Sandbox, containers: Containers, files: FileStore | None = None) -> None:
        self._sandbox = sandbox
        self._containers = containers
        self._files = files

    def takes(self, kind: str) -> bool:
        """Every version of the type."""
        return re.fullmatch(r"code_execution_\d+", kind) is not None

    def declare(self, kind: str, settings: Mapping[str, Any], where: str) -> list[Declared]:
        """Python alone in the first version, all three tools later."""
        python = self._tool(
            "code_execution",
            "Runs a Python program and returns what it prints. " + _WHERE,
            {"code": _text("The program.")},
            ["code"],
            self._python,
        )
        if kind == _FIRST:
            return [python]
        bash = self._tool(
            "bash_code_execution",
            "Runs a command in bash and returns what it prints. " + _WHERE,
            {"command": _text("The command.")},
            ["command"],
            self._bash,
        )
        editor = self._tool(
            "text_editor_code_execution",
            "Views, creates and changes text files where the code runs.",
            {
                "command": {"type": "string", "enum": ["view", "create", "str_replace"]},
                "path": _text("The file, or for `view` also a folder."),
                "file_text": _text("For `create`: the text of the file."),
                "old_str": _text("For `str_replace`: the text to replace, which must be in the file exactly once."),
                "new_str": _text("For `str_replace`: the text to put in its place."),
                "view_range": {
                    "type": "array",
                    "items": {"type": "integer"},
                    "minItems": 2,
                    "maxItems": 2,
                    "description": "For `view`: the first and the last line, counted from 1; -1 is the end.",
                },
            },
            ["command", "path"],
            self._edit,
        )
        return [python, bash, editor]

    def _tool(
        self,
        name: str,
        description: str,
        properties: Fields,
        required: list[str],
        action: Callable[[Fields], tuple[str, Fields]],
    ) -> Declared:
        result = f"{name}_tool_result"

        async def run(call: Call) -> Fields:
            return {"content": await self._done(call, name, *action(call.input))}

        schema = {"type": "object", "properties": properties, "required": required}
        return Declared(
            tool=Tool(name=name, description=description, schema=schema),
            family=self.name,
            use=server_use(name),
            result=result,
            run=run,
            failed=_failing(result),
            late="execution_time_exceeded",
            one_by_one=True,
        )

    async def _done(self, call: Call, name: str, action: str, fields: Fields) -> Fields:
        answer = await self._run(call, action, fields)
        lost = answer.pop("lost", "")
        ids, troubles = answer.pop("outputs", ([], []))
        if code := answer.get("error"):
            raise ToolFailed(str(code), str(answer.get("message", "")))
        answer |= {
            key: cut(text, call.room // texts, what)
            for key, texts, what in _SHOWN
            if isinstance(text := answer.get(key), str)
        }
        if name == "text_editor_code_execution":
            return _edited(action, answer, lost)
        answer.pop("made", None)
        for trouble in [f"the files of this run were not kept: {lost}"] * bool(lost) + troubles:
            answer["stderr"] = f"{answer['stderr']}\n[{trouble}]".lstrip("\n")
        outputs = [{"type": f"{name}_output", "file_id": id} for id in ids]
        return {"type": f"{name}_result", **answer, "content": outputs}

    async def _run(self, call: Call, action: str, fields: Fields) -> Fields:
        session = call.session
        if session.container is None:
            session.container = await self._containers.make(call.key)
        id = session.container.id
        uploads = {name: b64encode(data).decode() for name, data in session.uploads.items()}
        async with self._containers.use(id, call.key) as files:
            session.container = self._containers.find(id, call.key)
            answer = await self._sandbox.run(action, {**fields, "uploads": uploads}, files.archive, files.replacement)
            # Also what code left that ran for too long.
            if not answer.get("lost"):
                files.keep()
                session.uploads = {}
                answer["outputs"] = await self._outputs(answer.pop("made", []), files.archive, call.key)
        return answer

    async def _outputs(self, names: Sequence[str], archive: Path, key: str) -> tuple[list[str], list[str]]:
        """The ids of files that a run made, and what keeps others from having one."""
        if self._files is None or not names:
            return [], []
        return await made.keep(self._files, archive, names, key)

    @staticmethod
    def _python(input: Fields) -> tuple[str, Fields]:
        return "python", {"code": _text_input(input, "code")}

    @staticmethod
    def _bash(input: Fields) -> tuple[str, Fields]:
        return "bash", {"code": _text_input(input, "command")}

    @staticmethod
    def _edit(input: Fields) -> tuple[str, Fields]:
        action, path = _text_input(input, "command"), _text_input(input, "path")
        match action:
            case "view":
                return action, {"path": path, "view_range": _range(input.get("view_range"))}
            case "create":
                return action, {"path": path, "file_text": _text_input(input, "file_text", empty=True)}
            case "str_replace":
                texts = {"old_str": _text_input(input, "old_str"), "new_str": _text_input(input, "new_str", empty=True)}
                return action, {"path": path, **texts}
        raise ToolFailed("invalid_tool_input", "command: it should be view, create or str_replace")

    async def trial(self) -> str:
        """Run a line of Python. Raises ToolFailed."""
        session = Session()
        session.container = await self._containers.make("")
        async with self._containers.use(session.container.id, "") as files:
            code = {"code": "import sys; print('Python', sys.version.split()[0])"}
            answer = await self._sandbox.run("python", code, files.archive, files.replacement)
        if error := answer.get("error"):
            raise ToolFailed(str(error), str(answer.get("message", "")))
        return f"code runs in bubblewrap, with {answer['stdout'].strip()}"

    async def close(self) -> None:
        """Nothing outlives a run but the files."""


def _text(description: str) -> Fields:
    return {"type": "string", "description": description}


def _text_input(input: Fields, key: str, *, empty: bool = False) -> str:
    value = input.get(key)
    if not isinstance(value, str) or not (value or empty):
        raise ToolFailed("invalid_tool_input", f"{key}: a text is required")
    if len(value) > MOST_CHARACTERS:
        raise ToolFailed("invalid_tool_input", f"{key}: {MOST_CHARACTERS} characters at most")
    return value


def _range(value: Any) -> list[int] | None:
    if value is None or (isinstance(value, list) and len(value) == 2 and all(type(each) is int for each in value)):
        return value
    raise ToolFailed("invalid_tool_input", "view_range: two whole numbers are required")


def _edited(action: str, answer: Fields, lost: str) -> Fields:
    if lost:
        raise ToolFailed("unavailable", f"the files were not kept: {lost}")
    fields = {"type": f"text_editor_code_execution_{action}_result", **answer}
    return {**fields, "file_type": "text"} if action == "view" else fields


def _failing(result: str) -> Callable[[str, str], Fields]:
    """How a failure stands in a result block. Only the editor's has room for the reason."""

    def failed(code: str, message: str) -> Fields:
        reason = {"error_message": message} if result.startswith("text_editor") else {}
        return {"content": {"type": f"{result}_error", "error_code": code, **reason}}

    return failed
