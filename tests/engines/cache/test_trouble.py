"""The engine is started anew, or goes away, or the client does, while slots are prepared: nothing is lost by it, left
behind, or given to somebody else. With an engine that does what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from antiphon.api.errors import Failure, Overloaded
from antiphon.engines import Job, Reach
from antiphon.engines.answers import Restored, Written
from antiphon.engines.attached import Attached
from antiphon.engines.cache import prefix_cache
from antiphon.engines.cache.pages import Pages
from antiphon.engines.cache.prefix_cache import PrefixCache
from antiphon.engines.cache.prefix_store import PrefixStore
from antiphon.engines.cache.slots import Slots
from antiphon.engines.llama_cpp import LlamaCpp
from antiphon.engines.upstream import Upstream

ONE, OTHER = list(range(1000)), list(range(5000, 6000))


class Engine(Attached):
    """An engine that writes and reads slots, once it `may`. What it was `asked` is noted."""

    def __init__(self, folder: Path) -> None:
        super().__init__("http://127.0.0.1:9", Reach(patience=0), "llama.cpp server")
        self._folder = folder
        self.asked: list[str] = []
        self.refusal: Failure | None = None
        self.begun, self.may = asyncio.Event(), asyncio.Event()
        self.may.set()

    async def ask(self, method: str, path: str, shape: type[Any], body: Any = None) -> Any:
        """Reading a slot, or writing it: whatever it holds is of a thousand tokens."""
        self.asked.append(path)
        if writes := path.endswith("save"):
            (self._folder / body["filename"]).write_bytes(b"a state")
        self.begun.set()
        await self.may.wait()
        if self.refusal:
            raise self.refusal
        return Written(1000) if writes else Restored(1000)


@asynccontextmanager
async def waiting(engine: Engine, cache: PrefixCache, *asked: Any) -> AsyncIterator[None]:
    """A request comes, and goes away again while the engine makes its slot ready."""
    engine.begun.clear()
    engine.may.clear()
    request = asyncio.create_task(computed(cache, *asked))
    await engine.begun.wait()
    request.cancel()
    # Although the engine has not answered.
    await asyncio.gather(request, return_exceptions=True)
    yield
    engine.may.set()
    await cache._errands.done()


class Away(Attached):
    """An engine that is away. What it was `asked` is noted each time."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", Reach(patience=0.3, cause="/nowhere"), "llama.cpp server")
        self.asked: list[str] = []

    async def _answer(self, method: str, path: str, body: Any) -> Any:
        self.asked.append(path)
        raise self.upstream.absent(path, ConnectionRefusedError())

    async def _post(self, path: str, body: Any) -> Any:
        await self._answer("POST", path, body)


def keep(store: PrefixStore, folder: Path, domain: bytes, prompt: list[int]) -> None:
    """The prompt was computed earlier, and kept."""
    draft, pages = store.draft(), Pages(domain, prompt)
    (folder / draft).write_bytes(b"a state")
    assert store.keep(draft, domain, pages.hashes, pages.tokens, "one")


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.startswith("index")]


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
    cache = PrefixCache(Engine(tmp_path), Slots(1, str(file)))
    async with cache.seat(ONE, "one", b"one") as seat:
        if lost == "engine started anew":
            file.unlink()
        else:
            file.write_bytes(b"no slots")
        seat.read, seat.sampled = len(ONE), [1, 2]
    assert await computed(cache, ONE, "two", b"other")
    assert not await computed(cache, ONE, "two", b"other"), "its own is re-used"


async def test_what_was_computed_of_a_picture_serves_no_other(tmp_path: Path) -> None:
    """Which tokens a picture has is not known here, but whose it was is."""
    cache = PrefixCache(Engine(tmp_path), Slots(1))
    await computed(cache, [], "one", b"one")
    assert await computed(cache, ONE, "two", b"other")


@pytest.mark.parametrize("then", ["nobody came", "another took the slot"])
async def test_a_client_that_leaves_while_a_slot_is_written_leaves_no_file_behind(tmp_path: Path, then: str) -> None:
    """Its request ends at once. What the engine writes counts as kept, or, where it may be of somebody else by then, is
    removed."""
    engine, store = Engine(tmp_path), PrefixStore(tmp_path, 1 << 20)
    cache = PrefixCache(engine, Slots(1), store)
    await computed(cache, ONE, "one", b"one")
    async with waiting(engine, cache, OTHER, "two", b"one"):
        assert len(files(tmp_path)) == 1
        assert store.held() == 0
        if then != "nobody came":
            await computed(cache, ONE, "one", b"one")
    left = files(tmp_path)
    assert not any(name.startswith("new-") for name in left)
    assert (len(left), store.held() > 0) == ((1, True) if then == "nobody came" else (0, False))
    await cache.close()


