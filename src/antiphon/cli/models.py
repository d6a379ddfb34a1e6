"""`antiphon pull`, `models` and `formats`: what can be served."""

from __future__ import annotations

from pathlib import Path

import click

from antiphon.cli.options import Failed, settings_options
from antiphon.engines.models.model_store import ModelUnavailable, cached, resolve
from antiphon.parsing.formats import registry
from antiphon.settings import sources


@click.command()
@settings_options("model", "cache_dir")
def pull(settings: sources.Settings) -> None:
    """Fetch a model into the cache, and print where it is.

    MODEL is hf:org/repo:file.gguf; without it, the models of antiphon.toml, or the default model.
    """
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


@click.command()
@settings_options("cache_dir")
def models(settings: sources.Settings) -> None:
    """List the models: those that antiphon.toml serves, and those in the cache with size, window and file."""
    for name, served in settings.served.items() if settings.models else ():
        default = ["default"] if served is next(iter(settings.served.values())) else []
        notes = ", ".join([*default, *(f"also {alias}" for alias in served.aliases)])
        click.echo("\t".join([f"[models.{name}]", served.model or "the small default model", notes]).rstrip())
    models = cached(Path(settings.cache_dir))
    if not models:
        click.echo("The cache is empty; `antiphon pull` fetches the default model.", err=True)
    for model in models:
        click.echo(f"{model.name}\t{model.size / 1e6:.0f} MB\t{model.window} tokens\t{model.path}")


@click.command()
def formats() -> None:
    """List the formats of tool calls, with an example of each."""
    for name, record in sorted(registry().items()):
        aliases = ", ".join(alias for alias in record.aliases if alias != name)
        click.echo(click.style(name, bold=True) + (f"  (also {aliases})" if aliases else ""))
        click.echo(f"    {record.summary}")
        example = getattr(record.example, "raw", record.example)
        for line in str(example).splitlines() if example else ():
            click.echo(click.style(f"    | {line}", dim=True))
