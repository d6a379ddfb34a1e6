"""The command line: parses, and hands over. Whatever takes time to import is imported inside its command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from antiphon import __version__, config
from antiphon.command_options import (
    Failed,
    given,
    model_option,
    most_option,
    server_options,
    settings_options,
    small_model_option,
)
from antiphon.programs import PROGRAMS

if TYPE_CHECKING:
    from antiphon.chat import Server


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
@settings_options(unread=True)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(read: Callable[[], config.Settings], as_json: bool) -> None:
    """Look at everything that serving needs, and say what to do about it.

    Takes what `antiphon serve` takes. Machine, engine, model files, chat templates, port and keys are looked at, and a
    real request is sent: to the server that runs with these settings, otherwise to one started for it. The exit status
    is 1 when something fails.
    """
    from antiphon.doctor import examine

    findings = []
    for finding in examine(read, lambda sentence: click.echo(f"antiphon: {sentence}", err=True)):
        findings.append(finding)
        if not as_json:
            color = {"fine": "green", "note": "yellow", "fail": "red"}.get(finding.status)
            click.echo(click.style(f"{finding.status:7}", fg=color) + f" {finding.check}: {finding.detail}")
            if finding.remedy:
                click.echo(f"          → {finding.remedy}")
    sound = all(finding.status != "fail" for finding in findings)
    if as_json:
        told = {"version": __version__, "sound": sound, "findings": findings}
        click.echo(msgspec.json.format(msgspec.json.encode(told)))
    sys.exit(0 if sound else 1)


@main.command()
@server_options
@model_option
@click.option("--system", metavar="TEXT", default="", help="Instructions for the model.")
@click.option("--max-tokens", type=click.IntRange(1), default=1024, show_default=True, help="Longest reply, in tokens.")
def chat(server: Server, name: str | None, system: str, max_tokens: int) -> None:
    """Talk to a running server in the terminal.

    /exit or the end of input leaves, /new forgets the conversation, Ctrl-C breaks a reply off. Lines may also come
    from a pipe: each one is a turn.
    """
    from antiphon import chat

    sys.exit(chat.talk(server, model=name, system=system, max_tokens=max_tokens))


@main.command()
@settings_options("model", "cache_dir")
def pull(settings: config.Settings) -> None:
    """Fetch a model into the cache, and print where it is.

    MODEL is hf:org/repo:file.gguf; without it, the models of antiphon.toml, or the default model.
    """
    from antiphon.models_store import ModelUnavailable, resolve

    served = settings.served.values()
    if all(model.attached for model in served):
        engines = ", ".join(model.model for model in served)
        raise Failed(f"{engines}: an engine that runs already; there is nothing to fetch")
    for model in served:
        if not model.attached:
            try:
                click.echo(resolve(model.model, Path(settings.cache_dir)))
            except ModelUnavailable as error:
                raise Failed(str(error)) from None


@main.command()
@settings_options("cache_dir")
def models(settings: config.Settings) -> None:
    """List the models: those that antiphon.toml serves, and those in the cache with size, window and file."""
    from antiphon.models_store import cached

    for name, served in settings.served.items() if settings.models else ():
        default = ["default"] if served is next(iter(settings.served.values())) else []
        notes = ", ".join([*default, *(f"also {alias}" for alias in served.aliases)])
        click.echo("\t".join([f"[models.{name}]", served.model or "the small default model", notes]).rstrip())
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
@click.option("--prompt-tail", metavar="TEXT", help="The end of the prompt; where unknown, guessed from the output.")
@click.option("--tools", metavar="FILE", type=click.Path(exists=True), help="The tools that were offered, as JSON.")
@click.option("--jsonl", is_flag=True, help="Read lines of JSON: objects with raw, tools, prompt_tail.")
def parse(settings: config.Settings, prompt_tail: str | None, tools: str | None, jsonl: bool) -> None:
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
@click.argument("program", type=click.Choice(list(PROGRAMS)), default="claude")
@server_options
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
    from antiphon import announce, chat, launch

    key = server.key if given("key") or not server.key else announce.PLACEHOLDER
    try:
        aim = launch.target(server, model=name, small=small, most=most)
    except chat.Unreachable as error:
        raise Failed(str(error)) from None
    variables = PROGRAMS[program].variables(msgspec.structs.replace(aim, key=key or aim.key))
    click.echo("\n".join(announce.exports(variables)))
    for other in chat.listed(server):
        if other.name not in (aim.model.name, aim.small.name):
            click.echo(f"# also served: {other.name}" + (f" ({other.window} tokens)" if other.window else ""))


class _Launching(click.Command):
    """A command whose arguments after `--` are somebody else's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Say where the program's own options go, when one of them is taken for ours."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            hint = "what is for the program comes after --, as in: antiphon launch claude -- -p hi"
            raise click.UsageError(f"{error.format_message()}; {hint}", ctx) from None


@main.command(cls=_Launching)
@click.option("--list", "listing", is_flag=True, help="List the programs that can be started, and leave.")
@click.argument("program", type=click.Choice(list(PROGRAMS)), required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@server_options
@model_option
@small_model_option
@most_option
def launch(
    server: Server,
    listing: bool,
    program: str | None,
    arguments: tuple[str, ...],
    name: str | None,
    small: str | None,
    most: int | None,
) -> None:
    """Start a program that talks to a running server.

    PROGRAM gets the server's address, its key, its model and the true window in its environment, and what stands
    after `--` as its arguments: antiphon launch claude -- -p "Say hello." Nothing of yours is written to.
    """
    from antiphon import launch

    if listing:
        click.echo("\n".join(launch.listing()))
        return
    if program is None:
        raise click.UsageError(f"name a program: {', '.join(PROGRAMS)}")
    from antiphon.chat import Unreachable

    try:
        path = launch.found(PROGRAMS[program])
        aim = launch.target(server, model=name, small=small, most=most)
        launch.start(PROGRAMS[program], path, aim, arguments, lambda line: click.echo(line, err=True))
    except (launch.CannotLaunch, Unreachable) as error:
        raise Failed(str(error)) from None


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what lets a shell complete commands and options.

    bash: eval "$(antiphon completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc; fish: antiphon completion fish >
    ~/.config/fish/completions/antiphon.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "antiphon", "_ANTIPHON_COMPLETE").source())
