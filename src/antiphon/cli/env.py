"""`antiphon env`: the environment that points a program at a running server."""

from __future__ import annotations

import shlex

import click
import msgspec

from antiphon.cli.client import Server, Unreachable, listed
from antiphon.cli.launch import target
from antiphon.cli.options import Failed, is_given, model_option, most_option, server_options, small_model_option
from antiphon.cli.programs import PROGRAMS
from antiphon.process import banner


@click.command()
@click.argument("program", type=click.Choice(list(PROGRAMS)), default="claude")
@server_options()
@model_option
@small_model_option
@most_option
def env(server: Server, program: str, name: str | None, small: str | None, most: int | None) -> None:
    """Print the environment that points a program at a running server.

    For `eval "$(antiphon env)"`. PROGRAM is the one it is for (claude unless you say another), as `antiphon launch`
    would start it; the SDKs read the same variables. The server is asked for its model and window, so that a coding
    assistant compacts its conversation in time. A key of the settings is not printed, but one given with --key is.
    Further models of the server are named in comments.
    """
    key = server.key if is_given("key") or not server.key else banner.PLACEHOLDER
    try:
        aim = target(server, model=name, small=small, most=most)
    except Unreachable as error:
        raise Failed(str(error)) from None
    chosen, aim = PROGRAMS[program], msgspec.structs.replace(aim, key=key or aim.key)
    click.echo("\n".join(banner.exports(chosen.variables(aim))))
    if arguments := chosen.arguments(aim):
        click.echo(f"# {chosen.title} also needs these arguments: {shlex.join([chosen.command, *arguments])}")
    for other in listed(server):
        if other.name not in (aim.model.name, aim.small.name):
            click.echo(f"# also served: {other.name}" + (f" ({other.window} tokens)" if other.window else ""))
