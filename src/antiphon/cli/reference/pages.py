"""The pages: what each is called, and what makes its text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import get_args

import click

from antiphon.cli import COMMANDS, main
from antiphon.cli.programs import PROGRAMS
from antiphon.cli.reference import picture, rooms
from antiphon.engines import kinds
from antiphon.engines.scripted import Script, Scripted
from antiphon.parsing.formats import reasonings, registry
from antiphon.serving.model import Choices
from antiphon.serving.service import Service
from antiphon.serving.token_model import load
from antiphon.settings.options import Option
from antiphon.settings.sources import ModelSettings, options
from antiphon.surfaces import Options, Surface, routes
from antiphon.surfaces.http.openapi import document
from antiphon.surfaces.messages.differences import DIFFERENCES
from antiphon.surfaces.surface import Route

_MADE = "<!-- Made by `make docs-generated` from the program itself; change it there. -->\n"
_ROOMS, _END = "<!-- The rooms: made by `make docs-generated`. -->", "<!-- The end of the rooms. -->"
_WIDTH = 100
_EXAMPLE = """\
default_model = "large"

[models.large]
model = "hf:org/large-model:model-q4.gguf"
parallel = 2

[models.small]
model = "small.gguf"
context_length = 32768
alias = ["claude-haiku-*", "*haiku*"]

