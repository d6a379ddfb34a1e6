"""What engines share that take token ids over HTTP and give token ids back: from requests to pieces.

An engine file adds what is its own: where it says what it runs, the body of a request, and how to read its events.
"""

from __future__ import annotations

import abc
import asyncio
import base64
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Literal

import msgspec

from antiphon.api.tokens import Token
from antiphon.engines import Description, End, Health, Job, Piece, Prefilled
from antiphon.engines.answers import Encoded
from antiphon.engines.attached import Attached
from antiphon.engines.models import tokenizer_files
from antiphon.engines.models.tokenizer_files import TokenizerFiles
from antiphon.engines.upstream import ReportedFailure

BANNED = -100.0
"""The bias that keeps a token from being sampled."""
ENDS: dict[str, End] = {"stop": "stop", "length": "length"}
"""The reasons that such servers give for the end of a reply; any other is a failure."""


def end_of(reason: str | None) -> End:
    """The end that a reason says, `none` where there is none yet. Raises ReportedFailure for one that is a failure."""
    if reason is not None and reason not in ENDS:
        raise ReportedFailure(f"it says {reason!r}")
    return ENDS.get(reason or "", "none")


Dialect = Literal["llguidance", "xgrammar", "json_schema", "none"]


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of itself. `places` are where its tokenizer files may be, `window` is 0 when not said.
    `adapters` are the names of those that it has for the model."""

    model: str
    grammar: Dialect
    places: tuple[str, ...] = ()
    window: int = 0
    created: int = 0
    slots: int = 0
    adapters: tuple[str, ...] = ()
    alternatives: int | None = None


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """What one event of a stream brings. `prompt` and `cached` are counts of the prompt's tokens, None where the event
    does not say; `tokens` are the ids with their log-probabilities, if these were asked for; `over` is set on the last
    event."""

    text: str = ""
    ids: Sequence[int] = ()
    end: End = "none"
    prompt: int | None = None
    cached: int | None = None
    over: bool = False
    tokens: Sequence[Token] = ()


Reader = Callable[[bytes], Delta]
"""Reads the events of one stream, one after the other. Raises ReportedFailure for an event that tells of a failure."""


class _Decoded(msgspec.Struct):
    """Servers call the text by either name."""

    prompt: str | None = None
    text: str | None = None


class TokenServer(abc.ABC):
    """An engine of this kind. `tokenizer` is the path or hub id of its tokenizer files; without, the server's own
    tokenizer is asked, where it has one."""

    def __init__(self, server: Attached, tokenizer: str = "") -> None:
        self._server = server
        self._tokenizer = tokenizer
        self._files: TokenizerFiles | None = None
        self._runs: Runs | None = None
        # Texts of the tokens that are not to be seen unless a job says so, by id.
        self._hidden: dict[int, str] = {}

    @abc.abstractmethod
    async def _ask_server(self) -> Runs:
        """What the server says of itself."""

    @abc.abstractmethod
    def _request(self, job: Job, *, shows_special: bool) -> tuple[str, dict[str, Any]]:
        """Where to ask for a generation, and the body. `shows_special` says that control tokens are to be seen."""

    @abc.abstractmethod
    def _reader(self, job: Job) -> Reader:
        """What reads the answer."""

    async def describe(self) -> Description:
        """From the server and from the tokenizer files. Raises ValueError where neither says what must be known."""
        self._runs = runs = await self._ask_server()
        self._files = files = await asyncio.to_thread(tokenizer_files.find, self._tokenizer, runs.places)
        window = runs.window or (files.window if files else 0)
        if not window:
            raise ValueError(
                f"{self._server.upstream} does not say which model it runs; name its tokenizer with --tokenizer"
            )
        if files is None:
            return Description(
                model=runs.model,
                window=window,
                chat_template="",
                start=await self._start(),
                grammar=runs.grammar,
                created=runs.created,
                slots=runs.slots,
                adapters=runs.adapters,
                alternatives=runs.alternatives,
            )
        self._hidden = {id: text for text, id in files.added.items() if id in files.special}
        return Description(
            model=runs.model,
            window=window,
            chat_template=files.chat_template,
            bos_token=files.bos_token,
            eos_token=files.eos_token,
            start=files.start,
            control_tokens=tuple(files.added),
            exact_cuts=files.exact_cuts,
            vision=bool(files.image),
            media_marker=files.image,
            grammar=runs.grammar,
            created=runs.created,
            slots=runs.slots,
            adapters=runs.adapters,
            alternatives=runs.alternatives,
            vocabulary=files.vocabulary,
        )

    async def _start(self) -> tuple[int, ...]:
        plain, full = [await self._encoded("a", special) for special in (False, True)]
        return tuple(full[: full.index(plain[0])]) if plain and plain[0] in full else ()

    async def tokenise(self, segments: Sequence[str]) -> list[int]:
        """By the tokenizer files, or by the server."""
        if self._files is not None:
            return await self._files.tokenise(segments)
        found = await asyncio.gather(*(self._encoded(text, False) for text in segments if text))
        return [id for ids in found for id in ids]

    async def _encoded(self, text: str, special: bool) -> list[int]:
        """The ids by the server's own tokenizer, with the start tokens where `special`."""
        body = {"prompt": text, "add_special_tokens": special}
        return (await self._server.ask("POST", "/tokenize", Encoded, body)).tokens

    async def picture_tokens(self, pictures: Sequence[bytes]) -> int:
        """It tells with the reply, not beforehand."""
        return 0

    async def spell(self, ids: Sequence[int]) -> list[bytes]:
        """By the tokenizer files, or by the server, which tells characters only: a part of one is its stand-in then."""
        if self._files is not None:
            return [self._files.spelt(id) for id in ids]
        distinct = list(set(ids))
        answers = await asyncio.gather(
            *(self._server.ask("POST", "/detokenize", _Decoded, {"tokens": [id]}) for id in distinct)
        )
        texts = {
            id: (answer.prompt or answer.text or "").encode() for id, answer in zip(distinct, answers, strict=True)
        }
        return [texts[id] for id in ids]

    async def generate(self, job: Job) -> AsyncGenerator[Prefilled | list[Piece], None]:
        """Streamed. What was cached is told with the first piece or, by servers that tell it last, before the last."""
        shown = {self._files.added.get(text) for text in job.visible} if self._files else set()
        # Without the files it is not known which tokens are special, so what must be seen may be one.
        shows_special = bool(shown & self._hidden.keys()) if self._files else bool(job.visible)
        hidden = {id: text if shows_special else "" for id, text in self._hidden.items() if id not in shown}
        if job.images:
            # The ids of a prompt with pictures leave out what stands for them.
            ids = await self.tokenise([job.text])
            start = list(self._files.start) if self._files else []
            job = msgspec.structs.replace(job, prompt=ids if ids[: len(start)] == start else [*start, *ids])
        path, body = self._request(job, shows_special=shows_special)
        reported, last = False, list[Piece]()
        async with aclosing(self._server.stream(path, body, self._reader(job))) as reads:
            async for deltas in reads:
                pieces, over = list[Piece](), False
                for delta in deltas:
                    if delta.prompt is not None and delta.cached is not None and not reported:
                        reported = True
                        yield Prefilled(delta.prompt, delta.cached)
                    found = _pieces(delta, hidden)
                    if delta.end == "none":
                        pieces += found
                    else:
                        last = found
                    over = over or delta.over
                if over and not last:
                    raise self._server.upstream.failure_of(f"POST {path}", "it ended the reply without saying why")
                if batch := [*pieces, *last] if over else pieces:
                    yield batch
                if over:
                    return

    async def health(self) -> Health:
        """By `/health`."""
        return await self._server.health()

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()


