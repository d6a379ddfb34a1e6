"""Which dialect an engine takes, and a demand in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from antiphon.constraint import Inexpressible, Node, json_schema, lark, structural_tag
from antiphon.constraint.markers import TokenId
from antiphon.constraint.plan import Demand

log = logging.getLogger("antiphon")


class Dialect(NamedTuple):
    """`lower` writes a node in the dialect (or raises Inexpressible), `problem` says what is wrong with what was
    written, `exact` whether it holds the model to all of the node."""

    lower: Callable[[Node, TokenId], str]
    problem: Callable[[str], str]
    exact: Callable[[Node], bool]


DIALECTS = {
    "llguidance": Dialect(lark.lower, lark.problem, lambda node: True),
    "xgrammar": Dialect(structural_tag.lower, structural_tag.problem, structural_tag.exact),
    "json_schema": Dialect(json_schema.lower, json_schema.problem, structural_tag.exact),
}
"""By the names that engines describe themselves with."""


class Held(NamedTuple):
    """The grammars of a demand: of the whole output, and of what follows the thinking. `exact` says that whatever they
    allow keeps the demand."""

    whole: str
    answer: str
    exact: bool


async def hold(name: str, demand: Demand | None, token_id: TokenId) -> Held | None:
    """The demand in the dialect of this name; None where nothing is demanded or the dialect cannot say it."""
    if demand is None or name not in DIALECTS:
        return None
    dialect = DIALECTS[name]
    try:
        whole, answer = (dialect.lower(node, token_id) for node in (demand.whole, demand.answer))
    except Inexpressible as reason:
        log.info("the model runs free: %s", reason)
        return None
    for grammar in (whole, answer):
        # Compiling a large schema takes up to a second; other streams go on meanwhile.
        if problem := await asyncio.to_thread(dialect.problem, grammar):
            log.warning("the demand on the output cannot be compiled, the model runs free: %s", problem)
            return None
    return Held(whole, answer, dialect.exact(demand.whole))