[models.cluster]
model = "llama.cpp+http://10.0.0.5:8080"
"""


def command_line() -> str:
    """The page of commands: what `--help` prints for each."""
    parts = ["# The command line\n", _MADE]
    root = click.Context(main, info_name="antiphon", terminal_width=_WIDTH, **main.context_settings)
    parts.append(_help(root))
    for name in sorted(COMMANDS):
        command = main.get_command(root, name)
        assert command is not None
        parts += [f"## antiphon {name}\n", _help(click.Context(command, root, info_name=name, terminal_width=_WIDTH))]
    return "\n".join(parts)


def _help(context: click.Context) -> str:
    return f"```text\n{context.get_help()}\n```\n"


def configuration() -> str:
    """The page of settings: flag, variable and key of each."""
    rows = [
        f"| {'`MODEL`' if option.field == 'model' else f'`{option.flag}`'} | `{option.variable}` | `{option.name}` "
        f"| {_kind(option)} | {_default(option)} | {option.about.help.replace('|', chr(92) + '|')} |"
        for option in options()
    ]
    return "\n".join(
        [
            "# Settings\n",
            _MADE,
            "Each setting can be given as a flag, in the environment, or in `antiphon.toml`: the one in the current "
            "folder, or the one that `--config` or `ANTIPHON_CONFIG` names. The flag wins over the environment, the "
            "environment over the file. A key in the file that is not in this table is an error. "
            "`antiphon serve --print-config` shows what is in force.\n",
            "Several values are written with commas between them in the environment, as a list in the file, and by "
            "repeating the flag. A flag that needs no value is turned off by its opposite "
            "(`--no-allow-private-urls`, `--auth`). Relative paths in the file start at the file's folder.\n",
            "| flag | environment | file | kind | default | meaning |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            "## Several models\n",
            "Each table `[models.NAME]` of the file is a model, which clients call NAME. It can have its own "
            f"{_names(tuple(option.name for option in options(ModelSettings)))}; what it leaves open is as it was "
            "given for all.\n",
            "```toml\n" + _EXAMPLE + "```\n",
            "The tables `[ray.surface]`, `[ray.engine]` and `[ray.models.NAME]` are for [Ray Serve](ray.md) alone.\n",
        ]
    )


def _kind(option: Option) -> str:
    if option.repeated:
        return "texts"
    if option.metavar not in ("TEXT", "PATH", "NUMBER"):
        return " ".join(f"`{word}`" for word in get_args(option.type))
    if option.type is bool:
        return "true or false"
    return {int: "whole number", float: "number"}.get(option.type, "path" if option.about.path else "text")


def _default(option: Option) -> str:
    if not option.shown_default:
        return ""
    return option.shown_default if option.shown_default.startswith("`") else f"`{option.shown_default}`"


def formats() -> str:
    """The page of formats: how model families write tool calls and thinking, by which names, with an example."""
    tools = []
    for format in sorted(registry().values(), key=lambda format: format.name):
        tools += [f"### {format.name}\n", f"{format.summary[:1].upper()}{format.summary[1:]}.\n"]
        if format.aliases:
            tools.append(f"Also called {_names(format.aliases)}.\n")
        if format.example:
            meant = "\n".join(f"→ {name} {arguments}" for name, arguments in format.example.calls)
            tools.append(f"```text\n{format.example.raw}\n{meant}\n```\n")
    rows = [
        f"| `{marking.name}` | {_names(marking.aliases)} | {marking.summary.replace('|', chr(92) + '|')} |"
        for marking in sorted(reasonings().values(), key=lambda marking: marking.name)
    ]
    return "\n".join(
        [
            "# Formats\n",
            _MADE,
            "How model families write tool calls and thinking. With `auto`, the default, the server recognises both by "
            "the model's chat template and says at its start what it chose; `--tool-call-parser` and "
            "`--reasoning-parser` take any name below. The names that other servers use for the same are known too. "
            "Whether a reply begins inside thinking is read from the end of the prompt.\n",
            "## Thinking\n",
            "| `--reasoning-parser` | also called | how thinking is marked |",
            "|---|---|---|",
            *rows,
            "",
            "## Tool calls\n",
            *tools,
        ]
    )


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def programs() -> str:
    """The page of programs that can be launched: what each is given, and why."""
    parts = [
        "# Programs\n",
        _MADE,
        "`antiphon launch` starts a program with all that it must be told of the running server, says what that is, "
        "and leaves its own settings alone. What stands after `--` goes to the program, whose exit status is the "
        "command's. `antiphon launch --list` shows which programs are known and installed; `antiphon env PROGRAM` "
        'prints the same for your own use (`eval "$(antiphon env)"`). Another server is named with `--url`, '
        "its key with `--key`, models with `--model` and `--small-model`, and the longest reply with "
        "`--max-tokens`.\n",
    ]
    for name, program in sorted(PROGRAMS.items()):
        rows = [f"| `{variable}` | {why} |" for variable, why in program.why.items()]
        parts += [
            f"## {program.title}\n",
            f"```sh\n{program.install}\nantiphon launch {name}\nantiphon launch {name} -- {program.example}\n```\n",
            f"Its own instructions and tools take about {program.prompt_tokens:,} tokens, so the window should be a "
            "good deal larger than that.\n",
            "\n".join(["| set | |", "|---|---|", *rows, ""]),
        ]
        if program.without:
            parts.append(f"Taken away, as they would lead it elsewhere: {_names(program.without)}.\n")
    return "\n".join(parts)


def engines() -> str:
    """The page of engines: how each is attached, its dialect, what it takes and what it cannot do."""
    parts = [
        "# Engines\n",
        _MADE,
        "Without a model, or with a model file, `antiphon serve` starts an engine of its own. A running engine, on "
        "this machine or as a cluster behind one URL, is named by a scheme and its URL. Antiphon renders the chat "
        "template, tokenises, parses and constrains by itself, so an engine only turns token ids into token ids.\n",
        "`--tokenizer` names the model's tokenizer files (a folder or a hub id), `--engine-key` the engine's API key. "
        "A constraint on the output (a forced tool call, a structured output, a tool's schema) becomes a grammar in "
        "the engine's dialect. What the dialect or the engine cannot express is checked after the reply, which is "
        "then tried again if it does not match.\n",
    ]
    for scheme, kind in sorted(kinds().items()):
        lines = [*(f"- takes {each}" for each in kind.takes), *(f"- lacks {each}" for each in kind.lacks)]
        parts += [
            f"## {scheme}\n",
            f"{kind.summary[:1].upper()}{kind.summary[1:]}: `{scheme}+…`.\n",
            f"```sh\n{kind.start}\n```\n",
            "\n".join([*lines, ""]),
            f"Shown by {kind.shows}.\n",
        ]
    rows = [f"| {theirs} | {ours} |" for theirs, ours in LMDEPLOY]
    parts += [
        "## From LMDeploy's own Anthropic routes\n",
        "What its server takes on the command line and over HTTP, and the same here, over LMDeploy or any other "
        "engine:\n",
        "\n".join(["| LMDeploy | Antiphon |", "|---|---|", *rows, ""]),
    ]
    return "\n".join(parts)


LMDEPLOY = (
    (
        "`lmdeploy serve api_server MODEL`",
        "`antiphon serve lmdeploy+http://… --tokenizer MODEL`",
    ),
    ("`--server-name`, `--server-port`", "`--host`, `--port`"),
    ("`--api-keys`", "`--api-key`, `--api-key-file`"),
    ("`--model-name`", "`--served-model-name`, `--alias`; any `claude-…` name is served too"),
    ("`--tool-call-parser NAME`", "`--tool-call-parser NAME`, its names are known; `auto` needs none"),
    ("`--reasoning-parser NAME`", "`--reasoning-parser NAME`, likewise"),
    ("`--chat-template FILE`", "`--chat-template FILE` (Jinja)"),
    ("`--session-len`", "`--context-length`"),
    ("`--tp`, `--dp`, `--quant-policy`, `--cache-max-entry-count`", "stay with the engine"),
    (
        "`POST /v1/messages`, streamed and not",
        "the same: text, `thinking`, `tool_use`, and what else `api.md` lists",
    ),
    ("`anthropic-version` header", "the same; `--version-optional` lets in programs without"),
    ("`tools`, `tool_choice: auto`", "the same; `any`, `tool` and `none` are kept to as well"),
    ("`POST /v1/messages/count_tokens`, an estimate", "the same; it equals the usage of the request"),
    ("`GET /anthropic/v1/models`", "the same, and `GET /v1/models` in both shapes"),
)
"""Flags and routes of LMDeploy's server, and their counterparts."""


