"""What can be set for each model by itself."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from antiphon.settings.options import About


def names_engine(model: str) -> bool:
    """Whether a model is said to be an engine that runs already, rather than a file for the embedded one."""
    return re.match(r"scripted\+|[a-z][a-z0-9._-]*\+https?://", model) is not None


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be set for each model by itself, in its table of the file."""

    model: Annotated[
        str,
        About(
            "The model to serve: `path.gguf`, `hf:org/repo:file.gguf`, or the URL of a running engine, such as "
            "`llama.cpp+http://host:8080`. The default is a small built-in model."
        ),
    ] = ""
    tokenizer: Annotated[
        str,
        About(
            "The tokenizer files of a model that vLLM, SGLang or LMDeploy runs: a folder or a hub id. The default is "
            "to ask the engine."
        ),
    ] = ""
    engine_key: Annotated[str, About("The API key of a running engine.", secret=True)] = ""
    aliases: Annotated[
        tuple[str, ...],
        About(
            "Another name for the model, or a pattern such as `claude-haiku-*`; may be repeated. Names win over "
            "patterns, and longer patterns over shorter ones.",
            name="alias",
        ),
    ] = ()
    tool_call_parser: Annotated[
        str, About("The format of the model's tool calls, or `auto` to recognise it from the chat template.")
    ] = "auto"
    reasoning_parser: Annotated[str, About("The format of the model's thinking, or `auto` to recognise it.")] = "auto"
    history_thinking: Annotated[
        Literal["keep", "template"],
        About(
            "Which earlier thinking stays in the prompt as a conversation grows: `keep` keeps everything sampled "
            "here, so only new turns are computed; `template` keeps what the chat template would show."
        ),
    ] = "keep"
    hold_calls: Annotated[
        Literal["always", "strict", "never"],
        About(
            "Which unforced tool calls are constrained to the tools' names and schemas once the model begins one: "
            "`always` all except tools with `strict: false`, `strict` only tools with `strict: true`, `never` none. "
            "Forced calls and structured outputs are always constrained."
        ),
    ] = "always"
    chat_template: Annotated[str, About("A Jinja file that replaces the model's chat template.", path=True)] = ""
    context_length: Annotated[
        int, Meta(ge=0), About("The context window in tokens, prompt and reply together; 0 uses the model's own.")
    ] = 0
    parallel: Annotated[
        int, Meta(ge=1, le=256), About("How many requests the embedded engine runs at once; further requests wait.")
    ] = 4
    cache_type: Annotated[
        Literal["auto", "f16", "q8_0", "q4_0"],
        About(
            "The type of the embedded engine's KV cache: `q8_0` takes about half the memory of `f16`, `q4_0` about "
            "a quarter, at some cost in quality. `auto` uses `f16`, or `q8_0` if the window would otherwise shrink "
            "below 32768 tokens or the slots below two."
        ),
    ] = "auto"
    speculate: Annotated[
        Literal["auto", "off", "ngram", "draft"],
        About(
            "Speculative decoding in the embedded engine: `ngram` drafts tokens from earlier text of the "
            "conversation, `draft` has `--draft-model` draft them. Text that is repeated, such as a file being "
            "rewritten, can come faster; greedy replies stay the same but for near ties. `auto` is `draft` with a "
            "draft model, else `off`."
        ),
    ] = "auto"
    draft_model: Annotated[
        str,
        About(
            "A small model (GGUF) with the vocabulary of the large one, which drafts tokens for it in the embedded "
            "engine. It pays where it is many times smaller.",
            path=True,
        ),
    ] = ""
    threads: Annotated[
        int,
        Meta(ge=0),
        About(
            "Threads of the embedded engine. 0 divides the available cores among the engines: all of them for "
            "prompts, and for replies one fewer if there are four or more."
        ),
    ] = 0
    memory_limit_mb: Annotated[
        int,
        Meta(ge=0),
        About(
            "Megabytes of memory that the embedded engine may use besides the model file; an engine that uses more "
            "is stopped and restarted. 0 allows what windows and weights need plus a margin, within what is free at "
            "the start."
        ),
    ] = 0
    keep_alive: Annotated[
        Annotated[float, Meta(ge=-1)] | None,
        About(
            "Seconds that an embedded model stays loaded after its last request: 0 unloads it at once, -1 loads it at "
            "the start for good.",
            default="until another model needs its room",
        ),
    ] = None
    mmproj: Annotated[str, About("The projector (GGUF) that lets the embedded engine see images.", path=True)] = ""
    lora: Annotated[
        tuple[str, ...],
        About(
            "`NAME=PATH`: a LoRA adapter (GGUF) for the model, served as the model NAME; may be repeated. An attached "
            "llama.cpp must have been started with the same file.",
        ),
    ] = ()
    gpu_layers: Annotated[
        int, Meta(ge=-1), About("Model layers to place on an accelerator; -1 lets the engine decide.")
    ] = -1

    @property
    def speculation(self) -> Literal["off", "ngram", "draft"]:
        """How tokens are drafted. `ngram` pays only where text is repeated, so nobody gets it unasked."""
        if self.speculate == "auto":
            return "draft" if self.draft_model else "off"
        return self.speculate

    @property
    def pinned(self) -> bool:
        """Whether the model is loaded at the start and stays."""
        return self.keep_alive is not None and self.keep_alive < 0

    @property
    def adapters(self) -> dict[str, str]:
        """The files of the adapters by their names."""
        return {name: path for name, _, path in (each.partition("=") for each in self.lora)}

    @property
    def attached(self) -> bool:
        """Whether the model is an engine that runs already, rather than a file for the embedded one."""
        return names_engine(self.model)

    @property
    def remote(self) -> bool:
        """Whether the model is a server that runs already, and not an engine that lives in a process of ours."""
        return self.attached and "://" in self.model
