"""Settings: what can be set, each option declared once.

An option is a field of `Settings`, or of `ModelSettings` where each model can have its own. Its name gives the flag
(`--max-body-mb`), the environment variable (`ANTIPHON_MAX_BODY_MB`) and the key in the file (`max_body_mb`); the
command line and the reference pages are made from the same declaration. `sources.py` reads them.
"""

from __future__ import annotations

import functools
import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from antiphon.settings.model_fields import ModelSettings
from antiphon.settings.options import About, Option, declared


def _home(variable: str, fallback: str) -> str:
    base = os.environ.get(variable, "")
    # The XDG specification: a relative path there is invalid and must be ignored.
    return str((Path(base) if os.path.isabs(base) else Path.home() / fallback) / "antiphon")


def _state_home() -> str:
    return _home("XDG_STATE_HOME", ".local/state")


def _cache_home() -> str:
    return _home("XDG_CACHE_HOME", ".cache")


class RaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of Ray Serve's own, by their names there: for the replicas of the surface, for the engine of every model,
    and for that of one."""

    surface: dict[str, Any] = {}
    engine: dict[str, Any] = {}
    models: dict[str, dict[str, Any]] = {}


class McpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An MCP server that any program can name: at a `url`, with a bearer `token` if it wants one, or a `command` that
    is kept while it is used."""

    url: str = ""
    token: str = ""
    command: tuple[str, ...] = ()


