"""`antiphon serve`."""

from __future__ import annotations

import sys

import click

from antiphon.cli.options import Failed, settings_options
from antiphon.engines.models.model_store import ModelUnavailable
from antiphon.process import supervisor
from antiphon.process.engine_process import EngineUnavailable
from antiphon.settings import sources


@click.command()
@settings_options()
@click.option("--print-config", is_flag=True, help="Print the settings in force as antiphon.toml, and exit.")
def serve(settings: sources.Settings, print_config: bool) -> None:
    """Serve a model.

    MODEL is a file (model.gguf), a file on a hub (hf:org/repo:file.gguf), or an engine that runs already
    (llama.cpp+http://host:8080). Without it, a small default model is fetched and served.

    Every option can also be given in the environment (--max-body-mb as ANTIPHON_MAX_BODY_MB) or in antiphon.toml
    (as max_body_mb). The flag wins over the environment, and that over the file.
    """
    if print_config:
        click.echo(sources.shown(settings), nl=False)
        return
    try:
        sys.exit(supervisor.serve(settings))
    except (supervisor.CannotServe, ModelUnavailable, EngineUnavailable) as error:
        raise Failed(str(error)) from None
