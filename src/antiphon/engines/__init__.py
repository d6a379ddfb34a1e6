"""Engines turn token ids into token ids. This file holds their protocol, and finds the files that speak it.

An engine is always another process or another machine. It knows nothing of conversations, tools or APIs.
Closing is cancelling: leaving `generate`, for whatever reason, frees the engine's slot.

Knows: api, storage.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import msgspec

from antiphon.api.conversation import Sampling
from antiphon.api.tokens import Token

if TYPE_CHECKING:
    from antiphon.engines.chat import ChatServer


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine says of the model it runs.

    `window` is the context length in tokens, prompt and reply together. `control_tokens` are the texts that the
    tokenizer turns into single control or added tokens; whatever a user types must never become one. `start` are the
    ids that the vocabulary demands at the beginning of every prompt.
    `exact_cuts` says that tokenising two halves of a text apart and joining the ids keeps the text. `slots` is how many
    generations it works on at once, 0 where it does not say. `adapters` are the names of those (LoRA) that a job may
    ask for. `alternatives` is how many of the likeliest tokens it tells at most beside the log-probability of the one
    sampled; None where it tells no log-probabilities. All ids are below `vocabulary` (0: it does not say). It
    `goes_back` where a generation that was left can go on behind any of its last tokens at no cost."""

    model: str
    window: int
    chat_template: str
    bos_token: str = ""
    eos_token: str = ""
    start: tuple[int, ...] = ()
    control_tokens: tuple[str, ...] = ()
    exact_cuts: bool = True
    vision: bool = False
    media_marker: str = ""
    grammar: Literal["llguidance", "xgrammar", "json_schema", "none"] = "none"
    created: int = 0
    slots: int = 0
    adapters: tuple[str, ...] = ()
    alternatives: int | None = None
    vocabulary: int = 0
    goes_back: bool = False


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One generation. `prompt` holds the ids, `images` the pictures that its media markers stand for, in order.

    `max_tokens` is already clamped to the window. `visible` lists control tokens whose text must appear in the output,
    because the format's parser looks for it; `banned` are tokens that must not be sampled. `grammar` is in the dialect
    that the engine described. `conversation` tells conversations apart, so that an engine with several slots can keep a
    cache together. `text` is what `prompt` was tokenised from, for engines that take pictures only beside text.
    `adapter` is one that the engine described (empty: the model as it is). What was computed for one `owner` serves no
    other (empty: everybody is the same). With `alternatives` (0: of none), log-probabilities are told."""

    prompt: Sequence[int]
    max_tokens: int
    sampling: Sampling = Sampling()
    visible: tuple[str, ...] = ()
    grammar: str | None = None
    images: tuple[bytes, ...] = ()
    banned: tuple[int, ...] = ()
    conversation: str | None = None
    text: str = ""
    adapter: str = ""
    owner: str = ""
    alternatives: int | None = None


class Prefilled(msgspec.Struct, frozen=True):
    """The engine is at work on the prompt: of its `prompt` tokens, `cached` need not be computed again, `restored` of
    them because they were read from disk. So many are `read` by now, the cached ones among them."""

    prompt: int
    cached: int
    restored: int = 0
    read: int = 0


End = Literal["none", "stop", "length"]
"""Why generation ended: `stop` (the model ended its turn), `length` (the limit of the job) or `none` (not yet over)."""


class Piece(msgspec.Struct, frozen=True, gc=False):
    """The least the engine gives: text, how many tokens were sampled for it (mostly one) and their ids, and, on the
    last one, why it ended.

    Engines that hold half a character back may lose the ids of its first tokens: then there are fewer ids than `count`.
    `tokens` are these ids with their log-probabilities, where the job asked for them."""

    text: str
    count: int
    ids: Sequence[int] = ()
    end: End = "none"
    tokens: Sequence[Token] = ()


class Health(msgspec.Struct, frozen=True):
    """Whether the engine can take work, and a sentence for people. While it is `loading`, work that was taken waits."""

    ready: bool
    detail: str = ""
    loading: bool = False


class Engine(Protocol):
    """The seam to whatever runs the model. Errors are `EngineFailed`, `Overloaded`, `TimedOut` or `BadRequest`."""

    async def describe(self) -> Description:
        """What runs here. Waits for a starting engine within its own bound."""

    async def tokenise(self, segments: Sequence[str]) -> list[int]:
        """The ids of the segments, each tokenised on its own and joined; control tokens' texts become control
        tokens, no start token is added. Never waits for a generation slot."""

    async def picture_tokens(self, pictures: Sequence[bytes]) -> int:
        """How many tokens the pictures take in a prompt; 0 where the engine cannot tell beforehand. Never waits for a
        generation slot."""

    async def spell(self, ids: Sequence[int]) -> list[bytes]:
        """The bytes that each id stands for, a control token's text too. Never waits for a generation slot."""

    def generate(self, job: Job) -> AsyncGenerator[Prefilled | list[Piece], None]:
        """Sample. Yields whatever pieces one read brought; the last piece has an `end`. Yields a `Prefilled`, first
        where the engine knows by then, else before the pieces that it comes with. A second one takes its place: there
        may be one for every step of a long prompt."""

    async def health(self) -> Health:
        """Whether it answers now. Never raises."""

    async def close(self) -> None:
        """Let go of connections."""


