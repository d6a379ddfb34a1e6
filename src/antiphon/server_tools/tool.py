"""What a server tool is: a family of types that a request may declare, and each tool declared by it.

A family is a file of this room. It says which types are its own, makes of a declaration the tools that the model sees,
runs their calls, and gives what stands in the blocks of the reply. Nobody outside the room knows any of them by name.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from antiphon.api.conversation import Conversation, Tool
from antiphon.api.events import Container
from antiphon.api.seal import Seal

Fields = dict[str, Any]

CHARACTERS = 4
"""That are taken for a token where text is cut before it is tokenised."""

DIRECT: Fields = {"type": "direct"}
"""The `caller` of every call: the model itself."""
COUNTED = ("web_search_requests", "web_fetch_requests")
"""What `usage.server_tool_use` counts. The SDKs want both figures where there is one."""


class ToolFailed(Exception):
    """A call that failed, with the tool's own error code, as its result block tells it."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code
        self.message = message


class Session:
    """What the calls of one request share: the container that code runs in, if there is one yet, and the `uploads` by
    name that are to be in it."""

    def __init__(self, container: Container | None = None, uploads: Mapping[str, bytes] = {}) -> None:
        self.container = container
        self.uploads = uploads


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call to be run: its id on the wire, its input, the conversation as it stood when it was made, the key that
    seals what only this server is to read, the tools that can be searched for, the label of the client's key, how many
    tokens the model's window has (0: unknown), what the request's calls share."""

    id: str
    input: Fields
    conversation: Conversation
    seal: Seal
    searchable: Mapping[str, Tool] = {}
    key: str = ""
    window: int = 0
    session: Session = msgspec.field(default_factory=Session)

    @property
    def room(self) -> int:
        """How many characters, about, the text of a result may have at most: half of the window is for all else."""
        return self.window // 2 * CHARACTERS or sys.maxsize


Run = Callable[[Call], Awaitable[Fields]]
"""Runs a call and gives the fields of its result block, without type and id. Raises ToolFailed."""


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that a request declares and that runs here.

    The model sees `tool`. A call begins on the wire with the fields `use` beside its id and input; its id begins with
    `prefix`. The result's block has the type `result`; `failed` makes its fields of an error code and a message.
    `family` names the tool in metrics, `counted` in `usage.server_tool_use` (empty: it is not counted there). A call
    beyond `max_uses` in one request fails, and so does one that takes longer than the limit, with the code `late`.
    Calls that share files run `one_by_one`, in their order; a call that waits for those before it takes no time.
    `deferred` tools stay out of the prompt until something refers to them; those of MCP servers that say to change
    nothing are `read_only`. A user's text with the words `asked_for` in it asks for nothing but a call of the tool."""

    tool: Tool
    family: str
    use: Fields
    result: str
    run: Run
    failed: Callable[[str, str], Fields]
    prefix: str = "srvtoolu_"
    counted: str = ""
    max_uses: int | None = None
    late: str = "unavailable"
    one_by_one: bool = False
    deferred: bool = False
    read_only: bool = False
    asked_for: str = ""

    def wire_id(self, id: str) -> str:
        """The id on the wire of a call that the model's has this id."""
        return self.prefix + id.removeprefix("toolu_")


class Family(Protocol):
    """A kind of server tool that is set up and can run."""

    name: str

    def takes(self, kind: str) -> bool:
        """Whether a declaration of this type is for this family."""

    def declare(self, kind: str, settings: Mapping[str, Any], where: str) -> list[Declared]:
        """The tools behind a declaration. `where` is its dotted path. Raises BadRequest for what it says wrong."""

    async def trial(self) -> str:
        """Try it out, for the operator: what was found. Raises ToolFailed or OSError."""

    async def close(self) -> None:
        """Let go of what it holds."""


def cut(text: str, most: int, what: str) -> str:
    """A text of so many characters at most, which says how many `what` has where that is more."""
    return text if len(text) <= most else f"{text[:most]}\n[cut here: {what} has {len(text)} characters]"


def server_use(name: str) -> Fields:
    """How a call of a server tool of this name begins on the wire."""
    return {"type": "server_tool_use", "name": name, "caller": DIRECT}


def error_block(result: str) -> Callable[[str, str], Fields]:
    """How a failure stands in a result block of this type."""

    def failed(code: str, message: str) -> Fields:
        return {"caller": DIRECT, "content": {"type": f"{result}_error", "error_code": code}}

    return failed
