"""The pages of the reference that are made from the program itself: `python -m antiphon.reference docs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import click

from antiphon.cli import main
from antiphon.config import ModelSettings, options
from antiphon.options import Option
from antiphon.parsing.formats import reasonings, registry

_MADE = "<!-- Made by `make docs-generated` from the program itself; change it there. -->\n"
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
    for name, command in sorted(main.commands.items()):
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


PAGES = {"cli.md": command_line, "configuration.md": configuration, "formats.md": formats}

if __name__ == "__main__":
    for file, page in PAGES.items():
        (Path(sys.argv[1]) / file).write_text(page(), "utf-8")
