"""The command line, one module a command. `main` is the `antiphon` command.

A command's module is imported when the command is run, so that help and completion stay quick. Nothing
imports this room.

Knows: accounts, api, engines, parsing, process, prompt, server_tools, serving, settings, storage, surfaces,
trajectories.
"""

from __future__ import annotations

from importlib import import_module

import click

from antiphon import __version__

COMMANDS = {
    "serve": ("serve", "Serve a model."),
    "recommend": ("recommend", "Name the models that suit this machine, for coding, chat and tools."),
    "update-models": ("recommend", "Fetch a newer list of the models that are known by name."),
    "doctor": ("doctor", "Check everything that serving needs, and say what to do."),
    "check": ("check", "Check any server of the Messages API, over HTTP alone."),
    "chat": ("chat", "Talk to a running server in the terminal."),
    "launch": ("launch", "Start a program that talks to a running server."),
    "env": ("env", "Print the environment that points a program at a running server."),
    "keys": ("keys", "Add, list, change and revoke API keys, while the server runs or not."),
    "usage": ("usage", "Show what was used: requests, tokens, time and tools, by key, model and day."),
    "pull": ("models", "Fetch a model into the cache, and print where it is."),
    "models": (
        "models",
        "List the models: those that antiphon.toml serves, and those in the cache with size, window and file.",
    ),
    "formats": ("models", "List the formats of tool calls, with an example of each."),
    "parse": ("parse", "Show what the server would make of a raw model output."),
    "trajectories": ("trajectories", "List, show and export what `antiphon serve --record FOLDER` has kept."),
    "completion": ("completion", "Print the shell's completion script for commands and options."),
}
"""For each command the module that has a function of its name, and the first line of its help."""


class _Lazy(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, if there is one."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"{__name__}.{COMMANDS[cmd_name][0]}"), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments begin with. Raises UsageError, with the names that come close."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.exceptions.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", message="antiphon %(version)s")
def main() -> None:
    """Serve open language models through the Anthropic Messages API.

    `antiphon serve` starts a server with a small model that it fetches by itself.
    """
