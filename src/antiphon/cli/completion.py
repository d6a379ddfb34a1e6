"""`antiphon completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the shell's completion script for commands and options.

    bash: eval "$(antiphon completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc; fish: antiphon completion fish >
    ~/.config/fish/completions/antiphon.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "antiphon", "_ANTIPHON_COMPLETE").source())
