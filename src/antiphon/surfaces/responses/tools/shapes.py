"""How the calls of a client's tool stand in the items of a response, and how they are read back: one class for each
type of item.

A model calls every tool alike, with a JSON object. What an item shows of it is made here, and the same object again of
the item that a client sends back, so that both are the same prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from antiphon.surfaces.http.json_text import text_json
from antiphon.surfaces.openai.free_text import TextReader, free_text

Fields = dict[str, Any]


class Shape(Protocol):
    """The item that a call of one tool is. `told_as` names the events of its input and the member that holds it; empty
    where the item comes whole."""

    @property
    def type(self) -> str: ...

    @property
    def prefix(self) -> str: ...

    @property
    def told_as(self) -> tuple[str, str]: ...

    def opening(self) -> Fields:
        """Its fields when the call begins."""

    def reader(self) -> Reader:
        """What makes the told text of the JSON text of the input, as it comes."""

    def whole(self, input: str) -> Fields:
        """Its fields, with the whole JSON text of the input."""


class Reader(Protocol):
    """Reads the input of one call."""

    def feed(self, json: str) -> str:
        """What a further fragment tells."""


class AsWritten:
    """Tells JSON as it was written."""

    def feed(self, json: str) -> str:
        """The fragment itself."""
        return json


class Unshown:
    """Tells nothing before the input is whole."""

    def feed(self, json: str) -> str:
        """Nothing."""
        return ""


class Function(msgspec.Struct, frozen=True):
    """A function of the client's, perhaps of a namespace."""

    name: str
    namespace: str = ""
    type = "function_call"
    prefix = "fc_"
    told_as = ("response.function_call_arguments", "arguments")

    def opening(self) -> Fields:
        """Its name."""
        return {**_named(self), "arguments": ""}

    def reader(self) -> Reader:
        """The arguments are JSON in the item too."""
        return AsWritten()

    def whole(self, input: str) -> Fields:
        """Its name and arguments."""
        return {**_named(self), "arguments": msgspec.Raw(text_json(input))}


class Custom(msgspec.Struct, frozen=True):
    """A tool that takes free text, which the model gives as the one member `input`."""

    name: str
    namespace: str = ""
    type = "custom_tool_call"
    prefix = "ctc_"
    told_as = ("response.custom_tool_call_input", "input")

    def opening(self) -> Fields:
        """Its name."""
        return {**_named(self), "input": ""}

    def reader(self) -> Reader:
        """The text within the JSON."""
        return TextReader()

    def whole(self, input: str) -> Fields:
        """Its name and the text."""
        return {**_named(self), "input": msgspec.Raw(text_json(free_text(input)))}


def _named(shape: Function | Custom) -> Fields:
    return {"name": shape.name, **({"namespace": shape.namespace} if shape.namespace else {})}


class Acting(msgspec.Struct, frozen=True):
    """A tool whose item comes whole, with the call's object, or a part of it, under the member `key`. `more` are
    further members of that object, `beside` further members of the item; with `several`, `key` is a list of such
    objects. An item that opens has the members of the object as in `begun`, where it has them; one that was cut has
    the status `cut`."""

    type: str
    prefix: str
    key: str
    more: Fields = {}
    beside: Fields = {}
    several: bool = False
    begun: Fields = {}
    cut: str = "incomplete"
    told_as = ("", "")

    def opening(self, input: str = "{}") -> Fields:
        """Its fields as it opens; the whole JSON text of the input is known by then."""
        told = self.acted(input)
        return self._item({**told, **{key: value for key, value in self.begun.items() if key in told}})

    def reader(self) -> Reader:
        """The object comes whole."""
        return Unshown()

    def whole(self, input: str) -> Fields:
        """The object as the item has it."""
        return self._item(self.acted(input))

    def acted(self, input: str) -> Fields:
        """The object with all its members."""
        told: Fields = msgspec.json.decode(input)
        return {**told, **{key: value for key, value in self.more.items() if key not in told}}

    def events(self, input: str) -> Iterator[tuple[str, Fields]]:
        """What is told between its opening and its end."""
        return iter(())

    def _item(self, told: Fields) -> Fields:
        return {**self.beside, self.key: [told] if self.several else told}


class Shell(Acting, frozen=True):
    """A tool whose commands are told one by one."""

    def events(self, input: str) -> Iterator[tuple[str, Fields]]:
        """Each command as it is added, as it is written, and when it is whole."""
        event = "response.shell_call_command"
        for place, command in enumerate(self.acted(input)["commands"]):
            yield f"{event}.added", {"command_index": place, "command": ""}
            if command:
                yield f"{event}.delta", {"command_index": place, "delta": command}
            yield f"{event}.done", {"command_index": place, "command": command}


class Patch(Acting, frozen=True):
    """A tool that changes a file. Only where one is deleted there is no diff."""

    def acted(self, input: str) -> Fields:
        """The object with all its members."""
        told = super().acted(input)
        return told if told["type"] == "delete_file" or "diff" in told else {**told, "diff": ""}
