"""What a raw model output amounts to: the server's own parser and fold, over a text that is there already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from antiphon.api.events import Usage
from antiphon.api.reply import Fold, Reply
from antiphon.parsing.arguments import Signature
from antiphon.parsing.formats import Format, Reasoning
from antiphon.parsing.parser import Parser
from antiphon.parsing.stopping import finished


def outcome(
    pieces: Iterable[str],
    format: Format,
    reasoning: Reasoning,
    tools: Mapping[str, dict[str, Any]],
    *,
    new_id: Callable[[], str],
    prompt_tail: str = "",
    stop: tuple[str, ...] = (),
    limit: bool = False,
) -> Reply:
    """The reply that an output, in these pieces, amounts to. `tools` maps names to input schemas; `prompt_tail` is the
    end of the prompt; `limit` says that the output was cut at its token limit."""
    signatures = {name: Signature(schema) for name, schema in tools.items()}
    starts_thinking = reasoning.opened_by(prompt_tail)
    parser = Parser(format, reasoning, signatures, new_id=new_id, stop=stop, starts_thinking=starts_thinking)
    fold = Fold()
    for piece in pieces:
        for event in parser.feed(piece):
            fold.add(event)
    for event in parser.finish():
        fold.add(event)
    end = finished(
        Usage(prompt=0),
        limit=limit,
        window=False,
        sequence=parser.stop_sequence,
        calls=parser.calls,
        cut_call=parser.cut_call,
    )
    fold.add(end)
    return fold.reply()
