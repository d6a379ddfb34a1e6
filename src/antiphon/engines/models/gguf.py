"""Reads what a GGUF file says of its model: names, window, chat templates, control tokens. Nothing of the weights.

The header is a list of typed key-value pairs, followed by the tensors. Most of its bytes are the vocabulary and
the merges; these are walked over without making objects of them, because a worker reads this while it starts.
The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from array import array
from collections.abc import Callable
from os import PathLike
from typing import Literal, TypeVar

import msgspec

Scalar = int | float | bool | str
T = TypeVar("T")

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_READERS = {kind: struct.Struct("<" + code) for kind, code in zip(_SIZES, "BbHhIif?Qqd", strict=True)}
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")
_ARRAY_HEAD = struct.Struct("<IQ")
_TOKENS, _TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
_MOST_NESTED = 4
# Lists of the vocabulary are longer; those of layers are not.
_LONGEST_LIST = 1024


class SpecialToken(msgspec.Struct, frozen=True):
    """A token that stands for itself in a prompt: its text, its id, and how the vocabulary classes it.

    llama.cpp matches `user_defined` ones in text even when it is told not to parse special tokens."""

    text: str
    id: int
    kind: Literal["unknown", "control", "user_defined"]


_KINDS: dict[int, Literal["unknown", "control", "user_defined"]] = {2: "unknown", 3: "control", 4: "user_defined"}


class ModelFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says of its model. `window` is in tokens, 0 when not said; ids are -1 when not said.

    `chat_templates` has the main one under "default". `sampling` are the makers' recommendations by the
    last part of their keys (`temp`, `top_p`, …). `values` holds every single value of the header by its key, `lists`
    the short lists of numbers, such as those that say something of each layer."""

    name: str
    architecture: str
    window: int
    chat_templates: dict[str, str]
    special_tokens: tuple[SpecialToken, ...]
    bos_id: int
    eos_id: int
    bos_token: str
    eos_token: str
    add_bos: bool
    sampling: dict[str, Scalar]
    values: dict[str, Scalar]
    lists: dict[str, tuple[int | float | bool, ...]] = {}

    @property
    def chat_template(self) -> str:
        """The main chat template, or an empty text."""
        return self.chat_templates.get("default", "")

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """The texts that become single tokens, in the order of their ids."""
        return tuple(token.text for token in self.special_tokens)


class _Header:
    """A cursor over the header. Whatever runs past the end of the file raises ValueError."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.offset = 0
        self.values: dict[str, Scalar] = {}
        self.lists: dict[str, tuple[int | float | bool, ...]] = {}
        self.spans: dict[str, slice] = {}
        """Where each pair stands, its key included."""
        self.token_starts: list[int] = []
        self.token_types = array("i")

    def skip(self, size: int) -> int:
        """Move on by `size` bytes; gives where it was."""
        start, self.offset = self.offset, self.offset + size
        if self.offset > len(self.data):
            raise ValueError("it ends in the middle of its header")
        return start

    def number(self, kind: int) -> int | float | bool:
        if kind not in _READERS:
            raise ValueError(f"it has a value of the unknown type {kind}")
        value: int | float | bool = _READERS[kind].unpack_from(self.data, self.skip(_SIZES[kind]))[0]
        return value

    def text(self) -> str:
        size = int(self.number(10))
        start = self.skip(size)
        return self.data[start : self.offset].decode("utf-8", "replace")

    def strings(self, count: int, starts: list[int] | None = None) -> None:
        """Walk over `count` strings, noting where each begins. Two loops, because one is run a hundred thousand times
        for the vocabulary and once more for the merges."""
        offset, unpack, data = self.offset, _LENGTH.unpack_from, self.data
        if starts is None:
            for _ in range(count):
                offset += unpack(data, offset)[0] + 8
        else:
            for _ in range(count):
                starts.append(offset)
                offset += unpack(data, offset)[0] + 8
        self.offset = offset
        self.skip(0)

    def array(self, key: str, depth: int = 0) -> None:
        start = self.skip(_ARRAY_HEAD.size)
        kind, count = _ARRAY_HEAD.unpack_from(self.data, start)
        if kind == _STRING:
            self.strings(count, self.token_starts if key == _TOKENS else None)
        elif kind == _ARRAY and depth < _MOST_NESTED:
            for _ in range(count):
                self.array("", depth + 1)
        elif kind in _SIZES:
            start = self.skip(_SIZES[kind] * count)
            if key and count <= _LONGEST_LIST:
                self.lists[key] = tuple(
                    number for (number,) in _READERS[kind].iter_unpack(self.data[start : self.offset])
                )
            if key == _TYPES and _SIZES[kind] == self.token_types.itemsize:
                self.token_types.frombytes(self.data[start : self.offset])
        else:
            raise ValueError(f"it has an array of the unknown type {kind}")

    def read(self) -> None:
        """Read everything up to the tensors."""
        magic, version, _, count = struct.unpack_from("<4sIQQ", self.data, self.skip(24))
        if magic != b"GGUF":
            raise ValueError("it does not begin with the letters GGUF")
        if version not in (2, 3):
            raise ValueError(f"its version is {version:#x}; versions 2 and 3, little-endian, can be read")
        for _ in range(count):
            start, key, kind = self.offset, self.text(), self.number(4)
            if kind == _ARRAY:
                self.array(key)
            else:
                self.values[key] = self.text() if kind == _STRING else self.number(int(kind))
            self.spans[key] = slice(start, self.offset)

    def token(self, number: int) -> str:
        """The text of a token, empty when there is no such token."""
        if not 0 <= number < len(self.token_starts):
            return ""
        self.offset = self.token_starts[number]
        return self.text()


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says of its tokenizer, as it stands there: `pairs` of the header by their keys, and how many tokens
    there are."""

    pairs: dict[str, bytes]
    tokens: int


