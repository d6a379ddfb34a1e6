"""The engine is started anew, or goes away, or the client does, while slots are prepared: nothing is lost by it, left
behind, or given to somebody else. With an engine that does what a test says."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.engines import Reach
from antiphon.engines.attached import Attached
from antiphon.engines.cache.prefix_cache import PrefixCache
from antiphon.engines.cache.slots import Slots

ONE, OTHER = list(range(1000)), list(range(5000, 6000))


class Engine(Attached):
    """An engine that is asked nothing in truth."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", Reach(patience=0), "llama.cpp server")


async def computed(cache: PrefixCache, prompt: list[int], conversation: str, domain: bytes) -> bool:
    """Whether a prompt that the engine computes whole was kept from what its slot held."""
    async with cache.seat(prompt, conversation, domain) as seat:
        seat.read, seat.sampled = len(prompt), [1, 2]
    return seat.fresh


@pytest.mark.parametrize("lost", ["engine started anew", "file of slots damaged"])
async def test_what_one_computed_after_a_restart_serves_no_other(tmp_path: Path, lost: str) -> None:
    """A request that waited for the engine computes in the slot that it had taken before; what is not known of that
    slot any more is not taken to be nothing."""
    file = tmp_path / "slots"
    cache = PrefixCache(Engine(), Slots(1, str(file)))
    async with cache.seat(ONE, "one", b"one") as seat:
        if lost == "engine started anew":
            file.unlink()
        else:
            file.write_bytes(b"no slots")
        seat.read, seat.sampled = len(ONE), [1, 2]
    assert await computed(cache, ONE, "two", b"other")
    assert not await computed(cache, ONE, "two", b"other"), "its own is re-used"


async def test_what_was_computed_of_a_picture_serves_no_other() -> None:
    """Which tokens a picture has is not known here, but whose it was is."""
    cache = PrefixCache(Engine(), Slots(1))
    await computed(cache, [], "one", b"one")
    assert await computed(cache, ONE, "two", b"other")
