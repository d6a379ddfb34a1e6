"""llama.cpp's own server, over its token-level HTTP routes: embedded (our child process) or attached by URL.

Prompts go as ids to `/completion`; the server's cache re-uses the longest prefix it holds. Grammars are llguidance's
Lark dialect. A connection that is closed cancels its generation.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from antiphon.api.errors import Failure
from antiphon.api.offload import offload
from antiphon.api.tokens import MOST_ALTERNATIVES, Token
from antiphon.engines import Description, EngineKind, Health, Job, Piece, Prefilled, Prefixes, Reach
from antiphon.engines.answers import Adapter, Cards, Decoded, Encoded, Pieces, Props, SlotState
from antiphon.engines.attached import Attached
from antiphon.engines.blocks import blocks
from antiphon.engines.cache.prefix_cache import ANY, PrefixCache, Seat
from antiphon.engines.cache.prefix_store import PrefixStore
from antiphon.engines.cache.slots import Slots
from antiphon.engines.completion_events import Chunk, Likelihood, Progress, read, read_with_alternatives
from antiphon.engines.models import gguf, identity
from antiphon.engines.pictures import PictureCosts

log = logging.getLogger("antiphon")

_FIELDS = ["content", "tokens", "stop", "stop_type", "tokens_predicted"]


class LlamaCpp:
    """A llama.cpp server. Its slots are given out here where it is ours alone: `slots` is then the file in which the
    workers share what they know of them (empty: there is one worker), and in `prefixes` is kept what they lose.
    `adapters` names the files of its adapters."""

    def __init__(
        self,
        server: Attached,
        slots: str | None = None,
        prefixes: Prefixes | None = None,
        adapters: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._server = server
        self._adapter_files = adapters
        self._adapters: dict[str, int] = {}
        self._slots_file = slots
        self._stored = prefixes
        self._prefixes = PrefixCache(server, Slots(0))
        self._identities: dict[str, bytes] = {}
        self._costs: PictureCosts | None = None
        self._marker = self._begins = ""
        self._spelled: dict[int, bytes] = {}
        self._exact = False

    async def describe(self) -> Description:
        """From `/props`, and from the model file's header where it can be read on this machine."""
        props = await self._server.ask("GET", "/props", Props)
        card = (await self._server.ask("GET", "/v1/models", Cards)).first
        self._marker = props.media_marker or ""
        vision = bool(props.modalities.vision and self._marker)
        path, template = props.model_path, props.chat_template
        file = await asyncio.to_thread(_header, path)
        named = props.bos_token, props.eos_token
        control = tuple(t.text for t in file.special_tokens) if file else await self._probed(template, named)
        start = await self._start()
        self._exact = await self._exact_cuts()
        # The server puts the start token before a text, be it there already or not.
        self._begins = named[0] if start else ""
        if vision:
            costs = PictureCosts(self._server, self._marker)
            self._costs = costs if await costs.measure() else None
        self._adapters = await self._numbered() if self._adapter_files else {}
        if self._slots_file is not None:
            slots, at = Slots(props.total_slots, self._slots_file), self._stored
            self._prefixes = PrefixCache(self._server, slots, PrefixStore(at.folder, at.capacity) if at else None)
            self._identities = await asyncio.to_thread(self._identified)
        return Description(
            model=(file.name if file else "") or Path(path).stem,
            window=props.default_generation_settings.n_ctx,
            chat_template=template,
            bos_token=named[0],
            eos_token=named[1],
            start=start,
            control_tokens=control,
            exact_cuts=self._exact,
            vision=vision,
            media_marker=self._marker if vision else "",
            grammar="llguidance",
            created=card.created or 0,
            slots=props.total_slots,
            adapters=tuple(self._adapter_files),
            # Guessed tokens come without probabilities.
            alternatives=None if await self._guesses() else MOST_ALTERNATIVES,
            vocabulary=card.vocabulary,
        )

    async def _guesses(self) -> bool:
        """Whether the server guesses tokens ahead. One that does not tell of its slots is taken not to."""
        try:
            return any(slot.speculative for slot in await self._server.ask("GET", "/slots", list[SlotState]))
        except Failure:
            return False

    async def _numbered(self) -> dict[str, int]:
        """The server's numbers of its adapters: of the named ones by their names, of others by their files."""
        if self._slots_file is None:
            log.warning("the attached llama.cpp must run with --cache-ram 0, else its store of prompts mixes adapters")
        listed = await self._server.ask("GET", "/lora-adapters", list[Adapter])
        known = {each.path: each.id for each in listed}
        named = {}
        for name, file in self._adapter_files.items():
            # On another machine the folder may be another.
            path = next((path for path in known if path == file), None) or next(
                (path for path in known if Path(path).name == Path(file).name), None
            )
            if path is None:
                raise ValueError(f"llama.cpp has no adapter {file} (--lora {name}=…): start it with --lora {file}")
            named[name] = known.pop(path)
        return named | known

    def _identified(self) -> dict[str, bytes]:
        """What tells the states of the adapters apart, and those of the model without any."""
        engine = self._stored.engine if self._stored else b""
        return {"": engine} | {name: engine + identity.of_file(file) for name, file in self._adapter_files.items()}

    def _domain(self, job: Job) -> bytes:
        """What is computed in one is of no use to another, or not to be used by it."""
        whose = self._identities.get(job.adapter, job.adapter.encode())
        return hashlib.blake2b(whose + b"\0" + job.owner.encode(), digest_size=16).digest()

    async def _start(self) -> tuple[int, ...]:
        plain = await self.tokenise(["a"])
        full = (await self._server.ask("POST", "/tokenize", Encoded, {"content": "a", "add_special": True})).tokens
        return tuple(full[: full.index(plain[0])]) if plain and plain[0] in full else ()

    async def _exact_cuts(self) -> bool:
        ids = await self.tokenise(["<tool", "_call>"])
        return await self._text(ids) == "<tool_call>"

    async def _text(self, ids: Sequence[int]) -> str:
        return (await self._server.ask("POST", "/detokenize", Decoded, {"tokens": list(ids)})).content

    async def _probed(self, template: str, named: tuple[str, str]) -> tuple[str, ...]:
        """The control tokens that can be told from outside: what looks like one in the template and the vocabulary
        has as one token."""
        candidates = {*re.findall(r"<[^<>\s'\"]{1,60}>|\[/?[A-Z_]{2,40}\]", template), *filter(None, named)}
        sizes = await asyncio.gather(*(self.tokenise([text]) for text in candidates))
        return tuple(text for text, ids in zip(candidates, sizes, strict=True) if len(ids) == 1)

    async def tokenise(self, segments: Sequence[str]) -> list[int]:
        """By `/tokenize`, which the server answers beside its generation queue."""
        ids: list[int] = []
        for block in blocks(segments, within=self._exact):
            body = {"content": block, "add_special": False, "parse_special": True}
            ids += (await self._server.ask("POST", "/tokenize", Encoded, body)).tokens
        return ids

    async def picture_tokens(self, pictures: Sequence[bytes]) -> int:
        """By the server's own count."""
        return await self._costs.of(pictures) if self._costs and pictures else 0

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

    async def generate(self, job: Job) -> AsyncGenerator[Prefilled | list[Piece], None]:
        """By `/completion`, streamed. The beginning that is to be kept by itself is computed by a request of its own,
        which samples nothing."""
        # Which ids the engine has for a picture only it knows.
        prompt = () if job.images else job.prompt
        async with self._prefixes.seat(prompt, job.conversation, self._domain(job)) as seat:
            bodies, cached = [await self._body(job, seat)], None
            if seat.beginning:
                bodies.insert(0, bodies[0] | {"prompt": job.prompt[: seat.beginning], "n_predict": 0, "grammar": ""})
            while bodies:
                body = bodies.pop(0)
                async with aclosing(self._reads(body, seat, job)) as reads:
                    async for read in reads:
                        if isinstance(read, Progress):
                            cached = read.cache if cached is None else cached
                            length = read.total if job.images else len(job.prompt)
                            yield Prefilled(length, cached, min(seat.restored, cached), read.processed)
                        elif not bodies:
                            yield read
                if bodies:
                    await self._prefixes.keep(seat)
                    bodies[0]["cache_prompt"] = True

    async def _reads(self, body: dict[str, Any], seat: Seat, job: Job) -> AsyncGenerator[Progress | list[Piece], None]:
        """What one request brings, up to its end. The seat learns what is in its slot."""
        counted = 0
        understand: Callable[[bytes], Chunk[Any]] = read_with_alternatives if job.alternatives else read
        async with aclosing(self._server.stream("/completion", body, understand)) as reads:
            async for chunks in reads:
                pieces: list[Piece] = []
                for chunk in chunks:
                    if chunk.prompt_progress is not None:
                        done = chunk.prompt_progress
                        self._prefixes.progress(seat, done.cache, done.processed, done.time_ms / 1000)
                        yield done
                        continue
                    count, counted = max(chunk.tokens_predicted - counted, 0), chunk.tokens_predicted
                    tokens = chunk.completion_probabilities
                    if tokens and job.alternatives:
                        tokens = self._tokens(tokens)
                    pieces.append(Piece(chunk.content, count, chunk.tokens, chunk.end, tokens))
                    seat.sampled += chunk.tokens
                if pieces:
                    yield pieces
                    if pieces[-1].end != "none":
                        return

    def _tokens(self, likelihoods: Sequence[Likelihood]) -> list[Token]:
        for each in likelihoods:
            # What the server cannot be asked for afterwards: parts of characters.
            self._spelled |= {near.id: bytes(near.bytes) for near in each.top_logprobs if near.bytes}
        return [each.token for each in likelihoods]

    async def _body(self, job: Job, seat: Seat) -> dict[str, Any]:
        sampling = job.sampling
        body: dict[str, Any] = {
            "prompt": job.prompt,
            "n_predict": job.max_tokens,
            "stream": True,
            "return_tokens": True,
            "return_progress": True,
            "cache_prompt": not seat.fresh,
            "response_fields": _FIELDS,
            "preserved_tokens": job.visible,
        }
        if seat.slot != ANY:
            body["id_slot"] = seat.slot
        if job.images:
            body["prompt"] = await self._with_pictures(job)
        if job.grammar is not None:
            body["grammar"] = job.grammar
        if self._adapters:
            # All of them, each time: of a request that names none, llama.cpp goes on from another adapter's cache.
            scales = {id: float(name == job.adapter) for name, id in self._adapters.items()}
            body["lora"] = [{"id": id, "scale": scale} for id, scale in scales.items()]
        if job.alternatives is not None:
            body["n_probs"] = max(job.alternatives, 1)
            body["response_fields"] = [*_FIELDS, "completion_probabilities"]
        if job.banned:
            body["logit_bias"] = [[token, False] for token in job.banned]
        for name in sampling.__struct_fields__:
            value = getattr(sampling, name)
            if value is not None:
                body[name] = value
        return body

    async def _with_pictures(self, job: Job) -> dict[str, Any]:
        # A server that was started again has another marker than the one described.
        marker = (await self._server.ask("GET", "/props", Props)).media_marker or self._marker
        text = job.text.removeprefix(self._begins).replace(self._marker, marker)
        return {"prompt_string": text, "multimodal_data": await offload(True, partial(_base64, job.images))}

    async def health(self) -> Health:
        """By `/health`."""
        return await self._server.health()

    async def close(self) -> None:
        """Write to disk what would be lost, and close the connections."""
        await self._prefixes.close()
        await self._server.close()


