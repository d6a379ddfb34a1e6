"""Engines attached by URL, over servers that fail, hold back and repeat themselves as the real ones do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from antiphon.api.conversation import GenerationParams, Sampling, Tool, ToolChoice
from antiphon.api.errors import BadRequest, EngineFailed, Internal, Overloaded, TimedOut
from antiphon.constraint.check import MOST_ATTEMPTS
from antiphon.engines import Engine, Job, Piece, Prefilled, Reach, connect
from antiphon.engines.token_server import TokenServer
from antiphon.serving.model import Choices
from antiphon.serving.service import Service
from antiphon.serving.token_model import load
from tests.engines import vocabulary
from tests.engines.wires import STORY, WIRES, SGLangWire, VLLMWire, Wire
from tests.serving.served import emitted, reply, said

NAMES = list(WIRES)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokenizer of the loopback wires."""
    return vocabulary.write(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(params=NAMES)
async def wire(request: pytest.FixtureRequest, files: Path) -> AsyncIterator[Wire]:
    """Each kind of server in turn."""
    made = WIRES[request.param](files)
    await made.start()
    yield made
    await made.stop()


async def attach(wire: Wire, **reach: Any) -> TokenServer:
    """The engine of a server, described as at load."""
    name = next(name for name, kind in WIRES.items() if isinstance(wire, kind))
    made = connect(f"{name}+{wire.url}", Reach(**{"tokenizer": str(wire.folder), "patience": 0.3, **reach}))
    assert isinstance(made, TokenServer)
    try:
        await made.describe()
    except ValueError:
        await made.close()
        raise
    return made


async def generated(engine: Engine, **fields: Any) -> list[Piece]:
    job = Job(prompt=await engine.tokenise(["Tell a story."]), **{"max_tokens": 60, **fields})
    return [piece async for read in engine.generate(job) if not isinstance(read, Prefilled) for piece in read]


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


async def test_ids_and_text_agree(wire: Wire) -> None:
    """Each id comes once, in order, and the text is theirs, half characters and all."""
    engine = await attach(wire)
    pieces = await generated(engine)
    ids = [id for piece in pieces for id in piece.ids]
    assert ids == wire.tokenizer.encode(STORY).ids[:60]
    assert text(pieces) == STORY.encode()[:60].decode()
    assert b"".join(await engine.spell(ids)).decode() == text(pieces)
    await engine.close()


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("trouble", ["error", "cut"])
async def test_breaking_off_is_a_failed_engine(wire: Wire, trouble: str, after: int) -> None:
    """A server that fails before the first token or later, with a word or without, is an engine that failed."""
    engine = await attach(wire)
    wire.trouble, wire.after = trouble, after
    with pytest.raises(EngineFailed, match="fell off the bus" if trouble == "error" else "broke off"):
        await generated(engine)
    assert wire.running == 0
    await engine.close()


@pytest.mark.parametrize(
    ("trouble", "failure"), [("busy", Overloaded), ("refuse", BadRequest), ("crash", EngineFailed)]
)
async def test_statuses_become_the_errors_of_the_api(wire: Wire, trouble: str, failure: type[Exception]) -> None:
    """What a status means for the client, with the server's own words."""
    engine = await attach(wire)
    wire.trouble = trouble
    with pytest.raises(failure, match=f"told to {trouble}"):
        await generated(engine)
    assert (await engine.health()).ready is (trouble != "busy")
    await engine.close()


async def test_silence_times_out_and_frees_the_slot(wire: Wire) -> None:
    """A server that says nothing for too long is timed out, and its slot is given back."""
    engine = await attach(wire, silence=0.3)
    wire.trouble, wire.after = "mute", 2
    with pytest.raises(TimedOut, match=r"nothing for 0\.3 seconds"):
        await generated(engine)
    for _ in range(100):
        if not wire.running:
            break
        await asyncio.sleep(0.02)
    assert wire.running == 0
    await engine.close()


async def test_sampling_travels(wire: Wire) -> None:
    """What was asked of the sampling reaches the server; what was not is left to it."""
    engine = await attach(wire)
    await generated(engine, sampling=Sampling(temperature=0.5, top_k=7))
    asked = wire.asked[-1]
    assert {"temperature": 0.5, "top_k": 7}.items() <= asked.get("sampling_params", asked).items()
    await generated(engine)
    asked = wire.asked[-1]
    assert not {"temperature", "top_k", "top_p"} & asked.get("sampling_params", asked).keys()
    await engine.close()


async def test_pictures_travel(wire: Wire) -> None:
    """Pictures go beside the ids, each as a data URL, and the ids hold what stands for them."""
    engine = await attach(wire)
    assert text(await generated(engine, images=(b"one", b"two"), text="<think>Look.</think>"))
    asked = str(wire.asked[-1])
    sent = next(wire.asked[-1][key] for key in ("token_ids", "input_ids") if key in wire.asked[-1])
    assert sent == await engine.tokenise(["<think>Look.</think>"])
    assert asked.count("data:image/png;base64,") == 2
    await engine.close()


@pytest.mark.parametrize("wire", ["vllm", "sglang"], indirect=True)
async def test_adapters_are_models(wire: Wire) -> None:
    """What the server lists behind its model is served by its own name, and asked for by that."""
    wire.adapters = ("sea", "land")
    engine = await attach(wire)
    model = await load(engine, Choices(name="plain"))
    assert model.description.adapters == ("sea", "land")
    service = Service([model, model.adapted("sea")])
    assert [card.name for card in service.cards()] == ["plain", "sea"]
    for name, asked_for in (("plain", None), ("sea", "sea"), ("plain:sea", "sea")):
        prepared = await service.prepare(name, said("Tell a story."), GenerationParams(max_tokens=2))
        await emitted(service, prepared)
        assert wire.asked[-1].get("model" if isinstance(wire, VLLMWire) else "lora_path") == asked_for
    await service.close()


async def test_repeating_and_not(files: Path) -> None:
    """SGLang repeats all that was said in every event, unless it was started not to; both read the same."""
    told = []
    for incremental in (False, True):
        wire = SGLangWire(files)
        wire.incremental = incremental
        await wire.start()
        engine = await attach(wire)
        told.append(await generated(engine))
        await engine.close()
        await wire.stop()
    assert told[0] == told[1]


@pytest.mark.parametrize("wire", ["vllm", "sglang"], indirect=True)
async def test_without_tokenizer_files(wire: Wire) -> None:
    """Without tokenizer files the server's own tokenizer is asked."""
    engine = await attach(wire, tokenizer="")
    assert await engine.tokenise(["a", "<|im_end|>"]) == [*wire.tokenizer.encode("a").ids, 257]
    assert text(await generated(engine)) == STORY.encode()[:60].decode()
    if isinstance(wire, VLLMWire):
        assert await engine.spell([257]) == [b"<|im_end|>"]
    await engine.close()


@pytest.mark.parametrize("wire", ["lmdeploy"], indirect=True)
async def test_tokenizer_files_needed(wire: Wire) -> None:
    """An engine that cannot tell its window says what to do; so does a tokenizer that leads nowhere."""
    with pytest.raises(ValueError, match="--tokenizer"):
        await attach(wire, tokenizer="")
    with pytest.raises(ValueError, match="does not exist"):
        await attach(wire, tokenizer="/no/such/folder")


async def test_dialect_is_found_out(files: Path) -> None:
    """vLLM does not tell which grammars it takes, so it is tried."""
    for takes, dialect in (({"structural_tag"}, "xgrammar"), ({"grammar"}, "llguidance"), (set[str](), "none")):
        wire = VLLMWire(files)
        wire.takes = takes
        await wire.start()
        engine = await attach(wire)
        assert (await engine.describe()).grammar == dialect
        await engine.close()
        await wire.stop()


LOOK = Tool(name="look", schema={"type": "object", "properties": {"at": {"type": "integer"}}, "required": ["at"]})
FORCED = GenerationParams(max_tokens=40, tool_choice=ToolChoice(mode="any"))


@pytest.mark.parametrize("wire", ["vllm", "sglang"], indirect=True)
async def test_a_refused_grammar_lets_the_model_run_free(wire: Wire) -> None:
    """A grammar that the engine turns out not to take is no error of the client's: the model runs free, and its reply
    is checked and asked for again."""
    engine = await attach(wire)
    service = Service([await load(engine, Choices())])
    wire.takes, wire.story = set(), "I will not."
    with pytest.raises(Internal, match="no tool was called"):
        await reply(service, said("Look!", tools=(LOOK,)), FORCED)
    bodies = [str(body) for body in wire.asked if "Tell" not in str(body)][-1 - MOST_ATTEMPTS :]
    assert ["structural_tag" in body for body in bodies] == [True, *[False] * MOST_ATTEMPTS]
    await service.close()


async def test_a_conversation_is_answered_with_the_engines_usage(wire: Wire) -> None:
    """A conversation is answered through the service, with the engine's own usage."""
    service = Service([await load(await attach(wire), Choices())])
    got = await reply(service, said("Tell a story."), GenerationParams(max_tokens=30))
    assert got.reason == "max_tokens"
    assert (got.usage.output, got.usage.cached) == (30, 0)
    again = await reply(service, said("Tell a story."), GenerationParams(max_tokens=30, sampling=Sampling(seed=1)))
    assert again.usage.prompt == got.usage.prompt
    if not isinstance(wire, WIRES["lmdeploy"]):  # which takes the seed by the route that tells of the cache
        assert again.usage.cached >= got.usage.prompt - 1
    await service.close()


async def test_each_model_has_its_own_text_for_a_picture(files: Path, tmp_path: Path) -> None:
    """A model that sees has its own text for a picture, with what its template puts around it."""
    folder = vocabulary.write(tmp_path / "vision")
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens(["<|image_pad|>", "<|vision_start|>", "<|vision_end|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    image = tokenizer.token_to_id("<|image_pad|>")
    template = "{% for message in messages %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    (folder / "config.json").write_text(json.dumps({"vision_config": {}, "image_token_id": image}))
    wire = VLLMWire(files)
    await wire.start()
    engine = await attach(wire, tokenizer=str(folder))
    described = await engine.describe()
    assert described.vision
    assert described.media_marker == "<|vision_start|><|image_pad|><|vision_end|>"
    await engine.close()
    await wire.stop()
