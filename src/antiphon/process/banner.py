"""What people are told: the lines printed when the server is up, and the environment that points a program at it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from antiphon import __version__
from antiphon.settings.sources import Settings

PLACEHOLDER = "your-key"


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A model as a running server describes it. Numbers are tokens, 0 when not told; `parsers` is a sentence; `thinks`
    and `sees` say what it can do; an adapter has the name of its model as `base`."""

    name: str
    base: str = ""
    aliases: tuple[str, ...] = ()
    window: int = 0
    max_output: int = 0
    parsers: str = ""
    thinks: bool = False
    sees: bool = False


def served(health: Any) -> list[Served]:
    """The models in what `/health` answered, the default one first; none when it does not say."""
    try:
        return msgspec.convert(health["models"], list[Served])
    except (LookupError, TypeError, msgspec.ValidationError):
        return []


def address(settings: Settings) -> str:
    """Where a program on this machine reaches the server. An address that means "all" is told as loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host.strip("[]"), settings.host.strip("[]"))
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def environment(base: str, *, key: str, model: str) -> dict[str, str]:
    """The variables that point every SDK at the server. What a program wants beside them is in `programs.py`."""
    return {"ANTHROPIC_BASE_URL": base, "ANTHROPIC_AUTH_TOKEN": key, "ANTHROPIC_MODEL": model}


def exports(variables: dict[str, str]) -> list[str]:
    """The same as lines for a shell."""
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def banner(
    settings: Settings, models: Sequence[Served], *, sources: Mapping[str, str], notes: Sequence[str] = ()
) -> str:
    """What `serve` prints once it answers. The first model is the default; `sources` are the files or engines of the
    models that are no adapters, by name."""
    base, key = address(settings), PLACEHOLDER if settings.api_keys else "any"
    rows = [row for model in models for row in _rows(model, sources.get(model.name, ""))]
    rows += [("note", note) for note in notes]
    rows += [
        ("address", base),
        ("keys", f"{len(settings.api_keys)}" if settings.api_keys else "none asked for"),
    ]
    model = models[0]
    body = f'{{"model": {msgspec.json.encode(model.name).decode()}, "max_tokens": 100, ' + (
        '"messages": [{"role": "user", "content": "Say hello."}]}'
    )
    header = f" -H 'x-api-key: {key}'" if settings.api_keys else ""
    return "\n".join(
        [
            f"Antiphon {__version__} is ready.",
            *(f"  {label:8} {text}" for label, text in rows),
            "",
            "Point a program at it (ANTHROPIC_API_KEY works in place of ANTHROPIC_AUTH_TOKEN):",
            *(f"  {line}" for line in exports(environment(base, key=key, model=model.name))),
            "",
            f"Try it in a browser at {base}, or:",
            f"  curl {base}/v1/messages{header} -H 'anthropic-version: 2023-06-01' \\",
            f"    -H 'content-type: application/json' -d {shlex.quote(body)}",
            "",
        ]
    )


def _rows(model: Served, source: str) -> list[tuple[str, str]]:
    source = source or (f"adapter of {model.base}" if model.base else "")
    rows = [
        ("model", f"{model.name}  ({source})" if source else model.name),
        ("", f"also {', '.join(model.aliases)}" if model.aliases else ""),
        ("window", f"{model.window} tokens" if model.window else ""),
        ("parsers", model.parsers),
    ]
    return [row for row in rows if row[1]]
