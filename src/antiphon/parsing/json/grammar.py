"""Grammars of calls whose input is JSON, held to the schema of each tool."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Many
from typing import Any

from antiphon.constraint import Either, Json, Literal, Node, Repeat, Sequence, closed
from antiphon.parsing.formats import Grammar
from antiphon.parsing.json.lenient import quoted

Parts = tuple[Node | str, ...]
"""Nodes one after the other. A string stands for its `Literal`."""


def calls(
    head: Callable[[str], Parts],
    *,
    begin: Parts = (),
    end: Parts = (),
    before: Parts = (),
    after: Parts = (),
    separator: Parts = (),
) -> Grammar:
    """The grammar of a family: `before`, the calls with `separator` between, `after`. A call is `begin`, a `head` made
    from its name, the input as a JSON object, and `end`."""

    def grammar(tools: Many[tuple[str, dict[str, Any]]], most: int) -> Node:
        named = Either(tuple(_joined((*head(name), Json(closed(schema)))) for name, schema in tools))
        call = _joined((*begin, named, *end))
        return _joined((*before, Repeat(call, 1, most, _joined(separator) if separator else None), *after))

    return grammar


def objects(
    *,
    begin: Parts = (),
    end: Parts = (),
    before: Parts = (),
    after: Parts = (),
    separator: Parts = (),
    key: str = "arguments",
) -> Grammar:
    """The grammar of `{"name": NAME, KEY: INPUT}`, spaced as models were trained to write it; the parts as in
    `calls`."""
    return calls(
        lambda name: (Literal(f'{{"name": {quoted(name)}, "{key}": ', spaced=True),),
        begin=begin,
        end=("}", *end),
        before=before,
        after=after,
        separator=separator,
    )


def object_list(*, before: Parts = (), after: Parts = ()) -> Grammar:
    """The grammar of one JSON list of such objects."""
    return objects(before=(*before, "["), after=("]", *after), separator=(", ",))


def _joined(parts: Parts) -> Node:
    nodes = tuple(Literal(part) if isinstance(part, str) else part for part in parts)
    return nodes[0] if len(nodes) == 1 else Sequence(nodes)
