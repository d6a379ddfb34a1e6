"""Several replies to one request, each a choice with a number."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec

from antiphon.api.conversation import Conversation, GenerationParams
from antiphon.api.errors import Internal
from antiphon.api.events import AnyEvent, Finished, Run, Usage
from antiphon.api.reply import Fold, Reply
from antiphon.serving.service import Prepared, Service
from antiphon.surfaces.http import sse
from antiphon.surfaces.http.exchange import Exchange

ChoiceBatch = tuple[int, list[AnyEvent]]
"""The number of a choice, and what came of it at once."""
EmitChoice = Callable[[ChoiceBatch], Awaitable[None]]


async def prepare(
    service: Service,
    model: str,
    conversation: Conversation,
    params: GenerationParams,
    count: int,
    *,
    session: str | None = None,
    further: bool = False,
) -> list[Prepared]:
    """The request, so many times: each with its own luck, where a seed was given with one of its own. With `further`
    it is a part of a request that was taken in already."""
    return [
        await service.prepare(
            model, conversation, sampled_apart(params, number), session=session, further=further or bool(number)
        )
        for number in range(count)
    ]


def sampled_apart(params: GenerationParams, number: int) -> GenerationParams:
    """What is wanted of the choice with this number."""
    seed = params.sampling.seed
    if not number or seed is None:
        return params
    return msgspec.structs.replace(params, sampling=msgspec.structs.replace(params.sampling, seed=seed + number))


async def run(exchange: Exchange, runs: Sequence[Run], emit: EmitChoice, *, per_prompt: int) -> None:
    """Generate all choices at once, and emit what comes of each, one batch at a time. The request is charged before the
    last of it."""
    ends: dict[int, Usage] = {}
    exchange.charge.per_prompt = per_prompt

    async def charged(choice: ChoiceBatch) -> None:
        number, batch = choice
        if batch and isinstance(end := batch[-1], Finished):
            ends[number] = end.usage
            if len(ends) == len(runs):
                exchange.charge.make(total([ends[number] for number in range(len(runs))], per_prompt))
        await emit(choice)

    if len(runs) == 1:
        await runs[0](lambda batch: charged((0, batch)))
        return
    turn = asyncio.Lock()

    async def passing(number: int, batch: list[AnyEvent]) -> None:
        async with turn:
            await charged((number, batch))

    running = [asyncio.ensure_future(each(partial(passing, number))) for number, each in enumerate(runs)]
    try:
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def whole(exchange: Exchange, runs: Sequence[Run], *, per_prompt: int) -> list[Reply]:
    """The whole reply of each choice, for as long as the client waits for them."""
    folds = [Fold() for _ in runs]

    async def take(batch: ChoiceBatch) -> None:
        await folds[batch[0]].take(batch[1])

    await sse.unless_gone(exchange, run(exchange, runs, take, per_prompt=per_prompt))
    try:
        return [fold.reply() for fold in folds]
    except ValueError:
        raise Internal("the reply broke off") from None


def total(usages: Sequence[Usage], per_prompt: int) -> Usage:
    """The figures of a request, of whose choices so many at a time answer the same prompt."""
    prompts, calls = usages[::per_prompt], Counter[str]()
    for usage in usages:
        calls.update(usage.server_tools)
    return Usage(
        prompt=sum(usage.prompt for usage in prompts),
        cached=sum(usage.cached for usage in prompts),
        output=sum(usage.output for usage in usages),
        thinking=sum(usage.thinking for usage in usages),
        server_tools=calls,
    )
