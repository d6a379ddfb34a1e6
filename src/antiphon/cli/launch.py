"""`antiphon launch`: starts a program against a running server, and says what it set for it."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import msgspec

from antiphon.cli.client import Server, Unreachable, model_named
from antiphon.cli.model_catalogue import catalogue_file
from antiphon.cli.options import Failed, model_option, most_option, server_options, small_model_option
from antiphon.cli.programs import PROGRAMS, Program, Target
from antiphon.settings.sources import Settings

_LONGEST_SHOWN = 100


class CannotLaunch(Exception):
    """The program cannot be started. The message says why, and what to do."""


def target(server: Server, *, model: str | None = None, small: str | None = None, most: int | None = None) -> Target:
    """What programs are pointed at: the named models of the server, otherwise its first one for everything. `most` is
    the longest reply to ask for, in tokens. Raises Unreachable."""
    chosen = model_named(server, model)
    # Where no key is asked for, programs still want one.
    return Target(
        base=server.base,
        key=server.key or "any",
        model=chosen,
        small=model_named(server, small) if small else chosen,
        most=most or 0,
    )


def executable(program: Program) -> str:
    """Where the program is. Raises CannotLaunch."""
    path = shutil.which(program.command)
    if path is None:
        raise CannotLaunch(
            f"{program.title} is not installed ({program.command!r} is not on the path); get it with: {program.install}"
        )
    return path


def start(program: Program, path: str, aim: Target, arguments: Sequence[str], say: Callable[[str], None]) -> None:
    """Become the program, so that its exit status and its signals are this process' own. Returns only by raising
    CannotLaunch."""
    dropped = [name for name in program.without if name in os.environ]
    for line in summary(program, aim, dropped):
        say(line)
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    try:
        command = [program.command, *program.arguments(aim), *arguments]
        os.execve(path, command, {**environment, **program.variables(aim)})
    except OSError as error:
        raise CannotLaunch(f"{path} cannot be started: {error.strerror or error}") from None


def summary(program: Program, aim: Target, dropped: Sequence[str]) -> list[str]:
    """What is set, line by line, and what may go wrong. The key is not shown."""
    hidden = msgspec.structs.replace(aim, key="…")
    lines = [f"{program.title} on {aim.model.name} at {aim.base}, with"]
    shown = [f"{name}={shlex.quote(value)}" for name, value in program.variables(hidden).items()]
    shown += [f"-c {shlex.quote(f'{name}={value}')}" for name, value in program.overrides(hidden).items()]
    for each in shown:
        line = f"  {each}"
        lines.append(line if len(line) <= _LONGEST_SHOWN else line[:_LONGEST_SHOWN] + " …")
    if dropped:
        lines.append(f"  and without {', '.join(dropped)}")
    notes = list(program.notes(aim))
    if 0 < aim.model.window < program.prompt_tokens * 5 // 4:
        notes.append(
            f"the window is {aim.model.window} tokens, and {program.title} alone says about {program.prompt_tokens} "
            "before you do; serve a model with a larger window, or give it fewer tools"
        )
    return [*lines, *(f"note: {note}" for note in notes)]


def listing() -> list[str]:
    """The known programs, a line each: name, title, and where it is or how to get it."""
    width = max(map(len, PROGRAMS))
    return [
        f"{name:{width}}  {program.title}: {shutil.which(program.command) or 'not installed; ' + program.install}"
        for name, program in PROGRAMS.items()
    ]


class _Launching(click.Command):
    """A command whose arguments after `--` are somebody else's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Say where the program's own options go, when one of them is taken for ours."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            hint = "what is for the program comes after --, as in: antiphon launch claude -- -p hi"
            raise click.UsageError(f"{error.format_message()}; {hint}", ctx) from None


@click.command(cls=_Launching)
@click.option("--list", "listed", is_flag=True, help="List the programs that can be started, and exit.")
@click.argument("program", type=click.Choice(list(PROGRAMS)), required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@server_options("cache_dir")
@model_option
@small_model_option
@most_option
def launch(
    server: Server,
    settings: Settings,
    listed: bool,
    program: str | None,
    arguments: tuple[str, ...],
    name: str | None,
    small: str | None,
    most: int | None,
) -> None:
    """Start a program that talks to a running server.

    PROGRAM gets the server's address, its key, its model and the true window in its environment, and what stands
    after `--` as its arguments: antiphon launch claude -- -p "Say hello." None of your files are changed.
    """
    if listed:
        click.echo("\n".join(listing()))
        return
    if program is None:
        raise click.UsageError(f"name a program: {', '.join(PROGRAMS)}")
    try:
        path = executable(PROGRAMS[program])
        aim = target(server, model=name, small=small, most=most)
        if PROGRAMS[program].reads_catalogue:
            folder = Path(settings.cache_dir) / "programs"
            aim = msgspec.structs.replace(aim, catalogue=catalogue_file(server, folder))
        start(PROGRAMS[program], path, aim, arguments, lambda line: click.echo(line, err=True))
    except (CannotLaunch, Unreachable) as error:
        raise Failed(str(error)) from None
