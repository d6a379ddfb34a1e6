"""llama.cpp's own server, over its token-level HTTP routes: embedded (our child process) or attached by URL.

Prompts go as ids to `/completion`; the server's cache re-uses the longest prefix it holds. Grammars are llguidance's
Lark dialect. A connection that is closed cancels its generation.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from antiphon.api.errors import Failure
from antiphon.api.offload import offload
from antiphon.api.tokens import MOST_ALTERNATIVES
from antiphon.engines import Description, EngineKind, Health, Job, Piece, Prefilled, Prefixes, Reach
from antiphon.engines.answers import Cards, Props, SlotState
from antiphon.engines.attached import Attached
from antiphon.engines.cache.prefix_cache import ANY, PrefixCache, Seat
from antiphon.engines.cache.prefix_store import PrefixStore
from antiphon.engines.cache.slots import Slots
from antiphon.engines.completion_events import Chunk, Progress, read, read_with_alternatives
from antiphon.engines.hardware import cache_size
from antiphon.engines.llama_server.adapters import Adapters
from antiphon.engines.llama_server.pictures import PictureCosts
from antiphon.engines.llama_server.tokenizer import ServerTokenizer
from antiphon.engines.models import gguf

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
        self._tokenizer = ServerTokenizer(server)
        self._adapters = Adapters(adapters)
        self._slots_file = slots
        self._stored = prefixes
        self._prefixes = PrefixCache(server, Slots(0))
        self._identities: dict[str, bytes] = {}
        self._costs: PictureCosts | None = None
        self._marker = self._begins = ""

    async def describe(self) -> Description:
        """From `/props`, and from the model file's header where it can be read on this machine."""
        props = await self._server.ask("GET", "/props", Props)
        card = (await self._server.ask("GET", "/v1/models", Cards)).first
        path, template = props.model_path, props.chat_template
        named = props.bos_token, props.eos_token
        file = await asyncio.to_thread(_header, path)
        control = (
            tuple(token.text for token in file.special_tokens)
            if file
            else await self._tokenizer.control_tokens(template, named)
        )
        start = await self._tokenizer.start()
        await self._tokenizer.measure()
        # The server puts the start token before a text, be it there already or not.
        self._begins = named[0] if start else ""
        vision = await self._measure_pictures(props)
        await self._share_out(props.total_slots)
        return Description(
            model=(file.name if file else "") or Path(path).stem,
            window=props.default_generation_settings.n_ctx,
            chat_template=template,
            bos_token=named[0],
            eos_token=named[1],
            start=start,
            control_tokens=control,
            exact_cuts=self._tokenizer.exact_cuts,
            vision=vision,
            media_marker=self._marker if vision else "",
            grammar="llguidance",
            created=card.created or 0,
            slots=props.total_slots,
            adapters=self._adapters.names,
            # Guessed tokens come without probabilities.
            alternatives=None if await self._guesses() else MOST_ALTERNATIVES,
            vocabulary=card.vocabulary,
            # Elsewhere another prompt may take the slot in between.
            goes_back=self._slots_file is not None and file is not None and cache_size.goes_back(file),
        )

    async def _measure_pictures(self, props: Props) -> bool:
        """Whether the model takes pictures; what they cost is found out here."""
        self._marker = props.media_marker or ""
        if not (props.modalities.vision and self._marker):
            return False
        costs = PictureCosts(self._server, self._marker)
        self._costs = costs if await costs.measure() else None
        return True

    async def _share_out(self, slots: int) -> None:
        """Take the slots in hand where they are ours to give, and find the adapters."""
        if self._adapters.names:
            if self._slots_file is None:
                log.warning(
                    "the attached llama.cpp may mix up adapters in its prompt cache; start it with --cache-ram 0"
                )
            await self._adapters.find(self._server)
        if self._slots_file is not None:
            stored = self._stored
            store = PrefixStore(stored.folder, stored.capacity) if stored else None
            self._prefixes = PrefixCache(self._server, Slots(slots, self._slots_file), store)
            engine = stored.engine if stored else b""
            self._identities = await asyncio.to_thread(self._adapters.identities, engine)

    async def _guesses(self) -> bool:
        """Whether the server guesses tokens ahead. One that does not tell of its slots is taken not to."""
        try:
            return any(slot.speculative for slot in await self._server.ask("GET", "/slots", list[SlotState]))
        except Failure:
            return False

    async def tokenise(self, segments: Sequence[str]) -> list[int]:
        """By the server's tokenizer."""
        return await self._tokenizer.tokenise(segments)

    async def picture_tokens(self, pictures: Sequence[bytes]) -> int:
        """By the server's own count."""
        return await self._costs.of(pictures) if self._costs and pictures else 0

    async def spell(self, ids: Sequence[int]) -> list[bytes]:
        """By the server's tokenizer."""
        return await self._tokenizer.spell(ids)

    async def generate(self, job: Job) -> AsyncGenerator[Prefilled | list[Piece], None]:
        """By `/completion`, streamed. The beginning that is to be kept by itself is computed by a request of its own,
        which samples nothing."""
        # Which ids the engine has for a picture only it knows.
        prompt = () if job.images else job.prompt
        understand: Callable[[bytes], Chunk[Any]] = read_with_alternatives if job.alternatives else read
        async with self._prefixes.seat(prompt, job.conversation, self._domain(job)) as seat:
            completion = _Completion(job, seat, self._prefixes, self._tokenizer)
            *beginning, whole = await self._bodies(job, seat)
            for body in [*beginning, whole]:
                async with aclosing(self._server.stream("/completion", body, understand, not seat.waited)) as reads:
                    async for chunks in reads:
                        prefilled, pieces = completion.read(chunks)
                        if prefilled:
                            yield prefilled
                        if pieces and body is whole:
                            yield pieces
                        if pieces and pieces[-1].end != "none":
                            break
                if body is not whole:
                    await self._prefixes.keep(seat)

    def _domain(self, job: Job) -> bytes:
        """What is computed in one is of no use to another, or not to be used by it."""
        whose = self._identities.get(job.adapter, job.adapter.encode())
        return hashlib.blake2b(whose + b"\0" + job.owner.encode(), digest_size=16).digest()

    async def _bodies(self, job: Job, seat: Seat) -> list[dict[str, Any]]:
        body = await self._body(job, seat)
        if not seat.beginning:
            return [body]
        beginning = body | {"prompt": job.prompt[: seat.beginning], "n_predict": 0, "grammar": ""}
        return [beginning, body | {"cache_prompt": True}]

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
        if scales := self._adapters.scales(job.adapter):
            body["lora"] = scales
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


