"""GET /v1/keys/me: what whoever asks may do, and what is left of it."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from antiphon.surfaces.accounts.managed_keys import ManagedKey, described
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.surface import Operation, Options, Route


class MinuteLimit(msgspec.Struct):
    """So many a minute, what remains of them now, and when all of them do again."""

    kind: str
    limit: int
    remaining: int
    resets_at: datetime


class Budget(msgspec.Struct):
    """So many tokens a calendar month, those that are spent, and when it begins anew."""

    tokens: int
    spent: int
    resets_at: datetime


class Own(msgspec.Struct, kw_only=True):
    """Whoever asks: the key (null where none was sent), whether it may change keys and see what all use, whether the
    server asks for keys, the limits in force, and the budget, if there is one."""

    key: ManagedKey | None
    manages_keys: bool
    sees_all_usage: bool
    keys_required: bool
    limits: list[MinuteLimit]
    budget: Budget | None


def own_account(options: Options) -> Route:
    """The route."""
    accounts, limiter = options.accounts, options.rate_limiter

    async def answer(exchange: Exchange) -> None:
        label = exchange.watch.key
        key = accounts.keys.get(label)
        admin = key is not None and key.admin
        standings = limiter.standings(label) if limiter else []
        budget = await accounts.budgets.standing(label) if accounts.budgets else None
        account = Own(
            key=described(key) if key else None,
            manages_keys=admin and accounts.key_store is not None,
            sees_all_usage=accounts.sees_all(label),
            keys_required=accounts.keys.required,
            limits=[MinuteLimit(one.kind, one.limit, one.remaining, _moment(one.full)) for one in standings],
            budget=Budget(budget.budget, budget.spent, budget.end) if budget else None,
        )
        await exchange.reply(200, msgspec.json.encode(account))

    operation = Operation(
        summary="Describe the key of the request, and what it may still use", replies={"application/json": Own}
    )
    return Route(method="GET", path="/keys/me", answer=answer, operation=operation)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
