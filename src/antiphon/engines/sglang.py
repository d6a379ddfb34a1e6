"""SGLang, over `/generate` with `input_ids`.

Constraints are in the dialect of the grammar backend that the server was started with. How much of a prompt was cached
is told with the first tokens. A connection that is closed aborts its generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.api.tokens import MOST_ALTERNATIVES, Token
from antiphon.engines import EngineKind, Job, Reach
from antiphon.engines.answers import Cards
from antiphon.engines.attached import Attached
from antiphon.engines.token_server import (
    BANNED,
    ENDS,
    Delta,
    Dialect,
    Reader,
    Runs,
    TokenServer,
    pictures,
    sampling_fields,
    tokens,
)
from antiphon.engines.upstream import ReportedFailure

_SAMPLING = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty")
_FIELDS: dict[Dialect, str] = {"xgrammar": "structural_tag", "llguidance": "ebnf"}


class _ModelInfo(msgspec.Struct):
    model_path: str
    served_model_name: str | None = None
    tokenizer_path: str | None = None


class _ServerInfo(msgspec.Struct):
    grammar_backend: str | None = None
    context_length: int | None = None
    max_running_requests: int | None = None


class _Reason(msgspec.Struct):
    type: str = ""
    message: str = ""
    status_code: int | None = None


_Scored = tuple[float | None, int, Any]
"""A log-probability, the id that it is of, and perhaps its text."""


class _Meta(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    finish_reason: _Reason | None = None
    output_token_logprobs: list[_Scored] = []
    output_top_logprobs: list[list[_Scored] | None] | None = None


class _Event(msgspec.Struct):
    """One event of `/generate`; unknown members are skipped."""

    text: str | None = None
    output_ids: list[int] = []
    meta_info: _Meta = msgspec.field(default_factory=_Meta)
    error: Any = None


_event = msgspec.json.Decoder(_Event)


class SGLang(TokenServer):
    """An SGLang server."""

    async def _ask_server(self) -> Runs:
        model = await self._server.ask("GET", "/model_info", _ModelInfo)
        server = await self._server.ask("GET", "/server_info", _ServerInfo)
        listed = await self._server.ask("GET", "/v1/models", Cards)
        backend = server.grammar_backend or "xgrammar"
        dialect: Dialect = next((known for known in _FIELDS if known == backend), "none")
        return Runs(
            model=model.served_model_name or model.model_path or "sglang",
            grammar=dialect,
            places=tuple(filter(None, (model.tokenizer_path, model.model_path))),
            window=listed.first.max_model_len or server.context_length or 0,
            slots=server.max_running_requests or 0,
            adapters=listed.adapters,
            alternatives=MOST_ALTERNATIVES,
        )

    def _request(self, job: Job, *, shows_special: bool) -> tuple[str, dict[str, Any]]:
        sampling: dict[str, Any] = {
            **sampling_fields(job, *_SAMPLING),
            "max_new_tokens": job.max_tokens,
            "skip_special_tokens": not shows_special,
            "spaces_between_special_tokens": False,
        }
        if job.sampling.top_k == 0:
            sampling["top_k"] = -1
        if job.sampling.seed is not None:
            sampling["sampling_seed"] = job.sampling.seed
        if job.banned:
            sampling["logit_bias"] = {str(token): BANNED for token in job.banned}
        if job.grammar is not None:
            assert self._runs
            sampling[_FIELDS[self._runs.grammar]] = job.grammar
        body: dict[str, Any] = {"input_ids": job.prompt, "sampling_params": sampling, "stream": True}
        if job.alternatives is not None:
            body |= {"return_logprob": True, "top_logprobs_num": job.alternatives}
        if job.images:
            body["image_data"] = pictures(job)
        if job.adapter:
            body["lora_path"] = job.adapter
        return "/generate", body

    def _reader(self, job: Job) -> Reader:
        return _Stream().read

    async def update_weights(self, place: str, *, before: str, abort: bool) -> None:
        """By `/update_weights_from_disk`, which waits for what runs, forgets what was computed, and goes back to the
        old ones by itself."""
        if not place:
            place = (await self._server.ask("GET", "/model_info", _ModelInfo)).model_path
        body = {"model_path": place, "abort_all_requests": abort, "flush_cache": True}
        await self._server.ask("POST", "/update_weights_from_disk", dict[str, Any], body)


class _Stream:
    """Reads one stream. Unless the server was told otherwise, each event repeats all that came before."""

    def __init__(self) -> None:
        self._text = 0
        self._ids = 0

    def read(self, data: bytes) -> Delta:
        """What the event brings that is new."""
        event = _event.decode(data)
        if event.error is not None:
            raise ReportedFailure(event.error)
        meta, reason = event.meta_info, event.meta_info.finish_reason
        if reason is not None and reason.type not in ENDS:
            # Also when the grammar did not compile: the status tells it is the request that was at fault.
            raise ReportedFailure({"code": reason.status_code, "message": reason.message or f"it says {reason.type!r}"})
        text, ids = event.text or "", event.output_ids
        if len(ids) == meta.completion_tokens:
            text, ids = text[self._text :], ids[self._ids :]
            self._text += len(text)
        self._ids += len(ids)
        return Delta(
            text=text,
            ids=ids,
            end=ENDS[reason.type] if reason else "none",
            prompt=meta.prompt_tokens,
            cached=meta.cached_tokens,
            over=reason is not None,
            tokens=_tokens(ids, meta) if meta.output_token_logprobs and ids else (),
        )


def _tokens(ids: Sequence[int], meta: _Meta) -> list[Token]:
    """The last ones are those of these ids, whether an event repeats what came before or not."""
    logprobs = [logprob for logprob, _, _ in meta.output_token_logprobs[-len(ids) :]]
    tops = [
        [(id, logprob) for logprob, id, _ in top or () if logprob is not None]
        for top in (meta.output_top_logprobs or [])[-len(ids) :]
    ]
    return tokens(ids, logprobs, tops)


def _connect(address: str, reach: Reach) -> SGLang:
    return SGLang(Attached(address, reach, "SGLang server"), reach.tokenizer)


ENGINE = EngineKind(
    scheme="sglang",
    summary="an SGLang server, on one machine or a cluster or router behind one URL",
    connect=_connect,
    start="python -m sglang.launch_server --model-path Qwen/Qwen3-8B --port 30000\n"
    "antiphon serve sglang+http://127.0.0.1:30000 --tokenizer Qwen/Qwen3-8B",
    takes=(
        "xgrammar structural tags, or llguidance grammars with `--grammar-backend llguidance`",
        "images",
        "adapters by name (`--lora-paths NAME=PATH`), each served as a model of its own",
        "seeds, penalties and biases; cached tokens are reported with the first token",
        "requests for log-probabilities, of the sampled token and of 20 others",
    ),
    shows="`make engines-real ARGS=sglang`: a real SGLang 0.5.23 on the CPU passes the same tests as vLLM",
    lacks=(
        "the chat template without `--tokenizer`, unless the model's folder is on this machine or in its hub cache: "
        "then ChatML or `--chat-template` is used",
        "grammars with the `outlines` backend or none: constraints are then checked after the reply",
    ),
)
