"""The command line: parses, and hands over. Whatever takes time to import is imported inside its command."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from antiphon import __version__, config
from antiphon.options import Option


class Failed(click.ClickException):
    """A sentence for the person at the terminal, without a stack trace; exit status 1."""

    def show(self, file: Any = None) -> None:
        """Print the sentence on standard error."""
        click.echo(f"antiphon: {self.message}", err=True)


def settings_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the settings' own options (all of them, or those of the named fields) and `--config`. The
    command is called with the settings in force as its first argument."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        chosen = [option for option in config.options() if not names or option.field in names]

        @click.option("--config", "file", metavar="PATH", help="Read settings from this file.")
        @functools.wraps(command)
        def called(file: str | None, **given: Any) -> Any:
            flags = {option.field: given.pop(option.field, None) for option in chosen}
            try:
                settings = config.load(flags, file=file)
            except config.BadSettings as error:
                raise Failed(str(error)) from None
            return command(settings, **given)

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
    # Values stay text here: config.py is the one place that turns text into values.
    return click.option(
        option.flag, option.field, metavar=option.metavar, multiple=option.repeated, default=None, help=help
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", message="antiphon %(version)s")
def main() -> None:
    """Serve open language models through the Anthropic Messages API.

    `antiphon serve` starts a server with a small model that it fetches by itself.
    """


@main.command()
@settings_options()
@click.option("--print-config", is_flag=True, help="Print the settings in force as antiphon.toml, and leave.")
def serve(settings: config.Settings, print_config: bool) -> None:
    """Serve a model.

    MODEL is a file (model.gguf), a file on a hub (hf:org/repo:file.gguf), or an engine that runs already
    (llama.cpp+http://host:8080). Without it, a small default model is fetched and served.

    Every option can also be given in the environment (--max-body-mb as ANTIPHON_MAX_BODY_MB) or in antiphon.toml
    (as max_body_mb). The flag wins over the environment, and that over the file.
    """
    if print_config:
        click.echo(config.shown(settings), nl=False)
        return
    from antiphon import supervisor
    from antiphon.engine_process import EngineUnavailable
    from antiphon.models_store import ModelUnavailable

    try:
        sys.exit(supervisor.serve(settings))
    except (supervisor.CannotServe, ModelUnavailable, EngineUnavailable) as error:
        raise Failed(str(error)) from None


@main.command()
@click.option("--url", metavar="URL", help="The server's address; otherwise the one of the settings on this machine.")
@click.option("--key", metavar="KEY", help="An API key of the server; otherwise the first one of the settings.")
@click.option("--model", "name", metavar="NAME", help="The model to talk to; otherwise the server's first.")
@click.option("--system", metavar="TEXT", default="", help="Instructions for the model.")
@click.option("--max-tokens", type=click.IntRange(1), default=1024, show_default=True, help="Longest reply, in tokens.")
@settings_options("host", "port", "api_keys", "api_key_file")
def chat(
    settings: config.Settings, url: str | None, key: str | None, name: str | None, system: str, max_tokens: int
) -> None:
    """Talk to a running server in the terminal.

    /exit or the end of input leaves, /new forgets the conversation, Ctrl-C breaks a reply off. Lines may also come
    from a pipe: each one is a turn.
    """
    from antiphon import announce, chat

    base, key = url or announce.address(settings), key or next(iter(settings.api_keys), "")
    sys.exit(chat.talk(chat.Server(base.rstrip("/"), key), model=name, system=system, max_tokens=max_tokens))


@main.command()
@settings_options("model", "cache_dir")
def pull(settings: config.Settings) -> None:
    """Fetch a model into the cache, and print where it is.

    MODEL is hf:org/repo:file.gguf; without it, the default model.
    """
    from antiphon.models_store import ModelUnavailable, resolve

    if settings.attached:
        raise Failed(f"{settings.model} is an engine that runs already; there is nothing to fetch")
    try:
        click.echo(resolve(settings.model, Path(settings.cache_dir)))
    except ModelUnavailable as error:
        raise Failed(str(error)) from None


@main.command()
@settings_options("cache_dir")
def models(settings: config.Settings) -> None:
    """List the models in the cache: name, size, window, file."""
    from antiphon.models_store import cached

    found = cached(Path(settings.cache_dir))
    if not found:
        click.echo("The cache is empty; `antiphon pull` fetches the default model.", err=True)
    for model in found:
        click.echo(f"{model.name}\t{model.size / 1e6:.0f} MB\t{model.window} tokens\t{model.path}")


@main.command()
def formats() -> None:
    """List the formats of tool calls, with an example of each."""
    from antiphon.parsing.formats import registry

    for name, record in sorted(registry().items()):
        aliases = ", ".join(alias for alias in record.aliases if alias != name)
        click.echo(click.style(name, bold=True) + (f"  (also {aliases})" if aliases else ""))
        click.echo(f"    {record.summary}")
        example = getattr(record.example, "raw", record.example)
        for line in str(example).splitlines() if example else ():
            click.echo(click.style(f"    | {line}", dim=True))


@main.command()
@settings_options("tool_call_parser", "reasoning_parser")
@click.option("--prompt-tail", metavar="TEXT", default="", help="The end of the prompt, where it opens thinking.")
@click.option("--tools", metavar="FILE", type=click.Path(exists=True), help="The tools that were offered, as JSON.")
@click.option("--jsonl", is_flag=True, help="Read lines of JSON: objects with raw, tools, prompt_tail.")
def parse(settings: config.Settings, prompt_tail: str, tools: str | None, jsonl: bool) -> None:
    """Show what the server would make of a raw model output.

    The output is read from standard input; for each one a line of JSON is printed, with the content and the stop
    reason that a client would get.
    """
    from antiphon import parse

    try:
        chosen = parse.parsers(settings.tool_call_parser, settings.reasoning_parser)
        offered = parse.tools_of(Path(tools).read_bytes()) if tools else ()
        if jsonl:
            for line in parse.parsed_lines(sys.stdin.buffer, *chosen, tools=offered, prompt_tail=prompt_tail):
                sys.stdout.buffer.write(line + b"\n")
        else:
            raw = sys.stdin.buffer.read().decode("utf-8", "replace")
            output = parse.Output(raw=raw, tools=offered, prompt_tail=prompt_tail)
            sys.stdout.buffer.write(parse.parsed(output, *chosen) + b"\n")
    except ValueError as error:
        raise Failed(str(error)) from None


@main.command()
@click.option("--url", metavar="URL", help="The server's address; otherwise the one of the settings on this machine.")
@click.option("--key", metavar="KEY", help="The key to print; otherwise a placeholder.")
@settings_options("host", "port", "api_keys", "api_key_file")
def env(settings: config.Settings, url: str | None, key: str | None) -> None:
    """Print the environment that points a program at a running server.

    For `eval "$(antiphon env)"`. The server is asked for its model and window, so that a coding assistant compacts
    its conversation in time.
    """
    from antiphon import announce, chat

    base = (url or announce.address(settings)).rstrip("/")
    server = chat.Server(base, key or next(iter(settings.api_keys), ""))
    try:
        model = chat.first_model(server)
    except chat.Unreachable as error:
        raise Failed(str(error)) from None
    shown = key or (announce.PLACEHOLDER if settings.api_keys else "any")
    variables = announce.environment(
        base, key=shown, model=model.name, window=model.window, max_output=model.max_output
    )
    click.echo("\n".join(announce.exports(variables)))
