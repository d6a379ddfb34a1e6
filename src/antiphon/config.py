"""Settings: one frozen record, and the only reader of flags, environment and antiphon.toml.

Each option is declared once, as a field of `Settings`. Its name gives the flag (`--max-body-mb`), the
environment variable (`ANTIPHON_MAX_BODY_MB`) and the key in the file (`max_body_mb`); the command line and the
reference pages are made from the same declaration. What is given in several places is taken from the first of:
flag, environment, file, default.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from antiphon.options import About, Option, declared

RUNTIME_VARIABLE = "ANTIPHON_RUNTIME"
CONFIG_VARIABLE = "ANTIPHON_CONFIG"
CONFIG_FILE = "antiphon.toml"


class BadSettings(ValueError):
    """A setting is unknown, has a value that cannot be, or contradicts another. The message says what to do."""


def _home(variable: str, fallback: str) -> str:
    base = os.environ.get(variable, "")
    # The XDG specification: a relative path there is invalid and must be ignored.
    return str((Path(base) if os.path.isabs(base) else Path.home() / fallback) / "antiphon")


def _state_home() -> str:
    return _home("XDG_STATE_HOME", ".local/state")


def _cache_home() -> str:
    return _home("XDG_CACHE_HOME", ".cache")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set. Numbers named `…_timeout`, `…_interval` and `…_period` are seconds."""

    model: Annotated[
        str,
        About(
            "What to serve: `path.gguf`, `hf:org/repo:file.gguf`, or an engine that runs already, such as "
            "`llama.cpp+http://host:8080`. Nothing means the small default model."
        ),
    ] = ""
    host: Annotated[str, About("Address to listen on. Anything but loopback needs a key.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535), About("Port to listen on.")] = 8000
    api_keys: Annotated[
        tuple[str, ...], About("A key that clients may use; may be repeated.", name="api_key", secret=True)
    ] = ()
    api_key_file: Annotated[
        str, About("A file with further keys, one a line; lines that begin with # are comments.", path=True)
    ] = ""
    no_auth: Annotated[bool, About("Let everybody in, also on addresses that others can reach.")] = False
    served_model_names: Annotated[
        tuple[str, ...],
        About(
            "A name that clients may call the model by; may be repeated, the first is shown.", name="served_model_name"
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
    chat_template: Annotated[
        str, About("A Jinja file to use in place of the model's own chat template.", path=True)
    ] = ""
    context_length: Annotated[
        int, Meta(ge=0), About("The window in tokens, prompt and reply together; 0 is the model's own.")
    ] = 0
    parallel: Annotated[
        int, Meta(ge=1, le=256), About("How many requests the embedded engine works on at once; more will wait.")
    ] = 4
    threads: Annotated[
        int, Meta(ge=0), About("Threads of the embedded engine; 0 is one for each core this process may use, but one.")
    ] = 0
    workers: Annotated[int, Meta(ge=1, le=256), About("HTTP worker processes that share the port.")] = 1
    mmproj: Annotated[
        str, About("The file that lets the embedded engine see images (a GGUF projector).", path=True)
    ] = ""
    gpu_layers: Annotated[
        int, Meta(ge=-1), About("Layers of the model to put on an accelerator; -1 lets the engine decide.")
    ] = -1
    state_dir: Annotated[str, About("Where keys and logs live.", default="`$XDG_STATE_HOME/antiphon`", path=True)] = (
        msgspec.field(default_factory=_state_home)
    )
    cache_dir: Annotated[str, About("Where fetched models live.", default="`$XDG_CACHE_HOME/antiphon`", path=True)] = (
        msgspec.field(default_factory=_cache_home)
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], About("How much to log; `debug` also shows the engine's own log.")
    ] = "info"
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
    allow_private_urls: Annotated[bool, About("Fetch images and documents from addresses of private networks too.")] = (
        False
    )

    @property
    def loopback(self) -> bool:
        """Whether only programs on this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def attached(self) -> bool:
        """Whether the model is an engine that runs already, rather than a file for the embedded one."""
        return re.match(r"scripted\+|[a-z][a-z0-9._-]*\+https?://", self.model) is not None


@functools.cache
def options() -> list[Option]:
    """Every option, in the order of declaration."""
    return declared(Settings)


def load(
    flags: Mapping[str, Any] | None = None,
    *,
    file: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """The settings in force. `flags` maps fields to what was given on the command line (None: not given);
    `file` is the configuration file, by default `$ANTIPHON_CONFIG` or `antiphon.toml` here if there is one.
    Raises BadSettings."""
    environment = os.environ if environment is None else environment
    file = file or environment.get(CONFIG_VARIABLE) or None
    given = _from_file(Path(file or CONFIG_FILE), required=file is not None)
    for option in options():
        if option.variable in environment:
            text = environment[option.variable]
            value = [part.strip() for part in text.split(",") if part.strip()] if option.repeated else text
            given[option.field] = _checked(option, value, f"the environment variable {option.variable}")
        flag = (flags or {}).get(option.field)
        if flag is not None and flag != ():
            given[option.field] = _checked(option, flag, option.flag)
    return validated(Settings(**given))


def _from_file(path: Path, *, required: bool) -> dict[str, Any]:
    """What the file sets, by field. Relative paths in it are relative to its folder."""
    try:
        keys = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if required:
            raise BadSettings(f"the configuration file {path} does not exist") from None
        return {}
    except (OSError, ValueError) as error:
        raise BadSettings(f"the configuration file {path} cannot be read: {error}") from None
    known = {option.name: option for option in options()}
    given = {}
    for key, value in keys.items():
        if key not in known:
            raise BadSettings(f"{path}: unknown key {key!r}{_did_you_mean(key, list(known))}")
        wrapped = [value] if known[key].repeated and isinstance(value, str) else value
        given[known[key].field] = _checked(known[key], wrapped, f"{path}: {key}", folder=path.parent)
    return given


def _did_you_mean(word: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word.replace("-", "_"), known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(known)}"


def _checked(option: Option, value: Any, source: str, folder: Path | None = None) -> Any:
    try:
        checked = msgspec.convert(value, option.annotation, strict=not isinstance(value, str))
    except msgspec.ValidationError as error:
        shown = "" if option.about.secret else f" (it is {value!r})"
        raise BadSettings(f"{source}: {error}{shown}") from None
    if option.about.path and checked:
        return str((folder or Path()).joinpath(Path(checked).expanduser()).absolute())
    return checked


def validated(settings: Settings) -> Settings:
    """The same settings with the keys of the key file among the others. Raises BadSettings when they contradict."""
    if settings.api_key_file:
        try:
            lines = Path(settings.api_key_file).read_text("utf-8").split("\n")
        except (OSError, ValueError) as error:
            raise BadSettings(f"the key file {settings.api_key_file} cannot be read: {error}") from None
        keys = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
        if not keys:
            raise BadSettings(f"the key file {settings.api_key_file} holds no key")
        settings = msgspec.structs.replace(settings, api_keys=settings.api_keys + keys, api_key_file="")
    if any(not key or key.strip() != key for key in settings.api_keys):
        raise BadSettings("an API key may not be empty, nor begin or end with a blank")
    if settings.no_auth and settings.api_keys:
        raise BadSettings("--no-auth and API keys contradict each other; leave one of them out")
    if not settings.loopback and not settings.api_keys and not settings.no_auth:
        raise BadSettings(
            f"listening on {settings.host} lets other machines in, so it needs a key: give --api-key KEY "
            "(or --api-key-file FILE), or say --no-auth if everybody who can reach it may use it"
        )
    return settings


def shown(settings: Settings) -> str:
    """The settings in the notation of antiphon.toml, for people: secrets are only counted."""
    lines = []
    for option in options():
        value = getattr(settings, option.field)
        if option.about.secret and value:
            lines.append(f"# {option.name}: {len(value)} set, not shown")
        else:
            # Strings, numbers, booleans and lists of strings are written alike in JSON and in TOML.
            lines.append(f"{option.name} = {msgspec.json.encode(value).decode()}")
    return "\n".join(lines) + "\n"


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker process needs to know. `engine` is where the engine answers (`llama.cpp+http://127.0.0.1:1234`)
    and `engine_key` the key it asks for, `name` what the model is called unless settings say otherwise, `gguf` the
    model's file where it is known. `shared` is the folder that the supervisor and its workers share (`shared.py`)."""

    settings: Settings
    engine: str
    engine_key: str = ""
    name: str = ""
    gguf: str = ""
    shared: str = ""

    def environment(self) -> dict[str, str]:
        """The environment variable that hands this to a child process."""
        return {RUNTIME_VARIABLE: msgspec.json.encode(self).decode()}

    @staticmethod
    def from_environment() -> Runtime:
        """What the supervisor handed down. Raises BadSettings when it did not."""
        try:
            return msgspec.json.decode(os.environ[RUNTIME_VARIABLE], type=Runtime)
        except KeyError:
            raise BadSettings(f"{RUNTIME_VARIABLE} is not set; workers are started by `antiphon serve`") from None
        except msgspec.ValidationError as error:
            raise BadSettings(f"{RUNTIME_VARIABLE} is not what this version writes: {error}") from None