async def test_a_server_that_ends_waits_for_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an engine that does not answer was to write is removed."""
    monkeypatch.setattr(prefix_cache, "_FAREWELL", 0.01)
    engine = Engine(tmp_path)
    cache = PrefixCache(engine, Slots(1), PrefixStore(tmp_path, 1 << 20))
    await computed(cache, ONE, "one", b"one")
    async with waiting(engine, cache, OTHER, "two", b"one"):
        await cache.close()
        assert files(tmp_path) == []


async def test_a_client_that_leaves_while_a_slot_is_read_leaves_nothing_known_of_it(tmp_path: Path) -> None:
    """The engine may have read it or not: neither is taken to be in the slot, and nobody goes on from it."""
    engine, store = Engine(tmp_path), PrefixStore(tmp_path, 1 << 20)
    keep(store, tmp_path, b"one", ONE)
    cache = PrefixCache(engine, Slots(1), store)
    await computed(cache, OTHER[:50], "two", b"other")
    async with waiting(engine, cache, ONE, "one", b"one"):
        assert engine.asked[-1].endswith("restore")
        (slot,) = cache._slots.known()
        assert (slot.tokens, slot.pages, slot.domain) == (0, b"", b"")
    for domain in (b"one", b"other"):
        async with cache.seat([1, 2], "three", domain) as seat:
            assert seat.fresh
    await cache.close()


async def test_a_client_that_leaves_before_its_prompt_is_told_of_leaves_nothing_known(tmp_path: Path) -> None:
    """Some of it may have been computed by then in place of what another key's requests had computed."""
    cache = PrefixCache(Engine(tmp_path), Slots(1))
    await computed(cache, ONE, "one", b"one")
    async with cache.seat(ONE, "two", b"other"):
        pass
    assert await computed(cache, ONE, "one", b"one")


SERVER = Upstream("llama.cpp server", "http://127.0.0.1:9", own=True)
AWAY = [
    SERVER.absent("POST /slots", ConnectionRefusedError()),
    SERVER.silent("POST /slots", 1),
    SERVER.broke_off("POST /slots", "in the middle of the answer"),
    *(SERVER.answered("POST /slots", status, b"not now") for status in (401, 403, 404, 429, 501, 503, 504)),
]
REFUSED = [SERVER.answered("POST /slots", status, b"no such state") for status in (400, 500)]


@pytest.mark.parametrize("failure", AWAY + REFUSED, ids=str)
async def test_only_what_the_engine_refuses_to_read_is_dropped(tmp_path: Path, failure: Failure) -> None:
    """An engine that crashed, loads, or is silent says nothing of a file: it is there when the engine is back."""
    engine, store = Engine(tmp_path), PrefixStore(tmp_path, 1 << 20)
    keep(store, tmp_path, b"one", ONE)
    engine.refusal, cache = failure, PrefixCache(engine, Slots(1), store)
    async with cache.seat(ONE, "one", b"one") as seat:
        assert seat.restored == 0
    assert engine.asked == ["/slots/0?action=restore"]
    engine.refusal = None
    async with cache.seat(ONE, "one", b"one") as seat:
        assert (seat.restored > 0) == (failure in AWAY)
    await cache.close()


async def test_an_engine_that_is_away_is_waited_for_once(tmp_path: Path) -> None:
    """A request that waited as long as it may to have its slot read does not wait as long again for its reply."""
    server, store = Away(), PrefixStore(tmp_path, 1 << 20)
    engine, job = LlamaCpp(server), Job(prompt=ONE, max_tokens=1)
    keep(store, tmp_path, engine._domain(job), ONE)
    engine._prefixes = PrefixCache(server, Slots(1), store)
    with pytest.raises(Overloaded):
        await anext(engine.generate(job))
    assert "/slots/0?action=restore" in server.asked
    assert server.asked.count("/completion") == 1
    await engine.close()


async def test_after_it_was_back_an_engine_is_waited_for_again(tmp_path: Path) -> None:
    """What was waited in vain counts until the engine has read some of the prompt."""
    engine, store = Engine(tmp_path), PrefixStore(tmp_path, 1 << 20)
    keep(store, tmp_path, b"one", ONE)
    engine.refusal, cache = AWAY[0], PrefixCache(engine, Slots(1), store)
    async with cache.seat(ONE, "one", b"one") as seat:
        assert seat.waited
        cache.progress(seat, 0, 64, 1.0)
        assert not seat.waited
    await cache.close()
