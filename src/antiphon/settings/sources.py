"""The only reader of flags, environment and antiphon.toml.

What is given in several places is taken from the first of: the model's own table in the file, flag, environment, file,
default.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from antiphon.settings.fields import McpSettings, RaySettings, Settings, options
from antiphon.settings.model_fields import ModelSettings, names_engine
from antiphon.settings.options import Option

__all__ = ["BadSettings", "ModelSettings", "Option", "Settings", "load", "options", "shown", "validated"]

CONFIG_VARIABLE = "ANTIPHON_CONFIG"
CONFIG_FILE = "antiphon.toml"

_HOST_NAME = re.compile(r"\*|(\*\.)?[^\s*/:@,]+")
_PATTERN = re.compile(r"[*?\[]")


class BadSettings(ValueError):
    """A setting is unknown, has a value that cannot be, or contradicts another. The message says what to do."""


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
    named = bool(file or environment.get(CONFIG_VARIABLE))
    values, tables, others = _from_file(file_of(file, environment), required=named)
    for option in options():
        if option.variable in environment:
            text = environment[option.variable]
            value = [part.strip() for part in text.split(",") if part.strip()] if option.repeated else text
            values[option.field] = _checked(option, value, f"the environment variable {option.variable}")
        flag = (flags or {}).get(option.field)
        if flag is not None and flag != ():
            values[option.field] = _checked(option, flag, option.flag)
    return validated(Settings(**values, models=_tables(values, tables), **others))


def file_of(file: str | Path | None, environment: Mapping[str, str]) -> Path:
    """The configuration file that is read: the one that is given, or else as `load` says. It need not exist."""
    return Path(file or environment.get(CONFIG_VARIABLE) or CONFIG_FILE)


def _tables(values: dict[str, Any], tables: dict[str, dict[str, Any]]) -> dict[str, ModelSettings]:
    """The models' own settings, each filled up with what is given for all."""
    shared = {option.field: values[option.field] for option in options(ModelSettings) if option.field in values}
    for option in options():
        if tables and option.field in ("model", "aliases", "served_model_names") and values.get(option.field):
            raise BadSettings(
                f"{option.name} {values[option.field]!r} stands beside tables of models ({', '.join(tables)}), so it "
                "is unclear which model it is for: give each model a table of its own, [models.NAME], and say it there"
            )
    return {name: ModelSettings(**{**shared, **table}) for name, table in tables.items()}


