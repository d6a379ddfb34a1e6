"""llama.cpp's own server, over its token-level HTTP routes: embedded (our child process) or attached by URL.

Prompts go as ids to `/completion`; the server's cache re-uses the longest prefix it holds. Grammars are llguidance's
Lark dialect. A connection that is closed cancels its generation.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, Literal

import aiohttp
import msgspec

from antiphon.engines import Description, EngineKind, Health, Job, Piece, Prefilled, gguf
from antiphon.errors import BadRequest, EngineFailed, Overloaded, TimedOut

_RETRY_AFTER = 5.0
_FIELDS = ["content", "tokens", "stop", "stop_type", "tokens_predicted", "timings"]


class _Progress(msgspec.Struct):
    total: int = 0
    cache: int = 0
    processed: int = 0


class _Timings(msgspec.Struct):
    cache_n: int = 0
    prompt_n: int = 0


class _Problem(msgspec.Struct, frozen=True):
    message: str = "unknown error"
    code: int = 500
    type: str = ""


class _Chunk(msgspec.Struct):
    """One server-sent event of `/completion`; unknown members are skipped."""

    content: str = ""
    tokens: list[int] = []
    stop: bool = False
    stop_type: str = ""
    tokens_predicted: int = 0
    prompt_progress: _Progress | None = None
    timings: _Timings | None = None
    error: _Problem | None = None


class _Failed(msgspec.Struct):
    error: _Problem = _Problem()


_chunk = msgspec.json.Decoder(_Chunk)
_failed = msgspec.json.Decoder(_Failed)


class LlamaCpp:
    """A llama.cpp server at `url`, which may ask for a `key`. `patience` is how many seconds a request waits for a
    server that is (re)starting, `silence` how many a server may say nothing in the middle of its work."""

    def __init__(self, url: str, *, key: str = "", patience: float = 30.0, silence: float = 600.0) -> None:
        self._url = url.rstrip("/")
        self._headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        self._silence = silence
        self._patience = patience
        self._client: aiohttp.ClientSession | None = None
        self._marker = ""

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._client is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=self._silence)
            self._client = aiohttp.ClientSession(
                timeout=timeout, headers=self._headers, connector=aiohttp.TCPConnector(limit=0)
            )
        return self._client

    async def _open(self, method: str, path: str, body: Any = None) -> aiohttp.ClientResponse:
        """A response whose status is good. Waits for a server that is not there yet."""
        data = None if body is None else msgspec.json.encode(body)
        deadline = asyncio.get_running_loop().time() + self._patience
        while True:
            try:
                response = await self._session.request(method, self._url + path, data=data)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                problem: Exception = Overloaded(f"the engine does not answer: {error}", retry_after=_RETRY_AFTER)
            else:
                if response.status < 300:
                    return response
                async with response:
                    problem = _failure(response.status, await response.read())
            if not isinstance(problem, Overloaded) or asyncio.get_running_loop().time() > deadline:
                raise problem
            await asyncio.sleep(0.25)

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        async with await self._open(method, path, body) as response:
            return msgspec.json.decode(await response.read())

    async def describe(self) -> Description:
        """From `/props`, and from the model file's header where it can be read on this machine."""
        props = await self._ask("GET", "/props")
        listed = (await self._ask("GET", "/v1/models")).get("data") or [{}]
        self._marker = props.get("media_marker") or ""
        vision = bool(props.get("modalities", {}).get("vision"))
        path = props.get("model_path") or ""
        file = await asyncio.to_thread(_header, path)
        template = props.get("chat_template") or ""
        named = props.get("bos_token", ""), props.get("eos_token", "")
        control = tuple(t.text for t in file.special_tokens) if file else await self._probed(template, named)
        return Description(
            model=(file.name if file else "") or Path(path).stem,
            window=props["default_generation_settings"]["n_ctx"],
            chat_template=template,
            bos_token=named[0],
            eos_token=named[1],
            start=await self._start(),
            control_tokens=control,
            exact_cuts=await self._exact_cuts(),
            vision=vision,
            media_marker=self._marker if vision else "",
            grammar="llguidance",
            created=listed[0].get("created", 0),
            slots=props.get("total_slots") or 0,
        )

    async def _start(self) -> tuple[int, ...]:
        plain = await self.tokenise(["a"])
        full = (await self._ask("POST", "/tokenize", {"content": "a", "add_special": True}))["tokens"]
        return tuple(full[: full.index(plain[0])]) if plain[0] in full else ()

    async def _exact_cuts(self) -> bool:
        ids = await self.tokenise(["<tool", "_call>"])
        return bool((await self._ask("POST", "/detokenize", {"tokens": ids}))["content"] == "<tool_call>")

    async def _probed(self, template: str, named: tuple[str, str]) -> tuple[str, ...]:
        """The control tokens that can be told from outside: what looks like one in the template and the vocabulary
        has as one token."""
        candidates = {*re.findall(r"<[^<>\s'\"]{1,60}>|\[/?[A-Z_]{2,40}\]", template), *filter(None, named)}
        sizes = await asyncio.gather(*(self.tokenise([text]) for text in candidates))
        return tuple(text for text, ids in zip(candidates, sizes, strict=True) if len(ids) == 1)

    async def tokenise(self, segments: Sequence[str]) -> list[int]:
        """By `/tokenize`, which the server answers beside its generation queue."""
        body = {"content": segments, "add_special": False, "parse_special": True}
        ids: list[int] = (await self._ask("POST", "/tokenize", body))["tokens"]
        return ids

    async def generate(self, job: Job) -> AsyncGenerator[Prefilled | list[Piece], None]:
        """By `/completion`, streamed."""
        response = await self._open("POST", "/completion", self._body(job))
        started, counted = False, 0
        try:
            async for chunks in _reads(response):
                pieces: list[Piece] = []
                for chunk in chunks:
                    if chunk.error is not None:
                        raise EngineFailed(f"the engine broke off: {chunk.error.message}")
                    if chunk.prompt_progress is None:
                        count, counted = max(chunk.tokens_predicted - counted, 0), chunk.tokens_predicted
                        pieces.append(Piece(chunk.content, count, chunk.tokens, _ends(chunk)))
                    elif not started:
                        started = True
                        yield Prefilled(chunk.prompt_progress.total, chunk.prompt_progress.cache)
                if pieces:
                    yield pieces
                    if pieces[-1].end != "none":
                        return
            raise EngineFailed("the engine broke off before the reply was over")
        except TimeoutError:
            raise TimedOut(f"the engine said nothing for {self._silence:.0f} seconds") from None
        except (aiohttp.ClientError, OSError) as error:
            raise EngineFailed("the engine broke off in the middle of the reply") from error
        finally:
            # Closing the connection is what tells the server to stop.
            response.close()

    def _body(self, job: Job) -> dict[str, Any]:
        sampling = job.sampling
        body: dict[str, Any] = {
            "prompt": job.prompt,
            "n_predict": job.max_tokens,
            "stream": True,
            "return_tokens": True,
            "return_progress": True,
            "cache_prompt": True,
            "response_fields": _FIELDS,
            "preserved_tokens": job.visible,
        }
        if job.images:
            pictures = [base64.b64encode(image).decode() for image in job.images]
            body["prompt"] = {"prompt_string": job.text, "multimodal_data": pictures}
        if job.grammar is not None:
            body["grammar"] = job.grammar
        if job.banned:
            body["logit_bias"] = [[token, False] for token in job.banned]
        for name in sampling.__struct_fields__:
            value = getattr(sampling, name)
            if value is not None:
                body[name] = value
        return body

    async def health(self) -> Health:
        """By `/health`."""
        try:
            async with self._session.get(self._url + "/health", timeout=aiohttp.ClientTimeout(total=3)) as response:
                return Health(response.status == 200, f"llama.cpp answers {response.status}")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Health(False, f"llama.cpp does not answer: {error or type(error).__name__}")

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()