def _base64(pictures: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(picture).decode() for picture in pictures]


def _header(path: str) -> gguf.ModelFile | None:
    """The model file's header, when the file is on this machine."""
    return gguf.read(path) if path and Path(path).is_file() else None


def _connect(address: str, reach: Reach) -> LlamaCpp:
    return LlamaCpp(Attached(address, reach, "llama.cpp server"), reach.slots, reach.prefixes, reach.adapters)


ENGINE = EngineKind(
    scheme="llama.cpp",
    summary="a llama.cpp server (`llama-server`), embedded or attached by URL",
    connect=_connect,
    start="llama-server -m model.gguf --port 8080\nantiphon serve llama.cpp+http://127.0.0.1:8080",
    takes=(
        "llguidance grammars, if llama.cpp was built with them (the embedded one is)",
        "images, with a projector (`--mmproj`)",
        "adapters by name, each a model of its own: `--lora NAME=PATH`; start an attached server with the same file "
        "and `--cache-ram 0`, because llama.cpp's store of idle prompts does not tell adapters apart",
        "conversations restored from disk after they lost their slot or their engine (the embedded one)",
        "seeds, penalties and biases; cached tokens are reported before the first token",
        "requests for log-probabilities, unless it guesses tokens ahead",
    ),
    shows="`make test`: the embedded engine passes the contract of engines, and each adapter keeps a cache of its own",
    lacks=(
        "access to a model file on another machine: its control tokens are then taken from its chat template alone",
        "tokenizer files: the server's own tokenizer is asked, outside its queue",
    ),
)
