"""Servers that answer as no engine does: whoever is told knows which server, what it was asked, and what to do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from antiphon.api.conversation import GenerationParams
from antiphon.api.errors import EngineFailed, EngineLost, Failure, Overloaded, TimedOut
from antiphon.engines import Engine, Reach, connect, kinds
from antiphon.engines.chat import ChatServer
from antiphon.engines.embedded import Launch
from antiphon.engines.models import model_store
from antiphon.process.engine_process import EngineProcess
from antiphon.serving import chat_model, token_model
from antiphon.serving.model import Choices
from antiphon.serving.service import Service
from antiphon.settings.sources import Settings
from tests.engines import vocabulary
from tests.engines.far import Far, delta, used
from tests.engines.relay import Relay
from tests.engines.wires import WIRES
from tests.serving.served import reply, said

pytestmark = pytest.mark.xdist_group("engine")

NAMES = ("llama.cpp", "openai", *WIRES)

CHECK = r"; check that this is the address of a .* server, its path included"
TROUBLES: dict[str, tuple[tuple[type[Failure], ...], str]] = {
    "html": ((EngineFailed,), f"answered .* with an HTML page: '<!doctype html>.*{CHECK}"),
    "empty": ((EngineFailed,), f"answered .* with nothing{CHECK}"),
    "401": ((EngineFailed,), r"answered .* with 401: who are you\?; give its key with --engine-key"),
    "404": ((EngineFailed,), f"answered .* with 404: an HTML page{CHECK}"),
    "500": ((EngineFailed,), "answered .* with 500: out of order; its log says more"),
    "object": ((EngineFailed,), f"answered .* with (JSON of another shape|something else than events).*hello.*{CHECK}"),
    "array": ((EngineFailed,), f"answered .* with (JSON of another shape|something else than events).*{CHECK}"),
    "hangs": ((TimedOut,), r"sent nothing for 0\.4 seconds in answer to .*; if its work takes longer"),
    "closes": (
        (Overloaded, EngineLost),
        "does not answer .*; see that it runs|broke off .* before it answered; the request is not sent again",
    ),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokenizer of the loopback wires."""
    return vocabulary.write(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real llama.cpp server."""
    model = model_store.resolve("", Path(Settings().cache_dir))
    log = str(tmp_path_factory.mktemp("engine") / "log")
    process = EngineProcess(Launch(model=str(model), window=512, parallel=1, threads=1, key="k", log=log), print)
    yield f"http://127.0.0.1:{process.start()}"
    process.stop()


@asynccontextmanager
async def relayed(name: str, embedded: str, files: Path) -> AsyncIterator[Relay]:
    """A relay before a server of this kind."""
    if name == "llama.cpp":
        async with Relay(embedded).there() as relay:
            yield relay
        return
    server = Far() if name == "openai" else WIRES[name](files)
    if isinstance(server, Far):
        server.replies = [[delta(content="one"), delta("stop"), used(3, 1)]]
    await server.start()
    async with Relay(server.url.removesuffix("/v1")).there() as relay:
        yield relay
    await server.stop()


def impatient(engine: Engine | ChatServer, silence: float = 0.4) -> None:
    """Let the engine's server be silent for so many seconds only."""
    engine._server._silence = silence  # type: ignore[union-attr]


@asynccontextmanager
async def loaded(name: str, relay: Relay, files: Path) -> AsyncIterator[tuple[Service, Engine | ChatServer]]:
    """The model behind the relay, served."""
    path = "/v1" if name == "openai" else ""
    tokenizer = "" if name in ("openai", "llama.cpp") else str(files)
    reach = Reach(tokenizer=tokenizer, patience=0.3, key="k")
    engine = connect(f"{name}+{relay.url}{path}", reach)
    if relay.trouble == "hangs":
        impatient(engine)
    try:
        if isinstance(engine, ChatServer):
            yield Service([await chat_model.load(engine, Choices(name="far"))]), engine
        else:
            yield Service([await token_model.load(engine, Choices(name="far"))]), engine
    finally:
        await engine.close()


def told(failure: Failure, relay: Relay, kinds: tuple[type[Failure], ...], words: str) -> None:
    """The failure is of one of these kinds, and says where, what was asked and what to do."""
    assert isinstance(failure, kinds), failure
    assert f" server at {relay.url}" in failure.message
    assert re.search(r"\b(GET|POST) /\w", failure.message), failure.message
    assert re.search(words, failure.message, re.DOTALL), failure.message


def test_every_engine_is_asked() -> None:
    """One that is new is under these tests from its first day."""
    assert set(NAMES) == kinds().keys() - {"scripted"}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", NAMES)
async def test_what_cannot_be_loaded_says_why(name: str, trouble: str, embedded: str, files: Path) -> None:
    """A model that cannot be loaded says so in one sentence."""
    async with relayed(name, embedded, files) as relay:
        relay.trouble = trouble
        with pytest.raises(Failure) as caught:
            async with loaded(name, relay, files):
                pass
        told(caught.value, relay, *TROUBLES[trouble])


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", NAMES)
async def test_in_a_request(name: str, trouble: str, embedded: str, files: Path) -> None:
    """A request that fails says so in one sentence, and the next one is answered."""
    async with relayed(name, embedded, files) as relay, loaded(name, relay, files) as (service, engine):
        relay.trouble = trouble
        impatient(engine, 0.4 if trouble == "hangs" else 60)
        with pytest.raises(Failure) as caught:
            await reply(service, said("Hi"), GenerationParams(max_tokens=2))
        told(caught.value, relay, *TROUBLES[trouble])
        relay.trouble = ""
        impatient(engine, 60)
        assert (await reply(service, said("Hi"), GenerationParams(max_tokens=2))).usage.output


@pytest.mark.parametrize("name", NAMES)
def test_secrets_of_an_address_are_not_told(name: str) -> None:
    """Clients see the address, so what lets into it is left out; what is no address is refused at once."""
    engine = connect(f"{name}+http://me:secret@127.0.0.1:9/v1?token=hidden", Reach())
    shown = str(engine._server.upstream)  # type: ignore[union-attr]
    assert shown.endswith(" server at http://127.0.0.1:9/v1")
    with pytest.raises(ValueError, match="must begin with http"):
        connect(f"{name}+127.0.0.1:9", Reach())
