"""The embedded engine with computed prefixes on disk: what it reads back is what it had computed, and nothing else is
ever used. On the default model."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from antiphon.api.conversation import Sampling
from antiphon.api.errors import EngineFailed
from antiphon.engines import Job, Piece, Prefilled, Prefixes, Reach, connect
from antiphon.engines.cache.prefix_store import PrefixStore
from antiphon.engines.embedded import Launch
from antiphon.engines.llama_cpp import LlamaCpp
from antiphon.engines.models import identity, model_store
from antiphon.process.engine_process import EngineProcess
from antiphon.settings.sources import Settings

pytestmark = pytest.mark.xdist_group("engine")

INSTRUCTIONS = "".join(
    f"Rule {number}: whoever asks for {number} is given {number * 37 % 101}.\n" for number in range(20)
)
MB = 1 << 20


@asynccontextmanager
async def engine(folder: Path, parallel: int = 1) -> AsyncIterator[tuple[LlamaCpp, EngineProcess]]:
    """A process that runs the default model, and keeps in the folder what it computes."""
    model = str(model_store.resolve("", Path(Settings().cache_dir)))
    store, slots = folder / "prefixes", folder / "slots"
    store.mkdir(exist_ok=True)
    launch = Launch(model=model, window=1024, parallel=parallel, threads=1, cache_mb=0, prefixes=str(store))
    forget = partial(slots.unlink, missing_ok=True)
    process = EngineProcess(launch, lambda sentence: None, starting=forget)
    port = await asyncio.to_thread(process.start)
    prefixes = Prefixes(folder=str(store), capacity=1000 * MB, engine=identity.of_engine(launch))
    made = connect(f"llama.cpp+http://127.0.0.1:{port}", Reach(slots=str(slots), prefixes=prefixes, patience=120))
    assert isinstance(made, LlamaCpp)
    try:
        await made.describe()
        yield made, process
    finally:
        await made.close()
        await asyncio.to_thread(process.stop)


async def asked(made: LlamaCpp, text: str, conversation: str = "a", **fields: Any) -> tuple[Prefilled, list[int]]:
    """What was cached of a text, and the ids that follow it."""
    job = Job(
        prompt=await made.tokenise([text]),
        max_tokens=fields.pop("max_tokens", 8),
        sampling=Sampling(temperature=0.0),
        conversation=conversation,
        **fields,
    )
    prefilled, ids = None, list[int]()
    async for read in made.generate(job):
        if isinstance(read, Prefilled):
            prefilled = read
        else:
            ids += [id for piece in read for id in piece.ids]
    assert prefilled is not None
    return prefilled, ids


async def killed(made: LlamaCpp, process: EngineProcess) -> None:
    """The engine dies at the first token of a reply."""
    async for read in made.generate(Job(prompt=await made.tokenise([INSTRUCTIONS]), max_tokens=500)):
        if isinstance(read, list) and process.pid:
            os.kill(process.pid, signal.SIGKILL)


async def odds(made: LlamaCpp, text: str) -> dict[int, float]:
    """The likeliest next tokens by their logarithms, computed in the first slot."""
    prompt = await made.tokenise([text])
    body = {"prompt": prompt, "n_predict": 1, "n_probs": 10, "temperature": 0, "id_slot": 0}
    answer = await made._server.ask("POST", "/completion", dict[str, Any], body)
    return {each["id"]: each["logprob"] for each in answer["completion_probabilities"][0]["top_logprobs"]}


async def test_what_is_restored_is_what_was_computed(tmp_path: Path) -> None:
    """After a restart nearly all of a prompt comes from disk; what follows has the same ids and the same odds."""
    async with engine(tmp_path) as (made, _):
        cold, ids = await asked(made, INSTRUCTIONS)
        before = await odds(made, INSTRUCTIONS)
    async with engine(tmp_path) as (made, _):
        warm, again = await asked(made, INSTRUCTIONS)
        after = await odds(made, INSTRUCTIONS)
    assert (cold.cached, cold.restored) == (0, 0)
    assert warm.restored > 0.9 * warm.prompt
    assert again == ids
    assert after == pytest.approx(before, abs=0.02)


async def test_what_one_computed_serves_no_other(tmp_path: Path) -> None:
    """Of a prompt that another owner's is equal to nothing is re-used: not in the slot, and not from disk. Its own
    is."""
    async with engine(tmp_path) as (made, _):
        assert (await asked(made, INSTRUCTIONS, owner="one"))[0].cached == 0
        assert (await asked(made, INSTRUCTIONS, owner="other"))[0].cached == 0
        own, _ = await asked(made, INSTRUCTIONS, owner="one")
        assert own.restored > 0.9 * own.prompt


async def test_many_conversations_in_one_slot(tmp_path: Path) -> None:
    """Each comes back to what it had, and a new one begins with the instructions that the others share."""
    async with engine(tmp_path) as (made, _):
        for name in ("a", "b"):
            await asked(made, f"{INSTRUCTIONS}{name}: hello, this is {name}. " * 2, name)
        for name in ("a", "b"):
            back, _ = await asked(made, f"{INSTRUCTIONS}{name}: hello, this is {name}. " * 2 + "And?", name)
            assert back.prompt - back.cached < 40
    async with engine(tmp_path) as (made, _):
        new, _ = await asked(made, f"{INSTRUCTIONS}c: and who are you?", "c")
        assert new.restored > 0.8 * new.prompt


async def test_an_engine_that_dies_costs_no_prefill(tmp_path: Path) -> None:
    """Killed in the middle of a reply; what it had computed of the conversation before is read from disk."""
    async with engine(tmp_path) as (made, process):
        _, ids = await asked(made, INSTRUCTIONS)
        await made._prefixes._keep_all()
        with pytest.raises(EngineFailed, match="broke off"):
            await killed(made, process)
        back, again = await asked(made, INSTRUCTIONS)
    assert back.restored > 0.9 * back.prompt
    assert again == ids


@pytest.mark.parametrize("damage", ["cut", "flipped", "another engine"])
async def test_nothing_wrong_is_restored(tmp_path: Path, damage: str) -> None:
    """What does not fit is computed anew, and gives what it gave."""
    async with engine(tmp_path) as (made, _):
        _, ids = await asked(made, INSTRUCTIONS)
    (file,) = (path for path in (tmp_path / "prefixes").iterdir() if not path.name.startswith("index"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content[:-1] if damage == "cut" else content)
    async with engine(tmp_path) as (made, _):
        if damage == "another engine":
            made._identities[""] = b"of another build"
        again, other = await asked(made, INSTRUCTIONS)
    assert again.cached == 0
    assert other == ids


async def test_two_servers_share_a_folder(tmp_path: Path) -> None:
    """Each finds what the other computed, with the ids and odds of a cold run; what one of them drops or damages is
    computed anew by the other."""
    (tmp_path / "prefixes").mkdir()
    for server in ("one", "other"):
        (tmp_path / server).mkdir()
        (tmp_path / server / "prefixes").symlink_to(tmp_path / "prefixes")
    async with engine(tmp_path / "one") as (one, _), engine(tmp_path / "other") as (other, _):
        cold, ids = await asked(one, INSTRUCTIONS)
        before = await odds(one, INSTRUCTIONS)
        await one._prefixes._keep_all()
        warm, again = await asked(other, INSTRUCTIONS)
        after = await odds(other, INSTRUCTIONS)
        for file in (tmp_path / "prefixes").iterdir():
            if not file.name.startswith("index"):
                file.write_bytes(b"what no engine wrote")
        await asked(other, "Something else. " + INSTRUCTIONS, "b")
        anew, once_more = await asked(other, INSTRUCTIONS)
    assert cold.cached == 0
    assert warm.restored > 0.9 * warm.prompt
    assert after == pytest.approx(before, abs=0.02)
    assert anew.restored == 0
    assert again == once_more == ids


async def test_a_full_disk_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine cannot write what it computed: requests are answered all the same."""
    monkeypatch.setattr(PrefixStore, "draft", lambda self: "full")
    async with engine(tmp_path) as (made, _):
        (tmp_path / "prefixes" / "full").symlink_to("/dev/full")
        _, ids = await asked(made, INSTRUCTIONS)
        await asked(made, f"Something else. {INSTRUCTIONS}", "b")
        assert (await asked(made, INSTRUCTIONS))[1] == ids


async def test_the_prompt_is_told_step_by_step(tmp_path: Path) -> None:
    """While a long prompt is read, it is told how much of it is."""
    async with engine(tmp_path) as (made, _):
        job = Job(prompt=await made.tokenise([INSTRUCTIONS]), max_tokens=1)
        told = [read.read for read in [read async for read in made.generate(job)] if isinstance(read, Prefilled)]
    assert told == sorted(told)
    assert len(told) > 2
    assert told[-1] == len(job.prompt)


async def test_a_prompt_that_is_given_up_is_kept_as_far_as_it_was_read(tmp_path: Path) -> None:
    """The client went away while its prompt was read: the next one goes on from there."""
    async with engine(tmp_path) as (made, _):
        job = Job(prompt=await made.tokenise([INSTRUCTIONS]), max_tokens=1)
        reads = made.generate(job)
        read: Prefilled | list[Piece] = Prefilled(0, 0)
        while not (isinstance(read, Prefilled) and read.read):
            read = await anext(reads)
        await reads.aclose()
        assert isinstance(read, Prefilled)
        assert made._prefixes._slots.known()[0].tokens == read.read
        back, _ = await asked(made, INSTRUCTIONS)
        assert back.cached >= read.read
