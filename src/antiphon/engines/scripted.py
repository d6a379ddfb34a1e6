"""Replays a script: what a model would say, with delays and failures, for tests, documentation and benchmarks.

It is an engine like the others: token ids in, pieces out, slots that are freed when a generation is left. Only the
sampling is read from a file instead of drawn. Ids are made from words, so that the same text has the same ids anywhere.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from antiphon.api.errors import EngineFailed
from antiphon.api.tokens import MOST_ALTERNATIVES, Token
from antiphon.engines import Description, EngineKind, Health, Job, Piece, Prefilled, Reach

TEMPLATE = (Path(__file__).parent / "scripted.jinja").read_text()
"""A chat template of the common kind, with tools and thinking."""

_WORD = re.compile(r"\w+|\s+|[^\w\s]")


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reply. It is given when the regular expression `when` is found in the prompt (empty: always); of several
    rules, the first that fits. `text` is cut into words, or `pieces` are the exact pieces. `first_delay` and `delay`
    are the seconds before the first and before each further piece; in the first ones the prompt is read in so many
    `steps`. `end` is why it ends. With `fail_after`, the
    engine breaks off after so many pieces, saying `failure`. `repeat` says the pieces that many times over. With
    `times` the rule is used up after so many replies of this process."""

    when: str = ""
    text: str = ""
    pieces: tuple[str, ...] = ()
    first_delay: float = 0.0
    steps: int = 1
    delay: float = 0.0
    end: Literal["stop", "length"] = "stop"
    fail_after: int | None = None
    failure: str = "the script says to fail here"
    repeat: int = 1
    times: int | None = None

    def spoken(self) -> list[str]:
        """The pieces, in order."""
        return list(self.pieces or re.findall(r"\s*\S+|\s+$", self.text)) * self.repeat


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole script: the rules, and what the engine says of its model. `slots` bounds concurrent generations."""

    rules: tuple[Rule, ...] = (Rule(text="Hello from the script."),)
    model: str = "scripted"
    window: int = 200_000
    template: str = TEMPLATE
    control_tokens: tuple[str, ...] = (
        "<|im_start|>",
        "<|im_end|>",
        "<|endoftext|>",
        "<tool_call>",
        "</tool_call>",
        "<think>",
        "</think>",
    )
    eos_token: str = "<|im_end|>"
    start: tuple[int, ...] = ()
    slots: int = 1000


class Scripted:
    """The engine. `running` counts generations that hold a slot; `jobs` keeps what was asked for, `sampled` the ids
    that were given, newest last. A prompt re-uses what it shares with one of the last, and with the reply to it."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.running = 0
        self.jobs: list[Job] = []
        self.sampled: list[list[int]] = []
        self._slots = asyncio.Semaphore(script.slots)
        self._control = re.compile(
            "|".join(map(re.escape, sorted(script.control_tokens, key=len, reverse=True))) or "$^"
        )
        self._control_ids = {text: index for index, text in enumerate(script.control_tokens)}
        self._texts: OrderedDict[int, str] = OrderedDict()
        self._words_of: dict[int, str] = dict(enumerate(script.control_tokens))
        self._used: Counter[int] = Counter()
        self._seen: list[tuple[int, ...]] = []

    async def describe(self) -> Description:
        """As the script says."""
        script = self.script
        return Description(
            model=script.model,
            window=script.window,
            chat_template=script.template,
            eos_token=script.eos_token,
            start=script.start,
            control_tokens=script.control_tokens,
            slots=script.slots,
            alternatives=MOST_ALTERNATIVES,
        )

    async def tokenise(self, segments: Sequence[str]) -> list[int]:
        """Control tokens get the first ids, every other word one made from its text."""
        ids: list[int] = []
        for segment in segments:
            position = 0
            for match in self._control.finditer(segment):
                ids.extend(self._words(segment[position : match.start()]))
                ids.append(self._control_ids[match[0]])
                position = match.end()
            ids.extend(self._words(segment[position:]))
        self._texts[hash(tuple(ids))] = "".join(segments)
        while len(self._texts) > 1000:
            self._texts.popitem(last=False)
        return ids

    @staticmethod
    def id_of(word: str) -> int:
        """The id of a word, or of a piece of a reply."""
        return 1000 + zlib.crc32(word.encode()) % 2**30

    def _words(self, text: str) -> list[int]:
        return [self._known_id(word) for word in _WORD.findall(text)]

    def _known_id(self, word: str) -> int:
        id = self._control_ids.get(word, self.id_of(word))
        self._words_of[id] = word
        return id

    async def picture_tokens(self, pictures: Sequence[bytes]) -> int:
        """It sees none."""
        return 0

    async def spell(self, ids: Sequence[int]) -> list[bytes]:
        """From every word that this process has met."""
        return [self._words_of.get(id, "\N{REPLACEMENT CHARACTER}").encode() for id in ids]

    def _rule(self, job: Job) -> Rule:
        prompt = job.text or self._texts.get(hash(tuple(job.prompt)), "")
        for index, rule in enumerate(self.script.rules):
            if re.search(rule.when, prompt) and (rule.times is None or self._used[index] < rule.times):
                self._used[index] += 1
                return rule
        raise EngineFailed("no rule of the script fits this prompt")

    async def generate(self, job: Job) -> AsyncGenerator[Prefilled | list[Piece], None]:
        """Replay the rule that fits the prompt, within the job's limit."""
        rule = self._rule(job)
        said: list[int] = []
        self.jobs, self.sampled = [*self.jobs[-99:], job], [*self.sampled[-99:], said]
        async with self._slots:
            self.running += 1
            try:
                length, cached = len(job.prompt), self._cached(tuple(job.prompt))
                for step in range(rule.steps):
                    if rule.steps > 1:
                        yield Prefilled(length, cached, 0, cached + (length - cached) * step // rule.steps)
                    await asyncio.sleep(rule.first_delay / rule.steps)
                if rule.fail_after == 0:
                    raise EngineFailed(rule.failure)
                yield Prefilled(length, cached, 0, length)
                async for piece in self._pieces(rule, job.max_tokens):
                    said.extend(piece.ids)
                    if job.alternatives is not None:
                        tokens = [_scored(id, job.alternatives) for id in piece.ids]
                        piece = Piece(piece.text, piece.count, piece.ids, piece.end, tokens)
                    yield [piece]
            finally:
                self.running -= 1
                self._seen = [*self._seen[-9:], (*job.prompt, *said)]

    async def _pieces(self, rule: Rule, limit: int) -> AsyncGenerator[Piece, None]:
        spoken = rule.spoken()
        for index, text in enumerate(spoken[:limit]):
            if index and rule.delay:
                await asyncio.sleep(rule.delay)
            if rule.fail_after is not None and index >= rule.fail_after:
                raise EngineFailed(rule.failure)
            yield Piece(text, 1, (self._known_id(text),))
        if rule.fail_after is not None and rule.fail_after >= len(spoken[:limit]):
            raise EngineFailed(rule.failure)
        yield Piece("", 0, (), "length" if limit < len(spoken) else rule.end)

    def _cached(self, prompt: tuple[int, ...]) -> int:
        best = 0
        for seen in self._seen:
            same = 0
            for mine, theirs in zip(prompt, seen, strict=False):
                if mine != theirs:
                    break
                same += 1
            best = max(best, same)
        return min(best, len(prompt) - 1)

    async def health(self) -> Health:
        """Always ready."""
        return Health(True, "scripted")

    async def close(self) -> None:
        """Nothing to let go of."""


def _scored(id: int, alternatives: int) -> Token:
    """Nothing is sampled here, so the number is made from the id: anybody can make it again."""
    logprob = -(id % 1000) / 1000
    return Token(id, logprob, tuple((id + place, logprob - place) for place in range(alternatives)))


def _connect(address: str, reach: Reach) -> Scripted:
    if not address:
        return Scripted(Script())
    return Scripted(msgspec.json.decode(Path(address).read_bytes(), type=Script))


ENGINE = EngineKind(
    scheme="scripted",
    summary="replays a script file (JSON) with delays and failures, for tests and benchmarks",
    connect=_connect,
    start="antiphon serve scripted+script.json",
    takes=("a script instead of a model",),
    shows="`make test`, which runs nearly everything over it",
    lacks=("grammars: constraints are checked after the reply", "images"),
)
