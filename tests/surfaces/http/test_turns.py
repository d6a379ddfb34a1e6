"""Requests that come at once."""

from __future__ import annotations

import asyncio

from antiphon.surfaces.http.turns import MOST, Turns


async def test_the_loop_turns_between_requests_that_come_at_once() -> None:
    """Of a hundred, so many begin in one turn of the loop, in the order in which they came; who gives up is skipped."""
    turns, begun = Turns(), list[int]()

    async def request(number: int) -> None:
        await turns.take()
        begun.append(number)

    tasks = [asyncio.ensure_future(request(number)) for number in range(100)]
    await asyncio.sleep(0)
    tasks[50].cancel()
    seen = len(begun)
    while len(begun) < 99:
        await asyncio.sleep(0)
        assert len(begun) - seen <= MOST
        seen = len(begun)
    assert begun == [number for number in range(100) if number != 50]


async def test_a_request_that_comes_alone_does_not_wait() -> None:
    """It passes without giving the loop a turn."""
    turns = Turns()
    for _ in range(3):
        taking = turns.take()
        try:
            taking.send(None)
            raise AssertionError("it waits")
        except StopIteration:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