def _header(path: str) -> gguf.ModelFile | None:
    """The model file's header, when the file is on this machine."""
    return gguf.read(path) if path and Path(path).is_file() else None


def _ends(chunk: _Chunk) -> Literal["none", "stop", "length"]:
    if not chunk.stop:
        return "none"
    return "length" if chunk.stop_type == "limit" else "stop"


async def _reads(response: aiohttp.ClientResponse) -> AsyncGenerator[list[_Chunk], None]:
    """The events that each read from the socket completes."""
    rest = b""
    async for data in response.content.iter_any():
        *lines, rest = (rest + data).split(b"\n")
        chunks = [_chunk.decode(line[6:]) for line in lines if line.startswith(b"data: {")]
        # Older servers report a failure in a line of its own kind.
        chunks.extend(_chunk.decode(b'{"error":' + line[7:] + b"}") for line in lines if line.startswith(b"error: {"))
        if chunks:
            yield chunks


def _failure(status: int, body: bytes) -> Exception:
    try:
        problem = _failed.decode(body).error
    except msgspec.MsgspecError:
        problem = _Problem(message=body[:200].decode(errors="replace"))
    if status == 503:
        return Overloaded(f"the engine is not ready: {problem.message}", retry_after=_RETRY_AFTER)
    if status == 504:
        return TimedOut(f"the engine did not answer in time: {problem.message}")
    if status == 400:
        return BadRequest(f"the engine refused the request: {problem.message}")
    return EngineFailed(f"the engine failed ({status}): {problem.message}")


def _connect(address: str, options: dict[str, Any]) -> LlamaCpp:
    return LlamaCpp(address, **options)


ENGINE = EngineKind("llama.cpp", "a llama.cpp server (llama-server), embedded or attached by URL", _connect)
