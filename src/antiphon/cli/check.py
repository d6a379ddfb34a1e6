"""`antiphon check`: the conformance suite, which is a package of its own and knows nothing of this one."""

from __future__ import annotations

import sys

import click

import antiphon_check.command


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def check(arguments: tuple[str, ...]) -> None:
    """Check any server of the Messages API, over HTTP alone.

    `antiphon check URL` reports which of some hundred properties hold; `antiphon check --help` lists the
    options. The same suite runs without this package: `python -m antiphon_check URL`.
    """
    sys.exit(antiphon_check.command.main(arguments))
