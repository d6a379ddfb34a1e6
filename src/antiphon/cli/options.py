"""What the commands have in common: the options that come from the settings, those that say which server is meant, and
how a failure is told at the terminal."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from antiphon.settings import sources
from antiphon.settings.options import Option

if TYPE_CHECKING:
    from antiphon.cli.client import Server


class Failed(click.ClickException):
    """A sentence for the person at the terminal, without a stack trace; exit status 1."""

    def show(self, file: Any = None) -> None:
        """Print the sentence on standard error."""
        click.echo(f"antiphon: {self.message}", err=True)


def settings_options(*names: str, unread: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the settings' own options (all of them, or those of the named fields) and `--config`. The
    command is called with the settings in force as its first argument; `unread`, with a function that reads them and
    raises BadSettings, and with the configuration file that it reads, which need not exist."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        chosen = [option for option in sources.options() if not names or option.field in names]

        @click.option("--config", "file", metavar="PATH", help="Read settings from this file.")
        @functools.wraps(command)
        def called(file: str | None, **arguments: Any) -> Any:
            flags = {option.field: arguments.pop(option.field, None) for option in chosen}
            read = functools.partial(sources.load, flags, file=file)
            if unread:
                return command(read, sources.file_of(file, os.environ), **arguments)
            try:
                settings = read()
            except sources.BadSettings as error:
                raise Failed(str(error)) from None
            return command(settings, **arguments)

        wrapped: Callable[..., Any] = called
        for option in reversed(chosen):
            wrapped = _decorator(option)(wrapped)
        return wrapped

    return decorate


def _decorator(option: Option) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    if option.field == "model":
        return click.argument("model", required=False)
    if option.type is bool:
        return click.option(f"{option.flag}/{option.opposite}", option.field, default=None, help=option.about.help)
    help = option.about.help + (f"  [{option.shown_default}]" if option.shown_default else "")
    # Values stay text here: sources.py is the one place that turns text into values.
    return click.option(
        option.flag, option.field, metavar=option.metavar, multiple=option.repeated, default=None, help=help
    )


def server_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options that say which running server is meant. It is called with that server first. With the
    `names` of other settings it has their options, too, and is called with the settings in force second."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option("--url", metavar="URL", help="The server's address; otherwise the one of the settings here.")
        @click.option("--key", metavar="KEY", help="An API key of the server; otherwise the first one of the settings.")
        @settings_options("host", "port", "api_keys", "api_key_file", *names)
        @functools.wraps(command)
        def called(settings: sources.Settings, url: str | None, key: str | None, **arguments: Any) -> Any:
            server = _server(settings, url, key)
            return command(server, settings, **arguments) if names else command(server, **arguments)

        return called

    return decorate


def _server(settings: sources.Settings, url: str | None, key: str | None) -> Server:
    """The running server that is meant. Raises Failed."""
    from antiphon.cli.client import Server
    from antiphon.process import banner

    if not url and settings.port == 0:
        raise Failed("port 0 does not say where a server is: give the port that it printed, or its --url")
    base = (url or banner.address(settings)).rstrip("/")
    base = base if "://" in base else f"http://{base}"
    return Server(base, key or next(iter(settings.api_keys), ""))


model_option = click.option("--model", "name", metavar="NAME", help="The model to use; otherwise the server's first.")
small_model_option = click.option(
    "--small-model", "small", metavar="NAME", help="The model for titles and summaries; otherwise the same."
)
most_option = click.option(
    "--max-tokens",
    "most",
    metavar="NUMBER",
    type=click.IntRange(1),
    help="Longest reply; otherwise a quarter of the window.",
)


def is_given(parameter: str) -> bool:
    """Whether a parameter of the running command was really given."""
    source = click.get_current_context().get_parameter_source(parameter)
    return source is not click.core.ParameterSource.DEFAULT