def _from_file(path: Path, *, required: bool) -> tuple[dict[str, Any], dict[str, dict[str, Any]], dict[str, Any]]:
    """What the file sets, by field, what it sets for each model, and for Ray and MCP servers. Relative paths
    in it are relative to its folder."""
    try:
        keys = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if required:
            raise BadSettings(f"the configuration file {path} does not exist") from None
        return {}, {}, {}
    except (OSError, ValueError) as error:
        raise BadSettings(f"the configuration file {path} cannot be read: {error}") from None
    tables = keys.pop("models", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise BadSettings(f"{path}: models holds a table for each model: [models.NAME]")
    own = {
        name: _table(table, options(ModelSettings), f"{path}: [models.{name}]", path.parent)
        for name, table in tables.items()
    }
    try:
        ray = msgspec.convert(keys.pop("ray", {}), RaySettings)
    except msgspec.ValidationError:
        raise BadSettings(f"{path}: [ray] holds tables called surface, engine and models.NAME, nothing else") from None
    mcp = _mcp(keys.pop("mcp", {}), str(path))
    return _table(keys, options(), str(path), path.parent), own, {"ray": ray, "mcp": mcp}


def _mcp(tables: Any, source: str) -> dict[str, McpSettings]:
    """The MCP servers of the file."""
    try:
        servers = msgspec.convert(tables, dict[str, McpSettings])
    except msgspec.ValidationError as error:
        raise BadSettings(f"{source}: [mcp.NAME] holds url and token, or command as a list: {error}") from None
    for name, server in servers.items():
        if bool(server.url) == bool(server.command):
            raise BadSettings(f"{source}: [mcp.{name}] needs a url or a command, and not both")
    return servers


def _table(keys: dict[str, Any], allowed: list[Option], source: str, folder: Path) -> dict[str, Any]:
    """What a table of the file sets, by field."""
    known = {option.name: option for option in allowed}
    values = {}
    for key, value in keys.items():
        if key not in known:
            raise BadSettings(f"{source}: unknown key {key!r}{_did_you_mean(key, list(known))}")
        wrapped = [value] if known[key].repeated and isinstance(value, str) else value
        values[known[key].field] = _checked(known[key], wrapped, f"{source}: {key}", folder=folder)
    return values


def _did_you_mean(word: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word.replace("-", "_"), known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(known)}"


def _checked(option: Option, value: Any, source: str, folder: Path | None = None) -> Any:
    try:
        checked = msgspec.convert(value, option.annotation, strict=not isinstance(value, str))
    except msgspec.ValidationError:
        shown = "has a value that cannot be" if option.about.secret else f"is {value!r}"
        raise BadSettings(f"{source} {shown}: it takes {option.takes}") from None
    if checked and (option.about.path or (folder and option.field == "model" and _is_file(checked))):
        return _placed(checked, folder)
    if option.field == "lora":
        parts = [each.partition("=") for each in checked]
        if wrong := next(("".join(each) for each in parts if not (each[0] and each[2])), None):
            raise BadSettings(f"{source}: {wrong!r} is not NAME=PATH")
        return tuple(f"{name}={_placed(path, folder)}" for name, _, path in parts)
    return checked


def _placed(path: str, folder: Path | None) -> str:
    return str((folder or Path()).joinpath(Path(path).expanduser()).absolute())


def _is_file(model: str) -> bool:
    # A name without a folder that is no GGUF file is one of the catalogue's.
    short = "/" not in model and not model.endswith(".gguf")
    return not short and not model.startswith("hf:") and not names_engine(model)


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
        raise BadSettings("an API key may not be empty, or begin or end with whitespace")
    if settings.no_auth and settings.api_keys:
        raise BadSettings("--no-auth and API keys contradict each other; leave one of them out")
    if odd := next((name for name in settings.allowed_hosts if not _HOST_NAME.fullmatch(name)), None):
        raise BadSettings(
            f"allowed_host {odd!r} is not a host name: give it without scheme and port, as in gpu.example.org"
        )
    _names_are_clear(settings)
    return settings


def _names_are_clear(settings: Settings) -> None:
    if settings.default_model and settings.default_model not in settings.models:
        known = ", ".join(settings.models) or "none"
        raise BadSettings(
            f"default_model is {settings.default_model!r}, which is not one of the models (there are: {known})"
        )
    if unknown := settings.ray.models.keys() - settings.models.keys():
        raise BadSettings(f"[ray.models.{min(unknown)}] is for no model: there is no table [models.{min(unknown)}]")
    owner: dict[str, str] = {}
    for name, model in settings.models.items():
        if not name or _PATTERN.search(name):
            raise BadSettings(f"[models.{name!r}]: a model's name may not be empty nor hold any of * ? [")
        for said in (name, *model.aliases):
            if owner.setdefault(said, name) != name:
                raise BadSettings(f"both models {owner[said]!r} and {name!r} are to be called {said!r}")


def shown(settings: Settings) -> str:
    """The settings in the notation of antiphon.toml, for people: secrets are only counted."""
    lines = [_shown(option, getattr(settings, option.field)) for option in options()]
    for name, model in settings.models.items():
        lines += ["", f"[models.{_toml(name)}]"]
        for option in options(ModelSettings):
            value = getattr(model, option.field)
            if option.field == "model" or value != getattr(settings, option.field):
                lines.append(_shown(option, value))
    ray = settings.ray
    tables = {"surface": ray.surface, "engine": ray.engine, **{f"models.{_toml(n)}": t for n, t in ray.models.items()}}
    for name, table in tables.items():
        if table:
            lines += ["", f"[ray.{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    for name, server in settings.mcp.items():
        place = f"command = {_toml(list(server.command))}" if server.command else f"url = {_toml(server.url)}"
        lines += ["", f"[mcp.{_toml(name)}]", place, *(["# token: set, not shown"] if server.token else [])]
    return "\n".join(lines) + "\n"


def _shown(option: Option, value: Any) -> str:
    if option.about.secret and value:
        return f"# {option.name}: {len(value)} set, not shown"
    if value is None:
        return f"# {option.name}: {option.shown_default}"
    return f"{option.name} = {_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # Strings, numbers, booleans and lists of strings are written alike in JSON and in TOML, but for one character.
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
