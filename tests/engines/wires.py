"""Loopback servers that speak the wires of vLLM, SGLang and LMDeploy, over a model that tells a story byte by byte.

The shapes are those of vLLM 0.32 (`entrypoints/openai/completion`, `entrypoints/scale_out/token_in_token_out`), SGLang
0.5.23 (`entrypoints/http_server.py`, `managers/tokenizer_manager.py`) and LMDeploy 0.18 (`serve/openai/endpoints`). A
field that the real server does not know is refused. `make engines-real` holds the same tests against the real ones.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import tokenizers
from aiohttp import web

from tests.engines.vocabulary import WINDOW

LOGPROB = -0.25
"""The log-probability of whatever the model samples; the token after it is as likely."""
STORY = "Once the sea told a story, naïve and long. " * 40
SLOTS = 2

_SAMPLING = {"temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "logit_bias"}
_SPECIAL = {"skip_special_tokens", "spaces_between_special_tokens"}


class Wire:
    """A server. `running` counts generations that hold a slot; `asked` keeps the bodies, newest last. `trouble` makes
    it fail: `busy`, `refuse`, `crash` before the stream, `error`, `cut`, `mute` after so many tokens as `after`."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.folder = folder
        self.running = 0
        self.asked: list[dict[str, Any]] = []
        self.story = STORY
        self.adapters: tuple[str, ...] = ()
        self.trouble = ""
        self.after = 0
        self.url = ""
        self.takes: set[str] = {"structural_tag"}
        self._slots = asyncio.Semaphore(SLOTS)
        self._seen: list[list[int]] = []
        self._runner: web.AppRunner | None = None

    def routes(self) -> list[web.RouteDef]:
        raise NotImplementedError

    async def start(self) -> None:
        """Listen on a free port."""
        app = web.Application(client_max_size=1 << 26)
        app.add_routes([*self.routes(), web.get("/health", self._health)])
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner:
            await self._runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=503 if self.trouble == "busy" else 200)

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        ids = self.tokenizer.encode(body["prompt"], add_special_tokens=body["add_special_tokens"]).ids
        return web.json_response({"tokens": ids, "count": len(ids), "max_model_len": WINDOW})

    def _cached(self, prompt: list[int]) -> int:
        best = 0
        for seen in self._seen:
            same = next((at for at, (a, b) in enumerate(zip(prompt, seen, strict=False)) if a != b), len(seen))
            best = max(best, min(same, len(prompt) - 1))
        self._seen.append(prompt)
        return best

    def _written(self, sampling: dict[str, Any]) -> list[int]:
        """The ids that the model samples: what the grammar says first, or its story, without banned ones."""
        banned = {int(id) for id in sampling.get("logit_bias") or {}}
        tag = sampling.get("structural_tag")
        if tag is not None:
            return [*self._first(json.loads(tag)["format"]), 257]
        return [id for id in [*self.tokenizer.encode(self.story).ids, 257] if id not in banned]

    def _first(self, format: dict[str, Any]) -> list[int]:
        kind = format["type"]
        if kind == "or":
            return self._first(format["elements"][0])
        if kind == "sequence":
            return [id for each in format["elements"] for id in self._first(each)]
        return [format["token"]] if kind == "token" else self.tokenizer.encode(format["value"]).ids

    async def _tokens(self, sampling: dict[str, Any], limit: int) -> AsyncIterator[tuple[str, int, str | None]]:
        """Text, id and why it ended, token by token, in a slot. Half a character is held back."""
        shows = not sampling.get("skip_special_tokens", True)
        special = {id for id, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}
        async with self._slots:
            self.running += 1
            try:
                half: list[int] = []
                for count, id in enumerate(self._written(sampling), 1):
                    await asyncio.sleep(0.001)
                    if self.trouble and count > self.after:
                        if self.trouble == "mute":
                            await asyncio.sleep(60)
                        raise Trouble
                    if id == 257:
                        yield "", id, "stop"
                        return
                    half = [*half, id]
                    text = "" if id in special and not shows else self.tokenizer.decode(half, skip_special_tokens=False)
                    half, text = ([], text) if "�" not in text else (half, "")
                    yield text, id, "length" if count == limit else None
                    if count == limit:
                        return
            finally:
                self.running -= 1

    async def _stream(
        self, request: web.Request, events: AsyncIterator[Any], error: Callable[[str], Any]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            async for event in events:
                await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        except Trouble:
            if self.trouble == "cut":
                assert request.transport
                request.transport.close()
                return response
            await response.write(b"data: " + json.dumps(error("the card fell off the bus")).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _body(self, request: web.Request, *known: set[str]) -> dict[str, Any]:
        body: dict[str, Any] = await request.json()
        self.asked.append(body)
        if unknown := body.keys() - set().union(*known):
            raise web.HTTPBadRequest(text=json.dumps({"error": {"message": f"unknown field {unknown}", "code": 400}}))
        for trouble, status in (("busy", 503), ("refuse", 400), ("crash", 500)):
            if self.trouble == trouble:
                raise _PROBLEMS[status](text=json.dumps({"error": {"message": f"told to {trouble}", "code": status}}))
        return body


_GENERATE = {"input_ids", "sampling_params", "stream", "image_data", "lora_path", "return_logprob", "top_logprobs_num"}


class Trouble(Exception):
    """The server is told to fail here."""


_PROBLEMS: dict[int, type[web.HTTPException]] = {
    400: web.HTTPBadRequest,
    500: web.HTTPInternalServerError,
    503: web.HTTPServiceUnavailable,
}


class VLLMWire(Wire):
    """vLLM."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/models", self._models),
            web.post("/tokenize", self._tokenize),
            web.post("/detokenize", self._detokenize),
            web.post("/v1/completions", self._completions),
            web.post("/inference/v1/generate", self._generate),
        ]

    async def _models(self, request: web.Request) -> web.Response:
        card = {"id": "story", "object": "model", "created": 1, "root": "hf/story", "max_model_len": WINDOW}
        adapters = [{"id": name, "root": f"/{name}", "parent": "story"} for name in self.adapters]
        return web.json_response({"object": "list", "data": [card, *adapters]})

    async def _detokenize(self, request: web.Request) -> web.Response:
        ids = (await request.json())["tokens"]
        return web.json_response({"prompt": self.tokenizer.decode(ids, skip_special_tokens=False)})

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        more = {"model", "prompt", "max_tokens", "seed", "structured_outputs", "logprobs", "return_tokens_as_token_ids"}
        streamed = {"stream", "stream_options", "return_token_ids"}
        body = await self._body(request, _SAMPLING, _SPECIAL, more, streamed)
        if not body.get("stream"):
            self._constraint(body)
            return web.json_response({"choices": [{"index": 0, "text": "a", "finish_reason": "length"}]})
        return await self._answer(request, body["prompt"], body, {"id": "cmpl-1", "object": "text_completion"})

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(
            request,
            {"token_ids", "content_parts", "output_mode", "sampling_params"},
            {"stream", "stream_options", "return_token_ids"},
        )
        assert body["output_mode"] == "text"
        assert all(part["type"] == "image_url" for part in body["content_parts"])
        return await self._answer(request, body["token_ids"], body["sampling_params"], {"request_id": "1"})

    def _constraint(self, sampling: dict[str, Any]) -> dict[str, Any]:
        """The sampling settings with the constraint where the model looks for it."""
        for field, grammar in (sampling.get("structured_outputs") or {}).items():
            if field not in self.takes:
                problem = {"message": "Invalid structural tag specification.", "type": "BadRequestError", "code": 400}
                raise web.HTTPBadRequest(text=json.dumps({"error": problem}))
            return {**sampling, field: grammar}
        return sampling

    async def _answer(
        self, request: web.Request, prompt: list[int], sampling: dict[str, Any], head: dict[str, Any]
    ) -> web.StreamResponse:
        sampling, cached = self._constraint(sampling), self._cached(prompt)

        async def events() -> AsyncIterator[Any]:
            count = 0
            async for text, id, end in self._tokens(sampling, sampling["max_tokens"]):
                count += 1
                choice = {"index": 0, "text": text, "finish_reason": end, "stop_reason": None, "token_ids": [id]}
                if sampling.get("logprobs") is not None:
                    choice["logprobs"] = self._logprobs(id, sampling, chat="request_id" in head)
                yield {**head, "choices": [choice]}
            usage = {"prompt_tokens": len(prompt), "completion_tokens": count}
            yield {**head, "choices": [], "usage": usage | {"prompt_tokens_details": {"cached_tokens": cached}}}

        return await self._stream(
            request, events(), lambda why: {"error": {"message": why, "type": "InternalServerError", "code": 500}}
        )

    @staticmethod
    def _logprobs(id: int, sampling: dict[str, Any], *, chat: bool) -> dict[str, Any]:
        if chat:
            near = [{"token": f"token_id:{each}", "logprob": LOGPROB} for each in (id, id + 1)]
            return {"content": [{**near[0], "bytes": None, "top_logprobs": near[: sampling["logprobs"]]}]}
        assert sampling["return_tokens_as_token_ids"]
        top = {f"token_id:{each}": LOGPROB for each in (id, id + 1)[: max(sampling["logprobs"], 1)]}
        named = {"tokens": [f"token_id:{id}"], "text_offset": [0]}
        return {**named, "token_logprobs": [LOGPROB], "top_logprobs": [top]}


class SGLangWire(Wire):
    """SGLang. `incremental` is its `--incremental-streaming-output`."""

    incremental = False

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/model_info", self._model_info),
            web.get("/server_info", self._server_info),
            web.get("/v1/models", self._models),
            web.post("/tokenize", self._tokenize),
            web.post("/generate", self._generate),
        ]

    async def _model_info(self, request: web.Request) -> web.Response:
        return web.json_response({"model_path": "hf/story", "served_model_name": "story", "tokenizer_path": "hf/story"})

    async def _server_info(self, request: web.Request) -> web.Response:
        return web.json_response({"grammar_backend": "xgrammar", "max_running_requests": SLOTS, "context_length": None})

    async def _models(self, request: web.Request) -> web.Response:
        adapters = [{"id": name, "root": f"/{name}", "parent": "story"} for name in self.adapters]
        return web.json_response({"data": [{"id": "story", "max_model_len": WINDOW}, *adapters]})

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request, _GENERATE)
        sampling, prompt = body["sampling_params"], body["input_ids"]
        known = _SAMPLING | _SPECIAL | {"max_new_tokens", "sampling_seed", "structural_tag"}
        if unknown := sampling.keys() - known:
            raise web.HTTPBadRequest(text=json.dumps({"error": {"message": f"unexpected {unknown}"}}))
        cached = self._cached(prompt)

        async def events() -> AsyncIterator[Any]:
            said, ids = "", list[int]()
            meta = {"id": "1", "prompt_tokens": len(prompt), "cached_tokens": cached}
            if "structural_tag" in sampling and "structural_tag" not in self.takes:
                reason = {"type": "abort", "message": "Failed to compile grammar", "status_code": 400}
                yield {"text": "", "output_ids": [], "meta_info": {**meta, "finish_reason": reason}}
                return
            async for text, id, end in self._tokens(sampling, sampling["max_new_tokens"]):
                said, ids = said + text, [*ids, id]
                reason = None if end is None else {"type": end} | ({"matched": id} if end == "stop" else {})
                more = {"completion_tokens": len(ids), "finish_reason": reason}
                new = (text, [id]) if self.incremental else (said, ids)
                if body.get("return_logprob"):
                    more["output_token_logprobs"] = [[LOGPROB, each, None] for each in ids]
                    tops = [[[LOGPROB, each, None], [LOGPROB, each + 1, None]] for each in ids]
                    more["output_top_logprobs"] = [top[: body["top_logprobs_num"]] for top in tops]
                yield {"text": new[0], "output_ids": new[1], "meta_info": {**meta, **more}}

        return await self._stream(
            request, events(), lambda why: {"error": {"message": why, "type": "server_error", "code": 500}}
        )


class LMDeployWire(Wire):
    """LMDeploy."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/models", self._models),
            web.post("/generate", self._generate),
            web.post("/v1/chat/completions", self._chat),
        ]

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "story", "root": "story", "created": 1}]})

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        known = {"input_ids", "image_data", "max_tokens", "stream", "temperature", "top_p", "top_k"}
        body = await self._body(request, known, _SPECIAL, {"return_logprob"})

        async def events() -> AsyncIterator[Any]:
            count = 0
            async for text, id, end in self._tokens(body, body["max_tokens"]):
                count += 1
                meta: dict[str, Any] = {"prompt_tokens": len(body["input_ids"]), "completion_tokens": count}
                if body.get("return_logprob"):
                    meta["output_token_logprobs"] = [[LOGPROB, id]]
                yield {"text": text, "output_ids": [id], "meta_info": meta | {"finish_reason": end and {"type": end}}}

        return await self._stream(request, events(), self._error)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        known = {"model", "messages", "input_ids", "image_data", "max_tokens", "stream", "stream_options", "seed"}
        more = {"return_token_ids", "response_format", "logprobs", "top_logprobs"}
        body = await self._body(request, known, more, _SAMPLING, _SPECIAL)
        if body["model"] != "story":
            raise web.HTTPNotFound(text=json.dumps({"message": "no such model", "object": "error", "code": 404}))
        cached = self._cached(body["input_ids"])
        sampling = dict(body)
        if wanted := body.get("response_format"):
            assert wanted["type"] == "json_schema"
            choices = wanted["json_schema"]["schema"]["enum"]
            tag = {"type": "const_string", "value": json.dumps(choices[0])}
            sampling["structural_tag"] = json.dumps({"format": tag})

        async def events() -> AsyncIterator[Any]:
            async for text, id, end in self._tokens(sampling, body["max_tokens"]):
                choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "output_ids": [id]}
                if body.get("logprobs"):
                    choice["logprobs"] = {"content": [{"token": text, "logprob": LOGPROB, "top_logprobs": []}]}
                yield {"choices": [choice | ({"finish_reason": end} if end else {})], "usage": None}
            usage = {"prompt_tokens": len(body["input_ids"]), "prompt_tokens_details": {"cached_tokens": cached}}
            yield {"choices": [], "usage": usage}

        return await self._stream(request, events(), self._error)

    def _error(self, why: str) -> Any:
        return {"error": {"message": why, "type": "server_error", "code": 500, "param": None, "object": "error"}}


WIRES: dict[str, type[Wire]] = {"vllm": VLLMWire, "sglang": SGLangWire, "lmdeploy": LMDeployWire}