def read(path: str | PathLike[str]) -> ModelFile:
    """What the file says of its model. Raises ValueError when it is no GGUF file or is cut short, OSError when
    it cannot be opened."""
    return _read(path, _model_file)


def read_vocabulary(path: str | PathLike[str]) -> Vocabulary:
    """The file's vocabulary. Raises as `read` does."""
    return _read(path, _vocabulary)


def _read(path: str | PathLike[str], take: Callable[[_Header], T]) -> T:
    with open(path, "rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                header = _Header(data)
                header.read()
                return take(header)
        except (ValueError, struct.error, OverflowError) as error:
            # A length that leads far beyond the end fails in the one or the other way.
            reason = error if isinstance(error, ValueError) else "it ends in the middle of its header"
            raise ValueError(f"{path} is not a usable GGUF file: {reason}") from None


def _vocabulary(header: _Header) -> Vocabulary:
    spans = {key: span for key, span in header.spans.items() if key.startswith("tokenizer.") or key == "general.name"}
    return Vocabulary(pairs={key: header.data[span] for key, span in spans.items()}, tokens=len(header.token_starts))


def _model_file(header: _Header) -> ModelFile:
    values = header.values

    def text(key: str) -> str:
        value = values.get(key, "")
        return value if isinstance(value, str) else ""

    def whole(key: str, otherwise: int) -> int:
        value = values.get(key, otherwise)
        return value if isinstance(value, int) else otherwise

    architecture = text("general.architecture")
    templates = "tokenizer.chat_template"
    bos, eos = whole("tokenizer.ggml.bos_token_id", -1), whole("tokenizer.ggml.eos_token_id", -1)
    return ModelFile(
        name=text("general.name"),
        architecture=architecture,
        window=whole(f"{architecture}.context_length", 0),
        chat_templates={
            key[len(templates) + 1 :] or "default": value
            for key, value in values.items()
            if isinstance(value, str) and (key == templates or key.startswith(templates + "."))
        },
        special_tokens=tuple(
            SpecialToken(header.token(number), number, _KINDS[kind])
            for number, kind in enumerate(header.token_types)
            if kind in _KINDS
        ),
        bos_id=bos,
        eos_id=eos,
        bos_token=header.token(bos),
        eos_token=header.token(eos),
        add_bos=values.get("tokenizer.ggml.add_bos_token") is True,
        sampling={
            key.removeprefix("general.sampling."): value
            for key, value in values.items()
            if key.startswith("general.sampling.")
        },
        values=values,
        lists=header.lists,
    )
