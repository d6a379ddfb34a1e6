"""`antiphon trajectories`: what `serve --record` has kept, listed, shown and exported."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec

from antiphon.cli.options import Failed
from antiphon.trajectories import recorder, shapes
from antiphon.trajectories.tree import Tree

_FOLDER = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.group()
def trajectories() -> None:
    """List, show and export what `antiphon serve --record FOLDER` has kept."""


@trajectories.command("list")
@_FOLDER
def list_(folder: Path) -> None:
    """List the conversations, the oldest first.

    Of each there is its name, how many samples and trajectories it has, how many tokens the last of these has and how
    many of them were sampled, its label and its reward."""
    rewards = recorder.rewards(folder)
    for name, tree in _read(folder).items():
        leaves = list(tree.leaves())
        last = leaves[-1]
        cells = [name, f"samples {len(tree.nodes)}", f"trajectories {len(leaves)}", f"tokens {last.length}"]
        cells += [f"sampled {sum(last.sampled)}", last.line.label or "-"]
        cells.append(f"reward {rewards[last.line.label]:g}" if last.line.label in rewards else "-")
        click.echo("\t".join(cells))


@trajectories.command()
@_FOLDER
@click.argument("conversation")
def show(folder: Path, conversation: str) -> None:
    """Show the samples of a CONVERSATION (the beginning of its name will do) as a tree."""
    trees = [tree for name, tree in _read(folder).items() if name.startswith(conversation)]
    if len(trees) != 1:
        raise Failed(f"{len(trees)} conversations in {folder} begin with {conversation!r}; name one of them")
    for node in trees[0].nodes:
        line = node.line
        where = "begins" if line.parent is None else f"goes on from {line.parent} behind {line.shared} tokens"
        told = [f"{node.number}", where, f"prompt {node.prompt}", f"output {len(line.output)}", line.stop]
        click.echo("\t".join([*told, *filter(None, (line.broken and f"broken: {line.broken}", line.message))]))


@trajectories.command()
@_FOLDER
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@click.option("--shape", type=click.Choice(list(shapes.NAMES)), default="verl", help="Whose names the columns have.")
@click.option("--label", default="", help="Only the rollout with this label.")
def export(folder: Path, file: Path, shape: shapes.Shape, label: str) -> None:
    """Write every trajectory to FILE, a row each: JSON lines, or Parquet where its name ends in .parquet."""
    rows = [row for row in shapes.rows(_read(folder), recorder.rewards(folder), shape) if label in ("", row["label"])]
    if file.suffix == ".parquet":
        _write_parquet(rows, file)
    else:
        file.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    click.echo(f"{len(rows)} trajectories in {file}", err=True)


def _read(folder: Path) -> dict[str, Tree]:
    try:
        return recorder.conversations(folder)
    except (OSError, ValueError) as error:
        raise Failed(f"{folder} cannot be read: {error}") from None


def _write_parquet(rows: Iterable[dict[str, Any]], file: Path) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise Failed("Parquet needs pyarrow: pip install 'antiphon[trajectories]'") from None
    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), file)
