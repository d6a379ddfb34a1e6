"""How a run against a server ends: whether everything is let go of, and what there is to say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import aiohttp

from tests.faults import processes


async def still_held(client: aiohttp.ClientSession, url: str, patience: float = 60) -> list[str]:
    """A sentence where slots or places in line are still held after so many seconds."""
    try:
        await processes.eventually(processes.idle(client, url), patience)
    except AssertionError:
        return [f"still held: {await processes.gauges(client, url)}"]
    return []


def told(title: str, seen: Counter[str], figures: Sequence[str], wrong: Sequence[str]) -> int:
    """Print what was seen, what was measured and what went wrong; gives the exit status."""
    print(title)
    for kind, many in sorted(seen.items()):
        print(f"  {many:7} {kind}")
    for figure in figures:
        print(f"  {figure}")
    print(f"  {len(wrong)} things went wrong" + "".join(f"\n    {one}" for one in wrong[:20]))
    return 1 if wrong else 0