class Settings(ModelSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set. Numbers named `…_timeout`, `…_interval` and `…_period` are seconds. `models` holds
    the tables of the file, each filled up with what is set for all; `ray` is for `antiphon.ray` alone."""

    host: Annotated[str, About("Address to listen on. Any address other than loopback needs a key.")] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65535), About("Port to listen on; 0 picks a free one, which the server prints.")
    ] = 8000
    api_keys: Annotated[
        tuple[str, ...], About("An API key that clients may use; may be repeated.", name="api_key", secret=True)
    ] = ()
    api_key_file: Annotated[
        str, About("A file with further keys, one per line; lines that begin with # are comments.", path=True)
    ] = ""
    no_auth: Annotated[bool, About("Accept requests without a key, even on addresses that others can reach.")] = False
    allowed_hosts: Annotated[
        tuple[str, ...],
        About(
            "A host name under which a server without keys may be reached, besides `localhost` and its addresses; may "
            "be repeated. `*.example.org` allows every name below it, `*` any name.",
            name="allowed_host",
        ),
    ] = ()
    served_model_names: Annotated[
        tuple[str, ...],
        About("A name under which the model is served; may be repeated, the first is shown.", name="served_model_name"),
    ] = ()
    default_model: Annotated[
        str,
        About("Which of several models answers to `default` and to unknown `claude-*` names; the first one if unset."),
    ] = ""
    models: dict[str, ModelSettings] = msgspec.field(default_factory=dict)
    max_loaded: Annotated[
        int,
        Meta(ge=0),
        About(
            "How many embedded models are loaded at once: each is loaded when it is first needed, and the one unused "
            "for longest makes room. 0 is no limit; all are loaded at the start unless `loaded_memory_mb` or a "
            "`keep_alive` is set."
        ),
    ] = 0
    loaded_memory_mb: Annotated[
        int,
        Meta(ge=0),
        About(
            "Megabytes of memory that embedded models, loaded on demand, may take together; 0 allows what is free at "
            "the start."
        ),
    ] = 0
    ray: RaySettings = msgspec.field(default_factory=RaySettings)
    workers: Annotated[int, Meta(ge=1, le=256), About("HTTP worker processes that share the port.")] = 1
    state_dir: Annotated[
        str,
        About(
            "Folder for keys, logs and everything the server keeps.", default="`$XDG_STATE_HOME/antiphon`", path=True
        ),
    ] = msgspec.field(default_factory=_state_home)
    store: Annotated[
        str,
        About(
            "Database for what the server keeps for its clients: `sqlite:///PATH`, or "
            "`postgresql://USER:PASSWORD@HOST/DATABASE` for servers on several machines.",
            default="a file in the state folder",
            secret=True,
        ),
    ] = ""
    contents: Annotated[
        str,
        About(
            "Where the contents of files and batches lie: a folder, or `s3://BUCKET/PREFIX` for servers on several "
            "machines.",
            default="a folder in the state folder",
        ),
    ] = ""
    record: Annotated[
        str,
        About(
            "Folder where all token ids that models are given and give are recorded, with log-probabilities, for those "
            "who train on them; nothing is recorded if unset.",
            path=True,
        ),
    ] = ""
    record_text: Annotated[
        bool,
        About("Record the text of prompts and replies, too, beside their token ids."),
    ] = False
    record_disk: Annotated[
        int,
        Meta(ge=1),
        About("Megabytes of disk for what is recorded; beyond that, the oldest conversations go."),
    ] = 10240
    files_quota_mb: Annotated[int, Meta(ge=0), About("Megabytes of files that each key may keep; 0 is no limit.")] = 0
    files_largest_mb: Annotated[int, Meta(ge=1), About("Largest file that may be uploaded, in megabytes.")] = 500
    files_keep_days: Annotated[
        float, Meta(ge=0), About("Days after which an uploaded file is deleted, unless it has its own age; 0 is never.")
    ] = 0
    files_downloadable: Annotated[
        bool, About("Allow keys to download the files they uploaded, which the original refuses.")
    ] = False
    cache_dir: Annotated[
        str, About("Folder for downloaded models.", default="`$XDG_CACHE_HOME/antiphon`", path=True)
    ] = msgspec.field(default_factory=_cache_home)
    catalogue_url: Annotated[
        str, About("Where `antiphon update-models` finds a newer list of the models that are known by a short name.")
    ] = ""
    cache_disk: Annotated[
        int,
        Meta(ge=-1),
        About(
            "Megabytes of disk for computed prompts of embedded engines, so that they survive restarts; 0 keeps "
            "nothing.",
            default="a tenth of what is free, at most 16000",
        ),
    ] = -1
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], About("How much to log; `debug` includes the engine's own log.")
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"], About("Format of log lines: text for people, or one JSON object each.")
    ] = "text"
    max_body_mb: Annotated[float, Meta(gt=0), About("Largest request body, in megabytes.")] = 32
    ping_interval: Annotated[float, Meta(gt=0), About("Seconds of silence after which a stream gets a ping.")] = 10
    queue_timeout: Annotated[
        float,
        Meta(gt=0),
        About("Seconds a request waits for an engine that is starting or down before it is told to retry."),
    ] = 60
    max_queue: Annotated[
        int,
        Meta(ge=0),
        About("How many requests may wait for an engine slot, per worker; further ones are told to retry (529)."),
    ] = 256
    context_management: Annotated[
        Literal["off", "clear-tool-results"],
        About(
            "What to do with a prompt that outgrows the window, if the program asked for nothing: `clear-tool-results` "
            "clears old tool results, and says so in the header `antiphon-cleared`."
        ),
    ] = "off"
    requests_per_minute: Annotated[int, Meta(ge=0), About("Requests per minute for each key; 0 is no limit.")] = 0
    input_tokens_per_minute: Annotated[
        int, Meta(ge=0), About("New prompt tokens per minute for each key; 0 is no limit.")
    ] = 0
    output_tokens_per_minute: Annotated[
        int, Meta(ge=0), About("Output tokens per minute for each key; 0 is no limit.")
    ] = 0
    engine_timeout: Annotated[
        float, Meta(gt=0), About("Seconds an engine may be silent during a request before the request fails.")
    ] = 600
    send_timeout: Annotated[
        float, Meta(gt=0, le=86400), About("Seconds until a client that reads nothing of its reply is cut off (Linux).")
    ] = 60
    grace_period: Annotated[
        float, Meta(ge=0), About("Seconds that running requests get to finish when the server stops.")
    ] = 30
    version_optional: Annotated[
        bool, About("Accept requests without an `anthropic-version` header, which the original refuses.")
    ] = False
    allow_private_urls: Annotated[
        bool,
        About("Allow URLs on private networks for the images, documents, pages and tools that requests point at."),
    ] = False
    web_search: Annotated[
        str,
        About(
            "The search engine behind the tool `web_search`: `searxng+http://HOST`, `brave`, `tavily`, "
            "`url+https://HOST/PATH?q={query}` or `command+PROGRAM`. Without one the tool is unavailable."
        ),
    ] = ""
    web_search_key: Annotated[str, About("The API key of the search engine.", secret=True)] = ""
    web_fetch: Annotated[bool, About("Allow the tool `web_fetch` to fetch pages that appear in the conversation.")] = (
        False
    )
    mcp_connector: Annotated[
        bool, About("Allow requests to name MCP servers by URL (`mcp_servers`), besides those in `[mcp.NAME]`.")
    ] = False
    mcp: dict[str, McpSettings] = msgspec.field(default_factory=dict)
    code_execution: Annotated[
        bool, About("Allow the tool `code_execution` to run code in bubblewrap, which must be installed.")
    ] = False
    code_memory_mb: Annotated[int, Meta(ge=1), About("Memory that code may use at once, in megabytes.")] = 1024
    code_disk_mb: Annotated[
        int, Meta(ge=1), About("Files that code may write, in megabytes; they are in memory while it runs.")
    ] = 256
    code_runs: Annotated[
        int,
        Meta(ge=0),
        About("Runs of code at once in each worker; more wait. 0 is one fewer than there are cores, 1 to 4."),
    ] = 0
    tool_keys: Annotated[
        tuple[str, ...],
        About(
            "`TOOL=LABEL`: a key that may use `web_search`, `web_fetch`, `mcp` or `code_execution`, by the "
            "label that the log has for it; may be repeated. A tool that is not named is open to every key.",
            name="tool_key",
        ),
    ] = ()
    tool_rounds: Annotated[
        int, Meta(ge=1, le=100), About("Rounds of server tool calls in one message before it pauses.")
    ] = 10
    tool_timeout: Annotated[float, Meta(gt=0), About("Seconds that one server tool call may take.")] = 30
    tool_calls_per_minute: Annotated[
        int, Meta(ge=0), About("Server tool calls per minute for each key; 0 is no limit.")
    ] = 0

    @property
    def loopback(self) -> bool:
        """Whether only programs on this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def records(self) -> str:
        """The URL of the database that things are kept in: the one that is set, or else a file of this server's own, as
        servers that share a state folder need not share what they keep."""
        return self.store or f"sqlite:///{Path(self.state_dir) / f'store-{self.port}.sqlite'}"

    @property
    def on_demand(self) -> bool:
        """Whether embedded models are loaded when they are needed, all but pinned ones."""
        bounded = self.max_loaded or self.loaded_memory_mb
        return bool(bounded) or any(model.keep_alive is not None for model in self.served.values())

    @property
    def journals(self) -> str:
        """The folder in which workers enter what is used, before it is in the database."""
        return str(Path(self.state_dir) / f"usage-{self.port}")

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
