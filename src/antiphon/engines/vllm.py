"""vLLM, over its token-level routes: ids in and ids out by `/v1/completions`, pictures by `/inference/v1/generate`.

Constraints are xgrammar structural tags, or llguidance's Lark where the server was started for it. How much of a prompt
was cached is told at the end of a stream, if at all (`--enable-prompt-tokens-details`). A connection that is closed
cancels its generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.api.errors import BadRequest, Failure
from antiphon.api.tokens import MOST_ALTERNATIVES, Token
from antiphon.engines import EngineKind, Job, Reach
from antiphon.engines.answers import Cards
from antiphon.engines.attached import Attached
from antiphon.engines.token_server import (
    BANNED,
    Delta,
    Dialect,
    Reader,
    Runs,
    TokenServer,
    end_of,
    pictures,
    sampling_fields,
    tokens,
)
from antiphon.engines.upstream import ReportedFailure

_SAMPLING = ("temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty")
_FIELDS: dict[Dialect, str] = {"xgrammar": "structural_tag", "llguidance": "grammar"}
_SMALLEST: dict[Dialect, str] = {
    "xgrammar": '{"type": "structural_tag", "format": {"type": "const_string", "value": "a"}}',
    "llguidance": '%llguidance {}\nstart: "a"\n',
}


class _Likely(msgspec.Struct):
    token: str
    logprob: float


class _Likelihood(_Likely):
    top_logprobs: list[_Likely] = []


class _Logprobs(msgspec.Struct):
    """Each route has its own form. Tokens are called by their ids in both, as `token_id:123`."""

    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] = []
    content: list[_Likelihood] = []


class _Choice(msgspec.Struct):
    text: str = ""
    token_ids: list[int] | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _Cached(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    prompt_tokens_details: _Cached | None = None


class _Event(msgspec.Struct):
    """One event of either route; unknown members are skipped."""

    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_event = msgspec.json.Decoder(_Event)


class VLLM(TokenServer):
    """A vLLM server."""

    async def _ask_server(self) -> Runs:
        listed = await self._server.ask("GET", "/v1/models", Cards)
        card = listed.first
        return Runs(
            model=card.id or "vllm",
            grammar=await self._dialect(),
            places=tuple(filter(None, (card.root,))),
            window=card.max_model_len or 0,
            created=card.created or 0,
            adapters=listed.adapters,
            # As many as it tells unless it is started with another `--max-logprobs`.
            alternatives=MOST_ALTERNATIVES,
        )

    async def _dialect(self) -> Dialect:
        """The server does not tell which grammars it was started for, so the smallest of each kind is tried."""
        for dialect, grammar in _SMALLEST.items():
            body = {"prompt": "a", "max_tokens": 1, "structured_outputs": {_FIELDS[dialect]: grammar}}
            try:
                await self._server.ask("POST", "/v1/completions", dict[str, Any], body)
            except BadRequest:
                continue
            return dialect
        return "none"

    def _request(self, job: Job, *, shows_special: bool) -> tuple[str, dict[str, Any]]:
        sampling: dict[str, Any] = {
            **sampling_fields(job, *_SAMPLING),
            "max_tokens": job.max_tokens,
            "skip_special_tokens": not shows_special,
            "spaces_between_special_tokens": False,
        }
        if job.banned:
            sampling["logit_bias"] = {str(token): BANNED for token in job.banned}
        if job.grammar is not None:
            assert self._runs
            sampling["structured_outputs"] = {_FIELDS[self._runs.grammar]: job.grammar}
        stream: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}, "return_token_ids": True}
        if job.adapter:
            stream["model"] = job.adapter
        if job.alternatives is not None:
            sampling["logprobs"] = job.alternatives
        if not job.images:
            if job.alternatives is not None:
                sampling["return_tokens_as_token_ids"] = True
            return "/v1/completions", {"prompt": job.prompt, **sampling, **stream}
        parts = [{"type": "image_url", "url": url} for url in pictures(job)]
        body = {"token_ids": job.prompt, "content_parts": parts, "output_mode": "text", "sampling_params": sampling}
        return "/inference/v1/generate", {**body, **stream}

    def _reader(self, job: Job) -> Reader:
        return _read

    async def update_weights(self, place: str, *, before: str, abort: bool) -> None:
        """By the worker's own `reload_weights`, between a pause and its end; the server has these routes with
        `VLLM_SERVER_DEV_MODE=1` alone."""
        how = "abort" if abort else "wait"
        try:
            await self._server.ask("POST", f"/pause?mode={how}", dict[str, Any], {})
        except BadRequest as refusal:
            raise BadRequest(
                f"model: this vLLM cannot reload weights ({refusal}); start it with VLLM_SERVER_DEV_MODE=1"
            ) from None
        try:
            await self._load(place)
        except Failure:
            # It has no weights then, and the next request would be its end.
            await self._load(before)
            raise
        finally:
            await self._server.ask("POST", "/resume", dict[str, Any], {})

    async def _load(self, place: str) -> None:
        told = {"method": "reload_weights", "kwargs": {"weights_path": place} if place else {}}
        await self._server.ask("POST", "/collective_rpc", dict[str, Any], told)
        (await self._server.open("POST", "/reset_prefix_cache", {})).release()


def _read(data: bytes) -> Delta:
    event = _event.decode(data)
    if event.error is not None:
        raise ReportedFailure(event.error)
    if event.usage is not None and not event.choices:
        details = event.usage.prompt_tokens_details
        cached = (details.cached_tokens if details else None) or 0
        return Delta(prompt=event.usage.prompt_tokens, cached=cached, over=True)
    if not event.choices:
        return Delta()
    choice = event.choices[0]
    ids, end = choice.token_ids or (), end_of(choice.finish_reason)
    return Delta(
        text=choice.text, ids=ids, end=end, tokens=_tokens(ids, choice.logprobs) if choice.logprobs is not None else ()
    )


def _tokens(ids: Sequence[int], likelihoods: _Logprobs) -> list[Token]:
    if likelihoods.content:
        logprobs: Sequence[float | None] = [each.logprob for each in likelihoods.content]
        tops = [{likely.token: likely.logprob for likely in each.top_logprobs} for each in likelihoods.content]
    else:
        logprobs, tops = likelihoods.token_logprobs, [top or {} for top in likelihoods.top_logprobs]
    named = [{int(name.rpartition(":")[2]): logprob for name, logprob in top.items()} for top in tops]
    return tokens(ids, logprobs, [list(top.items()) for top in named])


def _connect(address: str, reach: Reach) -> VLLM:
    return VLLM(Attached(address, reach, "vLLM server"), reach.tokenizer)


ENGINE = EngineKind(
    scheme="vllm",
    summary="a vLLM server (`vllm serve`), on one machine or a cluster behind one URL",
    connect=_connect,
    start="vllm serve Qwen/Qwen3-8B --enable-prompt-tokens-details\n"
    "antiphon serve vllm+http://127.0.0.1:8000 --port 8001 --tokenizer Qwen/Qwen3-8B",
    takes=(
        "xgrammar structural tags, or llguidance grammars with `--structured-outputs-config.backend guidance`; "
        "detected when the model is loaded",
        "images, through `/inference/v1/generate` (vLLM 0.32 or newer)",
        "adapters by name (`--enable-lora --lora-modules NAME=PATH`), each served as a model of its own",
        "seeds, penalties and biases; cached tokens are reported with the last token, if the server was started with "
        "`--enable-prompt-tokens-details`",
        "requests for log-probabilities, of the sampled token and of 20 others",
    ),
    shows="`make engines-real ARGS=vllm`: a real vLLM 0.32 on the CPU passes the contract and gives the same prompts, "
    "greedy text, forced calls, schemas, thinking budgets and cached tokens as the embedded engine on the same model",
    lacks=(
        "the chat template without `--tokenizer`, unless the model's folder is on this machine or in its hub cache: "
        "then ChatML or `--chat-template` is used",
        "cached tokens of replies that end at a stop sequence or a thinking budget",
    ),
)