async def _routes() -> list[tuple[Surface, Route]]:
    """Every route, over a model that answers nobody here."""
    service = Service([await load(Scripted(Script()), Choices())])
    return routes(service, Options(seal_key=b"none"))


def api() -> str:
    """The page of the API: every route, and every difference from the original."""
    served: dict[str, list[str]] = {
        name: [] for name in ("messages", "render", "models", "chat_completions", "responses")
    }
    for path, methods in document(asyncio.run(_routes()))["paths"].items():
        for method, operation in methods.items():
            row = f"| `{method.upper()} {path}` | {operation['summary']} |"
            served.setdefault(operation["tags"][0], []).append(row)
    rows = [f"| {each.about} | {each.original} | {each.here} | {each.why} |".replace("\n", " ") for each in DIFFERENCES]
    return "\n".join(
        [
            "# The API as served\n",
            _MADE,
            "Programs written for the Messages API see it as they know it: fields, order of events, errors, headers, "
            "ids, usage. `GET /openapi.json` describes every route in full.\n",
            "| route | |",
            "|---|---|",
            *(row for of_surface in served.values() for row in of_surface),
            "",
            "## What differs from the original\n",
            "Each line is shown by a test of its own "
            "([test_differences.py](../tests/surfaces/messages/test_differences.py)).\n",
            "| | the original | here | why |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def path() -> str:
    """The page of a request's path, with the table of rooms in it made anew."""
    text = (rooms.PACKAGE.parents[1] / "docs" / "path.md").read_text("utf-8")
    before, _, rest = text.partition(_ROOMS)
    _, _, after = rest.partition(_END)
    return f"{before}{_ROOMS}\n{rooms.table()}\n{_END}{after}"


PAGES: dict[str, Callable[[], str]] = {
    "engines.md": engines,
    "cli.md": command_line,
    "configuration.md": configuration,
    "formats.md": formats,
    "programs.md": programs,
    "api.md": api,
    "path.md": path,
    "rooms.svg": picture.draw,
}
