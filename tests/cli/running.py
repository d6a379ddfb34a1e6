"""Runs a command as a user does."""

from __future__ import annotations

from click.testing import CliRunner, Result

from antiphon.cli import main


def run(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=input)
