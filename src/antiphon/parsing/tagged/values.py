"""Values of tagged parameters on their way to JSON: text streams as a string as soon as it is known to be one."""

from __future__ import annotations

from typing import Protocol

from antiphon.parsing.arguments import Signature
from antiphon.parsing.json import lenient
from antiphon.parsing.reader import Reader


class Value(Protocol):
    """Takes a value's text as it comes. `close` says that it is over, `cut` that the output is."""

    def feed(self, text: str) -> None:
        """More of the text."""

    def close(self, cut: bool) -> None:
        """No more comes."""


class Input:
    """The input of a call that has begun, written parameter by parameter."""

    def __init__(self, reader: Reader, name: str) -> None:
        self.signature: Signature = reader.signature(name)
        self.names: set[str] = set()
        self._argue = reader.argue
        self._opened = False

    def verbatim(self, json: str) -> None:
        """A fragment of an object that is the whole input."""
        self._opened = True
        self._argue(json)

    def member(self, key: str, json: str) -> None:
        """A member, or the beginning of one. A key may come twice; the last one is in force, as JSON has it."""
        self._argue(("," if self._opened else "{") + lenient.quoted(key) + ":" + json)
        self._opened = True

    def whole(self, written: str, text: str) -> None:
        """A member of this name, as the model wrote it, with the text of its value."""
        name = self.signature.named(written)
        self.names.add(name)
        self.member(name, self.signature.coerce(name, text))

    def more(self, json: str) -> None:
        """A further fragment of the member."""
        self._argue(json)

    def close(self) -> None:
        """No more members."""
        self._argue("}" if self._opened else "{}")

    def expects(self, parameter: str) -> bool:
        """Whether the parameter is declared and was not given yet."""
        name = self.signature.named(parameter)
        return name not in self.names and name in self.signature.parameters()

    def scalar(self, key: str) -> bool:
        """Whether the value is a number or the like, of which no markup can be part."""
        kinds = self.signature.kinds(key)
        return bool(kinds) and not kinds & {"string", "object", "array"}

    def value(self, key: str, hint: str) -> Value:
        """Where the text of this parameter goes. `hint` is what the markup says of it."""
        kinds = self.signature.kinds(key)
        if hint == "json" or (hint == "string" and kinds and "string" not in kinds):
            return _Whole(self, key, hint)
        if hint == "string" or self.signature.is_text(key):
            return _Text(self, key)
        return _Undecided(self, key) if "string" in kinds else _Whole(self, key, hint)


class _Text:
    """A string, streamed."""

    def __init__(self, input: Input, key: str) -> None:
        self._input, self._key, self._begun = input, key, False

    def feed(self, text: str) -> None:
        if not self._begun:
            self._begun = True
            self._input.member(self._key, '"')
        self._input.more(lenient.inside(text))

    def close(self, cut: bool) -> None:
        if self._begun:
            self._input.more('"')
        elif not cut:
            self._input.member(self._key, '""')


class _Whole:
    """A value that is read when it is whole."""

    def __init__(self, input: Input, key: str, hint: str) -> None:
        self._input, self._key, self._hint = input, key, hint
        self._parts: list[str] = []

    def feed(self, text: str) -> None:
        self._parts.append(text)

    def close(self, cut: bool) -> None:
        raw = "".join(self._parts)
        if cut and not raw.strip():
            # A key without a value, as if it had not been reached.
            return
        signature = self._input.signature
        json = signature.accept(self._key, raw) if self._hint == "json" else None
        self._input.member(self._key, signature.coerce(self._key, raw, cut=cut) if json is None else json)


class _Undecided:
    """A value that may be a string or something else: a string from where its text cannot be anything else."""

    def __init__(self, input: Input, key: str) -> None:
        self._input, self._key = input, key
        self._head = ""
        self._settled: Value | None = None

    def feed(self, text: str) -> None:
        if self._settled is None:
            self._head += text
            only = self._input.signature.only_text(self._key, self._head)
            if only is None:
                return
            self._settled = _Text(self._input, self._key) if only else _Whole(self._input, self._key, "")
            text = self._head
        self._settled.feed(text)

    def close(self, cut: bool) -> None:
        if self._settled is None:
            self._settled = _Whole(self._input, self._key, "")
            self._settled.feed(self._head)
        self._settled.close(cut)


class Unwrapped:
    """A value without the line break on each side that is markup. One at its end counts only if there was one of the
    same kind at its beginning: models that write values inline mean it."""

    def __init__(self, value: Value) -> None:
        self._value = value
        self._break: str | None = None
        self._held = ""

    def feed(self, text: str) -> None:
        text = self._held + text
        self._held = ""
        if self._break is None:
            if text == "\r":
                self._held = text
                return
            self._break = next((each for each in ("\r\n", "\n") if text.startswith(each)), "")
            text = text.removeprefix(self._break)
        size = next((size for size in range(len(self._break), 0, -1) if text.endswith(self._break[:size])), 0)
        self._held = text[len(text) - size :]
        text = text[: len(text) - size]
        if text:
            self._value.feed(text)

    def close(self, cut: bool) -> None:
        if self._held and self._held != self._break:
            self._value.feed(self._held)
        self._value.close(cut)


class Unsectioned:
    """A value without the `<![CDATA[` and `]]>` that some models put around text."""

    def __init__(self, value: Value) -> None:
        self._value = value
        self._head: str | None = ""
        self._sectioned = False
        self._held = ""

    def feed(self, text: str) -> None:
        if self._head is not None:
            self._head += text
            if _OPEN.startswith(self._head.lstrip()[: len(_OPEN)]) and len(self._head.lstrip()) < len(_OPEN):
                return
            text, self._head = self._head, None
            self._sectioned = text.lstrip().startswith(_OPEN)
            text = text.lstrip().removeprefix(_OPEN) if self._sectioned else text
        if self._sectioned:
            text = self._held + text
            held = next((size for size in range(2, 0, -1) if text.endswith(_CLOSE[:size])), 0)
            body = text.rstrip()
            held = len(text) - len(body) + 3 if body.endswith(_CLOSE) else held
            self._held = text[len(text) - held :]
            text = text[: len(text) - held]
        if text:
            self._value.feed(text)

    def close(self, cut: bool) -> None:
        rest = (self._head or "") + ("" if self._held.startswith(_CLOSE) else self._held)
        if rest and not (cut and self._head):
            self._value.feed(rest)
        self._value.close(cut)


_OPEN, _CLOSE = "<![CDATA[", "]]>"
