"""`antiphon trajectories`: what `serve --record` has kept, listed, shown and exported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from antiphon.cli.options import Failed
from antiphon.trajectories import recorder, shapes
from antiphon.trajectories.tree import Tree

if TYPE_CHECKING:
    import pyarrow

_FOLDER = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
_ROWS_AT_ONCE = 256
"""In Parquet. Only so many are held."""

Each = TypeVar("Each")


@click.group()
def trajectories() -> None:
    """List, show and export what `antiphon serve --record FOLDER` has kept."""


@trajectories.command("list")
@_FOLDER
def list_(folder: Path) -> None:
    """List the conversations, the oldest first.

    Of each there is its name, how many samples and trajectories it has, how many tokens the last of these has and how
    many of them were sampled, its label and its reward."""
    (rewards,) = _read(folder, lambda: [recorder.rewards(folder)])
    for name, tree in _read(folder, lambda: recorder.conversations(folder).items()):
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

    def begun_with() -> Iterable[Tree]:
        trees = recorder.conversations(folder)
        return (trees[name] for name in trees if name.startswith(conversation))

    trees = list(_read(folder, begun_with))
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
    told = _read(folder, lambda: shapes.rows(recorder.conversations(folder), recorder.rewards(folder), shape))
    rows = (row for row in told if label in ("", row["label"]))
    count = _write_parquet(rows, file, shape) if file.suffix == ".parquet" else _write_lines(rows, file)
    click.echo(f"{count} trajectories in {file}", err=True)


def _read(folder: Path, tell: Callable[[], Iterable[Each]]) -> Iterator[Each]:
    """What is told of a folder, while it is read. Raises Failed where that cannot be."""
    try:
        yield from tell()
    except (OSError, ValueError) as error:
        raise Failed(f"{folder} cannot be read: {error}") from None


def _write_lines(rows: Iterator[dict[str, Any]], file: Path) -> int:
    count = 0
    with file.open("wb") as lines:
        for row in rows:
            lines.write(msgspec.json.encode(row) + b"\n")
            count += 1
    return count


def _write_parquet(rows: Iterator[dict[str, Any]], file: Path, shape: shapes.Shape) -> int:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise Failed("Parquet needs pyarrow: pip install 'antiphon[trajectories]'") from None
    count, schema = 0, _schema(shape)
    with parquet.ParquetWriter(file, schema) as table:
        while batch := list(islice(rows, _ROWS_AT_ONCE)):
            table.write_table(pyarrow.Table.from_pylist(batch, schema))
            count += len(batch)
    return count


def _schema(shape: shapes.Shape) -> pyarrow.Schema:
    """The columns, whose types are the same whatever is in the rows."""
    import pyarrow

    number, text = pyarrow.float64(), pyarrow.string()
    ids, numbers, texts = (pyarrow.list_(each) for each in (pyarrow.int64(), number, text))
    kinds = [*zip(shapes.NAMES[shape], (ids, ids, ids, numbers, number), strict=True)]
    kinds += [(name, text) for name in ("label", "conversation", "model")]
    kinds += [("model_loaded", number), *((name, texts) for name in ("stop_reasons", "message_ids", "request_ids"))]
    kinds += [("broken", texts), ("grammar", pyarrow.list_(pyarrow.bool_()))]
    return pyarrow.schema([*kinds, ("prompt_texts", texts), ("output_texts", texts)])