def _pieces(delta: Delta, hidden: dict[int, str]) -> list[Piece]:
    """An event as pieces: without the text of tokens that are not to be seen, and with a token that ended the turn in a
    piece of its own, so that whoever remembers what was sampled can leave it out."""
    text, ids = delta.text, delta.ids
    for id in ids:
        if hidden.get(id):
            text = text.replace(hidden[id], "", 1)
    if delta.end == "stop" and text and len(ids) > 1 and ids[-1] in hidden:
        first = Piece(text, len(ids) - 1, ids[:-1], "none", delta.tokens[:-1])
        return [first, Piece("", 1, ids[-1:], "stop", delta.tokens[-1:])]
    return [Piece(text, len(ids), ids, delta.end, delta.tokens)] if text or ids or delta.end != "none" else []


def pictures(job: Job) -> list[str]:
    """The pictures as data URLs. The type is left for the engine to find out; it reads the bytes anyway."""
    return [f"data:image/png;base64,{base64.b64encode(image).decode()}" for image in job.images]


def sampling_fields(job: Job, *names: str) -> dict[str, Any]:
    """Those of the sampling settings with these names that were given."""
    return {name: value for name in names if (value := getattr(job.sampling, name)) is not None}


def tokens(
    ids: Sequence[int], logprobs: Sequence[float | None], tops: Sequence[Sequence[tuple[int, float]]] = ()
) -> list[Token]:
    """The ids with what was told of each: nothing where they are not told one by one."""
    if len(logprobs) != len(ids):
        return []
    tops = tops if len(tops) == len(ids) else [()] * len(ids)
    return [
        Token(id, logprob, tuple(sorted(top, key=lambda each: each[1], reverse=True)))
        for id, logprob, top in zip(ids, logprobs, tops, strict=True)
    ]
