"""The tokenizer of a llama.cpp server, by its routes `/tokenize` and `/detokenize`, which it answers beside its
generation queue."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence

from antiphon.engines.answers import Decoded, Encoded, Pieces
from antiphon.engines.attached import Attached
from antiphon.engines.completion_events import Likelihood
from antiphon.engines.llama_server.blocks import blocks

_LIKE_CONTROL = re.compile(r"<[^<>\s'\"]{1,60}>|\[/?[A-Z_]{2,40}\]")


class ServerTokenizer:
    """The tokenizer of one server. `exact_cuts` says, once it is measured, whether a text may be cut before it is
    tokenised and is still the same text."""

    def __init__(self, server: Attached) -> None:
        self._server = server
        self._spelled: dict[int, bytes] = {}
        self.exact_cuts = False

    async def measure(self) -> None:
        """Find out about `exact_cuts`."""
        ids = await self.tokenise(["<tool", "_call>"])
        self.exact_cuts = await self._text(ids) == "<tool_call>"

    async def start(self) -> tuple[int, ...]:
        """The ids that the server puts before a text."""
        plain = await self.tokenise(["a"])
        full = (await self._server.ask("POST", "/tokenize", Encoded, {"content": "a", "add_special": True})).tokens
        return tuple(full[: full.index(plain[0])]) if plain and plain[0] in full else ()

    async def control_tokens(self, template: str, named: Iterable[str]) -> tuple[str, ...]:
        """The control tokens that can be told from outside: what looks like one in the chat template, or is `named`,
        and is one token in the vocabulary."""
        candidates = {*_LIKE_CONTROL.findall(template), *filter(None, named)}
        sizes = await asyncio.gather(*(self.tokenise([text]) for text in candidates))
        return tuple(text for text, ids in zip(candidates, sizes, strict=True) if len(ids) == 1)

    async def tokenise(self, segments: Sequence[str]) -> list[int]:
        """The ids of the segments, each tokenised on its own and joined."""
        ids: list[int] = []
        for block in blocks(segments, within=self.exact_cuts):
            body = {"content": block, "add_special": False, "parse_special": True}
            ids += (await self._server.ask("POST", "/tokenize", Encoded, body)).tokens
        return ids

    async def spell(self, ids: Sequence[int]) -> list[bytes]:
        """By `/detokenize`, and `/tokenize` of what that gives: only there the server tells single tokens that are no
        whole characters. The text may have other ids; those are asked for one by one."""
        if set(ids) - self._spelled.keys():
            body = {"content": await self._text(ids), "add_special": False, "parse_special": True, "with_pieces": True}
            for token in (await self._server.ask("POST", "/tokenize", Pieces, body)).tokens:
                piece = token.piece
                self._spelled[token.id] = piece.encode() if isinstance(piece, str) else bytes(piece)
        for id in set(ids) - self._spelled.keys():
            self._spelled[id] = (await self._text([id])).encode()
        return [self._spelled[id] for id in ids]

    def learn(self, likelihoods: Iterable[Likelihood]) -> None:
        """Keep the spellings that come with alternatives: of parts of characters the server cannot be asked later."""
        for each in likelihoods:
            self._spelled |= {near.id: bytes(near.bytes) for near in each.top_logprobs if near.bytes}

    async def _text(self, ids: Sequence[int]) -> str:
        return (await self._server.ask("POST", "/detokenize", Decoded, {"tokens": list(ids)})).content
