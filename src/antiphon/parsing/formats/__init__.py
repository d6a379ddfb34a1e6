"""Formats: how a model family writes tool calls and thinking. The folder is the registry.

A file here exports `FORMATS` (ways to write calls) and `REASONINGS` (ways to mark thinking). A new family is a new
file; the laws, the command line and the documentation find it by itself.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from antiphon.constraint import Node
from antiphon.parsing.splitter import Reading

if TYPE_CHECKING:
    from antiphon.parsing.reader import Reader

Read = Callable[["Reader", str], Reading[bool]]
"""Reads what follows an opening marker (empty for a bare call). Returns whether there was a call; where not, nothing
was begun and the text is given back. It uses up the closing marker."""

ReadTurn = Callable[["Reader", "Format", "Reasoning"], Reading[None]]
"""Reads a whole reply, for the formats whose replies are a sequence of messages."""

Grammar = Callable[[Sequence[tuple[str, dict[str, Any]]], int], Node]
"""What must be true of an output that is calls and nothing else: from the tools' names and schemas, and how many calls
there may be at most. At least one is demanded."""


Triggers = Callable[[Sequence[tuple[str, dict[str, Any]]]], tuple[tuple[str, Node], ...]]
"""The texts that calls of these tools begin with in the midst of others, each with the grammar of what follows it."""


class Example(msgspec.Struct, frozen=True):
    """A raw output, and the calls it means as (name, JSON text of the input)."""

    raw: str
    calls: tuple[tuple[str, str], ...]


def never(template: str) -> bool:
    """The fingerprint of a format that no chat template tells of."""
    return False


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    names: tuple[str, ...]
    summary: str

    @property
    def name(self) -> str:
        """The record's own name."""
        return self.names[0]

    @property
    def aliases(self) -> tuple[str, ...]:
        """Its other names."""
        return self.names[1:]


class Format(_Record, frozen=True, kw_only=True):
    """How a model family writes tool calls.

    `names` are the format's own name first, then the aliases of other servers' `--tool-call-parser`. `openers` are
    the markers that a call begins with; `bare` holds the characters that an unmarked call may begin with at the
    start of a message, `hints` the ordinary texts that one may begin with in the midst of other text: there only a
    declared name makes a call, and in thinking nothing does. `visible` lists further markers the reader looks for,
    which may be control tokens that an engine would otherwise leave out; `turn_ends` are tokens that end a turn in
    this family and are text, or none at all, in others. `recognises` looks at a chat template; of
    several that say yes, the one with the highest `rank` is taken. `reasoning` names the marking of thinking that
    goes with the format.
    `call_id` makes the id that the family's templates demand from (tool name, index in the conversation). `grammar`
    holds forced calls to the format; where other calls begin otherwise than with an opener or with the beginning of
    such a call, `triggers` says how. `asides` are those of the openers that open anything but calls. `answer` makes of
    a demand on the visible answer one on the whole output, where an answer has a header of its own."""

    read: Read
    openers: tuple[str, ...] = ()
    asides: tuple[str, ...] = ()
    bare: str = ""
    hints: tuple[str, ...] = ()
    visible: tuple[str, ...] = ()
    turn_ends: tuple[str, ...] = ()
    read_turn: ReadTurn | None = None
    recognises: Callable[[str], bool] = never
    rank: int = 0
    reasoning: str = "think"
    call_id: Callable[[str, int], str] | None = None
    grammar: Grammar | None = None
    triggers: Triggers | None = None
    answer: Callable[[Node], Node] | None = None
    example: Example | None = None


class Reasoning(_Record, frozen=True, kw_only=True):
    """How thinking is marked. `names` are its own name and the aliases of other servers' `--reasoning-parser`.

    `opens` and `closes` are alternative markers. `dropped` are markers around the visible answer that are no part of
    it; `messages` says that they part messages, each a paragraph. `forced` says that a reply begins inside thinking
    although nothing in the prompt's tail says so, `anywhere` that the opening markers are control tokens, which open
    thinking in the midst of text as well. `closing` is the text that ends thinking and begins the answer, for when
    thinking is cut short (by default the first of `closes` and an empty line)."""

    opens: tuple[str, ...] = ()
    closes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    messages: bool = False
    forced: bool = False
    anywhere: bool = False
    closing: str = ""
    recognises: Callable[[str], bool] = never
    rank: int = 0

    @property
    def cut_short(self) -> str:
        """What is written for the model where its thinking is cut short; empty where thinking is not marked."""
        return self.closing or (self.closes[0] + "\n\n" if self.closes else "")

    def opened_by(self, tail: str) -> bool:
        """Whether a reply to a prompt with this tail begins inside thinking."""
        tail = tail.rstrip()
        if self.opens and tail.endswith(self.opens):
            return True
        return self.forced and not (self.closes and tail.endswith(self.closes))


def _collect(attribute: str) -> dict[str, Format | Reasoning]:
    records: dict[str, Format | Reasoning] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for record in getattr(module, attribute, ()):
            for name in record.names:
                if name in records:
                    raise ValueError(f"two records of {attribute} are named {name!r}")
                records[name] = record
    return records


@lru_cache(maxsize=1)
def registry() -> dict[str, Format]:
    """Every format by its own name."""
    return {f.name: f for f in _collect("FORMATS").values() if isinstance(f, Format)}


@lru_cache(maxsize=1)
def reasonings() -> dict[str, Reasoning]:
    """Every marking of thinking by its own name."""
    return {r.name: r for r in _collect("REASONINGS").values() if isinstance(r, Reasoning)}


def format_named(name: str) -> Format:
    """The format of this name or alias. ValueError lists what is known."""
    for record in registry().values():
        if name in record.names:
            return record
    raise ValueError(f"unknown tool call parser {name!r}; known: auto, {', '.join(sorted(registry()))}")


def reasoning_named(name: str) -> Reasoning:
    """The marking of this name or alias. ValueError lists what is known."""
    for record in reasonings().values():
        if name in record.names:
            return record
    raise ValueError(f"unknown reasoning parser {name!r}; known: auto, {', '.join(sorted(reasonings()))}")


def recognise_format(template: str) -> Format | None:
    """The format that a chat template tells of."""
    fitting = [f for f in registry().values() if f.recognises(template)]
    return max(fitting, key=lambda f: f.rank, default=None)


def recognise_reasoning(template: str) -> Reasoning | None:
    """The marking of thinking that a chat template tells of."""
    fitting = [r for r in reasonings().values() if r.recognises(template)]
    return max(fitting, key=lambda r: r.rank, default=None)
