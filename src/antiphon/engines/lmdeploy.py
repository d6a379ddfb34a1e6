"""LMDeploy, over `/generate` with `input_ids`, and over its chat route where only that one has what is needed.

`/generate` takes no grammar, no seed and no bias, and tells nothing of the cache; the chat route takes ids in place of
messages and has all of these, but its answer passes the parsers that the server was started with. A JSON schema is all
that LMDeploy can be held to. A connection that is closed ends its session.
"""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.engines import EngineKind, Job, Reach
from antiphon.engines.answers import Cards
from antiphon.engines.attached import Attached
from antiphon.engines.token_server import (
    BANNED,
    Delta,
    Reader,
    Runs,
    TokenServer,
    end_of,
    pictures,
    sampling_fields,
    tokens,
)
from antiphon.engines.upstream import ReportedFailure


class _Reason(msgspec.Struct):
    type: str = ""


class _Meta(msgspec.Struct):
    prompt_tokens: int | None = None
    output_token_logprobs: list[tuple[float, int]] | None = None
    finish_reason: _Reason | None = None


class _Generated(msgspec.Struct):
    """One event of `/generate`; unknown members are skipped."""

    text: str = ""
    output_ids: list[int] | None = None
    meta_info: _Meta = msgspec.field(default_factory=_Meta)
    error: Any = None


class _Said(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None


class _Likelihood(msgspec.Struct):
    logprob: float


class _Logprobs(msgspec.Struct):
    content: list[_Likelihood] = []


class _Choice(msgspec.Struct):
    delta: _Said = msgspec.field(default_factory=_Said)
    finish_reason: str | None = None
    output_ids: list[int] | None = None
    logprobs: _Logprobs | None = None


class _Cached(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    prompt_tokens_details: _Cached | None = None


class _Chatted(msgspec.Struct):
    """One event of the chat route."""

    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_generated = msgspec.json.Decoder(_Generated)
_chatted = msgspec.json.Decoder(_Chatted)


class LMDeploy(TokenServer):
    """An LMDeploy API server."""

    async def _ask_server(self) -> Runs:
        card = (await self._server.ask("GET", "/v1/models", Cards)).first
        model = card.id or "lmdeploy"
        return Runs(model=model, grammar="json_schema", places=(model,), created=card.created or 0, alternatives=0)

    def _request(self, job: Job, *, shows_special: bool) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {
            "input_ids": job.prompt,
            "max_tokens": job.max_tokens,
            "stream": True,
            "skip_special_tokens": not shows_special,
            "spaces_between_special_tokens": False,
            **sampling_fields(job, "temperature", "top_p", "top_k"),
        }
        if job.images:
            body["image_data"] = pictures(job)
        if not _needs_chat(job):
            if job.alternatives is not None:
                body["return_logprob"] = True
            return "/generate", body
        assert self._runs
        body |= {"model": self._runs.model, "messages": [], "return_token_ids": True, **sampling_fields(job, "seed")}
        body["stream_options"] = {"include_usage": True}
        if job.alternatives is not None:
            body |= {"logprobs": True, "top_logprobs": 1}
        if job.banned:
            body["logit_bias"] = {str(token): BANNED for token in job.banned}
        if job.grammar is not None:
            schema = msgspec.json.decode(job.grammar)
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "output", "schema": schema}}
        return "/v1/chat/completions", body

    def _reader(self, job: Job) -> Reader:
        return _read_chat if _needs_chat(job) else _read


def _needs_chat(job: Job) -> bool:
    return job.grammar is not None or bool(job.banned) or job.sampling.seed is not None


def _read(data: bytes) -> Delta:
    event = _generated.decode(data)
    if event.error is not None:
        raise ReportedFailure(event.error)
    reason, ids = event.meta_info.finish_reason, event.output_ids or ()
    scored = event.meta_info.output_token_logprobs
    return Delta(
        text=event.text,
        ids=ids,
        tokens=tokens(ids, [logprob for logprob, _ in scored]) if scored else (),
        end=end_of(reason.type if reason else None),
        prompt=event.meta_info.prompt_tokens,
        cached=0,
        over=reason is not None,
    )


def _read_chat(data: bytes) -> Delta:
    event = _chatted.decode(data)
    if event.error is not None:
        raise ReportedFailure(event.error)
    if not event.choices:
        usage = event.usage or _Usage()
        details = usage.prompt_tokens_details
        return Delta(prompt=usage.prompt_tokens, cached=(details.cached_tokens if details else None) or 0, over=True)
    choice = event.choices[0]
    text = (choice.delta.reasoning_content or "") + (choice.delta.content or "")
    ids, scored = choice.output_ids or (), choice.logprobs.content if choice.logprobs else ()
    told = tokens(ids, [each.logprob for each in scored]) if scored else ()
    return Delta(text=text, ids=ids, tokens=told, end=end_of(choice.finish_reason))


def _connect(address: str, reach: Reach) -> LMDeploy:
    return LMDeploy(Attached(address, reach, "LMDeploy server"), reach.tokenizer)


ENGINE = EngineKind(
    scheme="lmdeploy",
    summary="an LMDeploy API server, on one machine or a cluster behind one URL",
    connect=_connect,
    start="lmdeploy serve api_server internlm/internlm3-8b-instruct --server-port 23333\n"
    "antiphon serve lmdeploy+http://127.0.0.1:23333 --tokenizer internlm/internlm3-8b-instruct",
    takes=(
        "one JSON schema for the whole reply, through its chat route (start it without parsers; Antiphon's are used)",
        "images",
        "seeds and biases, through its chat route",
        "requests for log-probabilities of sampled tokens, where it was started with `--logprobs-mode`",
    ),
    shows="`make engines-real ARGS=lmdeploy`: the server of LMDeploy 0.18 passes the contract and the examples of its "
    "page. Its engine's step, which needs a GPU, is scripted; no model has run behind it here. "
    "Where there is a GPU, `make gpu-pack` and then `sh bench/gpu/run.sh` try it with a model. Without a GPU that "
    "script has been run over the same scripted step (`--scripted`), all of it but its picture",
    lacks=(
        "grammars for tool calls and thinking: a forced call is checked, tried again, and then an error",
        "penalties, and counts of cached tokens (only its chat route reports them)",
        "a way to ask for its tokenizer and window: `--tokenizer` is required",
        "a neutral `top_k`: without one it uses 50, or the value in the model's `generation_config.json`",
    ),
)