class _Completion:
    """What the events of `/completion` tell of one job. The seat learns what is in its slot."""

    def __init__(self, job: Job, seat: Seat, prefixes: PrefixCache, tokenizer: ServerTokenizer) -> None:
        self._job = job
        self._seat = seat
        self._prefixes = prefixes
        self._tokenizer = tokenizer
        self._cached: int | None = None
        self._predicted = 0

    def read(self, chunks: Sequence[Chunk[Any]]) -> tuple[Prefilled | None, list[Piece]]:
        """How far the prompt is read, where one of these events tells it, and what was sampled."""
        prefilled, pieces = None, list[Piece]()
        for chunk in chunks:
            if chunk.prompt_progress is not None:
                prefilled = self._prefilled(chunk.prompt_progress)
            else:
                pieces.append(self._piece(chunk))
        return prefilled, pieces

    def _prefilled(self, progress: Progress) -> Prefilled:
        self._prefixes.progress(self._seat, progress.cache, progress.processed, progress.time_ms / 1000)
        if self._cached is None:
            self._cached = progress.cache
        length = progress.total if self._job.images else len(self._job.prompt)
        return Prefilled(length, self._cached, min(self._seat.restored, self._cached), progress.processed)

    def _piece(self, chunk: Chunk[Any]) -> Piece:
        count = max(chunk.tokens_predicted - self._predicted, 0)
        # The next request begins to count anew.
        self._predicted = 0 if chunk.stop else chunk.tokens_predicted
        self._seat.sampled += chunk.tokens
        tokens = chunk.completion_probabilities
        if tokens and self._job.alternatives:
            self._tokenizer.learn(tokens)
            tokens = [likelihood.token for likelihood in tokens]
        return Piece(chunk.content, count, chunk.tokens, chunk.end, tokens)


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