@runtime_checkable
class UpdatesWeights(Protocol):
    """An engine that can be told to take its weights anew while it runs."""

    async def update_weights(self, place: str, *, before: str, abort: bool) -> None:
        """Take them from this place, and forget what was computed with the old ones, which came from `before` (either
        may be empty: from where the server took them when it started). To `abort` is to end what runs first; else the
        engine does what it does of its own accord. Where it fails, the old ones stay in force."""


class Prefixes(msgspec.Struct, frozen=True, kw_only=True):
    """The store of computed prefixes: its folder, how many bytes it may hold, and the digest of the engine that tells
    whose states fit it (`identity.py`)."""

    folder: str
    capacity: int
    engine: bytes


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach an engine. It may ask for a `key`; `tokenizer` is the folder or hub id of its tokenizer files.
    `patience` is how many seconds a request waits for a server that is (re)starting, `silence` how many a server may
    say nothing in the middle of its work. Where its slots are ours to give, `slots` is the file in which the workers
    note who has which (empty: there is one worker), and `prefixes` the store of what they lose. `adapters` are the
    files of adapters by the names that are theirs here, for a server that calls them by their files. An engine that
    ends may have said why in the file `cause`."""

    key: str = ""
    tokenizer: str = ""
    patience: float = 30.0
    silence: float = 600.0
    slots: str | None = None
    prefixes: Prefixes | None = None
    adapters: dict[str, str] = {}
    cause: str = ""


class EngineKind(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine file exports as `ENGINE`: the URL scheme it is attached by and `connect(address, reach)`, which
    makes the engine (or the chat server) without talking to it yet. The rest is for the documentation: what it is in a
    few words, a command to `start` it, what it `takes` beyond text, what it `lacks`, and what `shows` that all this
    holds."""

    scheme: str
    summary: str
    connect: Callable[[str, Reach], Engine | ChatServer]
    start: str
    takes: tuple[str, ...]
    shows: str
    lacks: tuple[str, ...] = ()


def kinds() -> dict[str, EngineKind]:
    """Every engine of this folder by its scheme. Raises ValueError when two claim the same one."""
    by_scheme: dict[str, EngineKind] = {}
    for info in pkgutil.iter_modules(__path__):
        kind = getattr(importlib.import_module(f"{__name__}.{info.name}"), "ENGINE", None)
        if isinstance(kind, EngineKind):
            if kind.scheme in by_scheme:
                raise ValueError(f"two engines claim the scheme {kind.scheme!r}")
            by_scheme[kind.scheme] = kind
    return by_scheme


def connect(target: str, reach: Reach | None = None) -> Engine | ChatServer:
    """The engine at `scheme+address` (`llama.cpp+http://host:8080`, `scripted+/path`). ValueError when unknown."""
    scheme, _, address = target.partition("+")
    known = kinds()
    if scheme not in known:
        raise ValueError(f"unknown engine {scheme!r} in {target!r}; known: {', '.join(sorted(known))}")
    return known[scheme].connect(address, reach or Reach())
