"""Settings: what can be set, each option declared once.

An option is a field of `Settings`, or of `ModelSettings` where each model can have its own. Its name gives the flag
(`--max-body-mb`), the environment variable (`ANTIPHON_MAX_BODY_MB`) and the key in the file (`max_body_mb`); the
command line and the reference pages are made from the same declaration. `sources.py` reads them.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from antiphon.settings.options import About, Option, declared


def names_engine(model: str) -> bool:
    """Whether a model is said to be an engine that runs already, rather than a file for the embedded one."""
    return re.match(r"scripted\+|[a-z][a-z0-9._-]*\+https?://", model) is not None


def _home(variable: str, fallback: str) -> str:
    base = os.environ.get(variable, "")
    # The XDG specification: a relative path there is invalid and must be ignored.
    return str((Path(base) if os.path.isabs(base) else Path.home() / fallback) / "antiphon")


def _state_home() -> str:
    return _home("XDG_STATE_HOME", ".local/state")


def _cache_home() -> str:
    return _home("XDG_CACHE_HOME", ".cache")


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be set for each model by itself, in its table of the file."""

    model: Annotated[
        str,
        About(
            "What to serve: `path.gguf`, `hf:org/repo:file.gguf`, or an engine that runs already, such as "
            "`llama.cpp+http://host:8080`. Nothing means the small default model."
        ),
    ] = ""
    tokenizer: Annotated[
        str,
        About(
            "The tokenizer files of a model that vLLM, SGLang or LMDeploy runs: a folder or a hub id. Without, the "
            "engine's own tokenizer is asked."
        ),
    ] = ""
    engine_key: Annotated[str, About("The key that an engine which runs already asks for.", secret=True)] = ""
    aliases: Annotated[
        tuple[str, ...],
        About(
            "A further name, or a pattern such as `claude-haiku-*`, that clients may call the model by; may be "
            "repeated. A name wins over patterns, and of these the one that says most.",
            name="alias",
        ),
    ] = ()
    tool_call_parser: Annotated[
        str, About("How the model writes tool calls: a format's name, or `auto` to recognise it by its chat template.")
    ] = "auto"
    reasoning_parser: Annotated[
        str, About("How the model writes its thinking: a format's name, or `auto` to recognise it.")
    ] = "auto"
    history_thinking: Annotated[
        Literal["keep", "template"],
        About(
            "What of the model's thinking stays in the prompt when the conversation goes on: `keep` all that was "
            "sampled here, so that only new turns are computed, or what the chat `template` would show."
        ),
    ] = "keep"
    hold_calls: Annotated[
        Literal["always", "strict", "never"],
        About(
            "Which tool calls that nobody forced are held to the tools' names and schemas once the model begins one: "
            "`always` all but those of tools that say `strict: false`, `strict` those of tools that say `strict: "
            "true`, `never` none. Forced calls and structured outputs always are."
        ),
    ] = "always"
    chat_template: Annotated[
        str, About("A Jinja file to use in place of the model's own chat template.", path=True)
    ] = ""
    context_length: Annotated[
        int, Meta(ge=0), About("The window in tokens, prompt and reply together; 0 is the model's own.")
    ] = 0
    parallel: Annotated[
        int, Meta(ge=1, le=256), About("How many requests the embedded engine works on at once; more will wait.")
    ] = 4
    cache_type: Annotated[
        Literal["auto", "f16", "q8_0", "q4_0"],
        About(
            "How the embedded engine keeps what it computes of tokens: `q8_0` takes about half the memory of `f16`, "
            "`q4_0` about a quarter, at some cost in quality. `auto` is `f16`, and `q8_0` before a window would "
            "shrink below 32768 tokens or the slots below two."
        ),
    ] = "auto"
    speculate: Annotated[
        Literal["off", "ngram"],
        About(
            "How the embedded engine guesses tokens ahead, which the model then checks all at once: `ngram` by how the "
            "conversation went on elsewhere. Files that are read and written again come faster; greedy replies are "
            "the same."
        ),
    ] = "off"
    threads: Annotated[
        int,
        Meta(ge=0),
        About(
            "Threads of the embedded engine. 0 is, shared by all engines, the cores that this process may use to read "
            "prompts, and one less to write replies."
        ),
    ] = 0
    memory_limit_mb: Annotated[
        int,
        Meta(ge=0),
        About(
            "Megabytes of memory that the embedded engine may take beside the model's file; if it takes more, it ends "
            "and is started again. 0 is what windows and weights need and a margin, at most what is free at the start."
        ),
    ] = 0
    mmproj: Annotated[
        str, About("The file that lets the embedded engine see images (a GGUF projector).", path=True)
    ] = ""
    lora: Annotated[
        tuple[str, ...],
        About(
            "`NAME=PATH`: an adapter (a LoRA in a GGUF file) for the model, served as a model called NAME; may be "
            "repeated. An attached llama.cpp must have been started with the same file.",
        ),
    ] = ()
    gpu_layers: Annotated[
        int, Meta(ge=-1), About("Layers of the model to put on an accelerator; -1 lets the engine decide.")
    ] = -1

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


class RaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of Ray Serve's own, by their names there: for the replicas of the surface, for the engine of every model,
    and for that of one."""

    surface: dict[str, Any] = {}
    engine: dict[str, Any] = {}
    models: dict[str, dict[str, Any]] = {}


class McpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An MCP server that any program can name: at a `url`, with a bearer `token` if it wants one, or a `command` that
    is started for each use."""

    url: str = ""
    token: str = ""
    command: tuple[str, ...] = ()


class Settings(ModelSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set. Numbers named `…_timeout`, `…_interval` and `…_period` are seconds. `models` holds
    the tables of the file, each filled up with what is set for all; `ray` is for `antiphon.ray` alone."""

    host: Annotated[str, About("Address to listen on. Anything but loopback needs a key.")] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65535), About("Port to listen on; 0 is any that is free, and the server says which.")
    ] = 8000
    api_keys: Annotated[
        tuple[str, ...], About("A key that clients may use; may be repeated.", name="api_key", secret=True)
    ] = ()
    api_key_file: Annotated[
        str, About("A file with further keys, one a line; lines that begin with # are comments.", path=True)
    ] = ""
    no_auth: Annotated[bool, About("Let everybody in, also on addresses that others can reach.")] = False
    allowed_hosts: Annotated[
        tuple[str, ...],
        About(
            "A name by which browsers and programs may call a server that asks for no key, besides `localhost` and its "
            "addresses; may be repeated. `*.example.org` is every name below, `*` any name.",
            name="allowed_host",
        ),
    ] = ()
    served_model_names: Annotated[
        tuple[str, ...],
        About(
            "A name that clients may call the model by; may be repeated, the first is shown.", name="served_model_name"
        ),
    ] = ()
    default_model: Annotated[
        str, About("Which of several models answers to `default` and to any other `claude-*`; otherwise the first one.")
    ] = ""
    models: dict[str, ModelSettings] = {}
    ray: RaySettings = msgspec.field(default_factory=RaySettings)
    workers: Annotated[int, Meta(ge=1, le=256), About("HTTP worker processes that share the port.")] = 1
    state_dir: Annotated[str, About("Where keys and logs live.", default="`$XDG_STATE_HOME/antiphon`", path=True)] = (
        msgspec.field(default_factory=_state_home)
    )
    cache_dir: Annotated[str, About("Where fetched models live.", default="`$XDG_CACHE_HOME/antiphon`", path=True)] = (
        msgspec.field(default_factory=_cache_home)
    )
    cache_disk: Annotated[
        int,
        Meta(ge=-1),
        About(
            "How much of the disk may hold what embedded engines have computed of prompts, in megabytes, so that it "
            "outlives them; 0 keeps nothing.",
            default="a tenth of what is free, at most 16000",
        ),
    ] = -1
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], About("How much to log; `debug` also shows the engine's own log.")
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"], About("How lines of the log are written: for people, or one JSON object each.")
    ] = "text"
    max_body_mb: Annotated[float, Meta(gt=0), About("Largest request body, in megabytes.")] = 32
    ping_interval: Annotated[float, Meta(gt=0), About("Seconds of silence after which a stream is sent a ping.")] = 10
    queue_timeout: Annotated[
        float,
        Meta(gt=0),
        About("Seconds a request waits for an engine that is starting or gone before it is told to retry."),
    ] = 60
    max_queue: Annotated[
        int,
        Meta(ge=0),
        About("How many requests may wait for a slot of the engine, in each worker; more are told to retry (529)."),
    ] = 256
    requests_per_minute: Annotated[
        int, Meta(ge=0), About("How many requests each key may send in a minute; 0 is no limit.")
    ] = 0
    input_tokens_per_minute: Annotated[
        int, Meta(ge=0), About("How many new prompt tokens each key may send in a minute; 0 is no limit.")
    ] = 0
    output_tokens_per_minute: Annotated[
        int, Meta(ge=0), About("How many tokens each key may have sampled in a minute; 0 is no limit.")
    ] = 0
    engine_timeout: Annotated[
        float, Meta(gt=0), About("Seconds an engine may be silent in the middle of its work before it is given up.")
    ] = 600
    grace_period: Annotated[
        float, Meta(ge=0), About("Seconds that running requests have to finish when the server is asked to stop.")
    ] = 30
    version_optional: Annotated[
        bool, About("Take requests without an `anthropic-version` header too, which the original refuses.")
    ] = False
    allow_private_urls: Annotated[
        bool,
        About(
            "Reach addresses of private networks too, where a request points at pictures, documents, pages or tools."
        ),
    ] = False
    web_search: Annotated[
        str,
        About(
            "What the tool `web_search` searches with: `searxng+http://HOST`, `brave`, `tavily`, "
            "`url+https://HOST/PATH?q={query}` or `command+PROGRAM`. Without, the tool is unavailable."
        ),
    ] = ""
    web_search_key: Annotated[str, About("The key that the search engine asks for.", secret=True)] = ""
    web_fetch: Annotated[bool, About("Let the tool `web_fetch` fetch pages that a conversation names.")] = False
    mcp_connector: Annotated[
        bool, About("Let requests name MCP servers by their addresses (`mcp_servers`), besides those in `[mcp.NAME]`.")
    ] = False
    mcp: dict[str, McpSettings] = {}
    tool_rounds: Annotated[
        int, Meta(ge=1, le=100), About("How often a message may call tools that run here before it pauses.")
    ] = 10
    tool_timeout: Annotated[float, Meta(gt=0), About("Seconds that one call of a tool that runs here may take.")] = 30
    tool_calls_per_minute: Annotated[
        int, Meta(ge=0), About("How many calls of tools that run here each key may make in a minute; 0 is no limit.")
    ] = 0

    @property
    def loopback(self) -> bool:
        """Whether only programs on this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def served(self) -> dict[str, ModelSettings]:
        """The models to serve, the default one first, each by the name that clients are shown (empty: what the model's
        file or engine calls it)."""
        if not self.models:
            first, *others = self.served_model_names or ("",)
            alone = {field: getattr(self, field) for field in ModelSettings.__struct_fields__}
            return {first: ModelSettings(**{**alone, "aliases": (*others, *self.aliases)})}
        default = self.default_model or next(iter(self.models))
        return {default: self.models[default], **self.models}


@functools.cache
def options(record: type[ModelSettings] = Settings) -> list[Option]:
    """Every option, in the order of declaration: all, or those that each model can have of its own."""
    return declared(record)
