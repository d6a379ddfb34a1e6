"""Which dialect an engine takes, and a demand in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from antiphon.constraint import Inexpressible, Node, json_schema, lark, structural_tag
from antiphon.constraint.markers import TokenId
from antiphon.constraint.plan import Demand, Part

log = logging.getLogger("antiphon")


class Dialect(NamedTuple):
    """`lower` writes a node in the dialect, for a model that ends its replies with these tokens (or raises
    Inexpressible), `problem` says what is wrong with what was written, `exact` whether it holds the model to all of the
    node."""

    lower: Callable[[Node, TokenId, Sequence[int]], str]
    problem: Callable[[str], str]
    exact: Callable[[Node], bool]


DIALECTS = {
    "llguidance": Dialect(lark.lower, lark.problem, lambda node: True),
    # Engines with these know themselves what ends a reply.
    "xgrammar": Dialect(
        lambda node, token_id, ends: structural_tag.lower(node, token_id),
        structural_tag.problem,
        structural_tag.exact,
    ),
    "json_schema": Dialect(
        lambda node, token_id, ends: json_schema.lower(node, token_id), json_schema.problem, structural_tag.exact
    ),
}
"""By the names that engines describe themselves with."""


class LoweredGrammars(NamedTuple):
    """The grammars of a demand: of the whole output, and of what follows the thinking (none: it is free). `exact` says
    that whatever they allow keeps the demand, `parts` what becomes of each schema. They hold nothing until one of the
    texts comes with which the demand `begins`, after the thinking (none: they hold all)."""

    whole: str | None
    answer: str | None
    exact: bool
    parts: tuple[Part, ...]
    begins: tuple[str, ...] = ()


def hold(
    name: str,
    demand: Demand,
    token_id: TokenId,
    *,
    ends: Sequence[int] = (),
    otherwise: Callable[[], Demand] | None = None,
) -> LoweredGrammars:
    """The demand in the dialect of this name, as far as the dialect can say it, of a reply that one of the tokens
    `ends` comes after; where it does not compile, what is demanded `otherwise`, if anything. Compiling a large schema
    takes up to a second: not for the event loop."""
    if demand.whole is None or demand.answer is None:
        return _free(demand, "")
    if name not in DIALECTS:
        return _free(demand, "the engine takes no grammar")
    dialect = DIALECTS[name]
    try:
        whole, answer = (dialect.lower(node, token_id, ends) for node in (demand.whole, demand.answer))
    except Inexpressible as reason:
        log.info("the output is not constrained: %s", reason)
        return _free(demand, str(reason))
    for grammar in {whole, answer}:
        if problem := dialect.problem(grammar):
            if otherwise is not None:
                return hold(name, otherwise(), token_id, ends=ends)
            log.warning("the output is not constrained, because its grammar cannot be compiled: %s", problem)
            return _free(demand, f"the grammar does not compile: {problem}")
    exact = dialect.exact(demand.whole) and not any(part.left for part in demand.parts)
    return LoweredGrammars(whole, answer, exact, demand.parts, demand.begins)


def _free(demand: Demand, reason: str) -> LoweredGrammars:
    parts = tuple(msgspec.structs.replace(part, free=part.free or reason) for part in demand.parts)
    return LoweredGrammars(None, None, False, parts)
