"""Adapters (LoRA) of the embedded engine, and of a llama.cpp that runs already: each is a model by its own name."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.api.conversation import Sampling
from antiphon.engines import Engine, Job, Prefilled, Reach, connect
from antiphon.engines.embedded import Launch
from antiphon.engines.llama_cpp import LlamaCpp
from antiphon.engines.models import model_store
from antiphon.process.engine_process import EngineProcess
from antiphon.settings.sources import Settings
from tests.end_to_end.conftest import Server, serving
from tests.end_to_end.test_real_model import post, total, user
from tests.engines import gguf_files

pytestmark = pytest.mark.xdist_group("engine")

# The feed-forward layers of SmolLM2-135M: 30 of them, from 1536 numbers to 576.
LAYERS, INNER, OUTER, RANK = 30, 1536, 576, 2


def adapter(path: Path, *, every: int, alpha: float) -> Path:
    """An adapter of random weights that change what the model writes, on every so manieth layer."""
    tensors = {}
    for layer in range(0, LAYERS, every):
        weight = f"blk.{layer}.ffn_down.weight"
        tensors |= {f"{weight}.lora_a": (INNER, RANK), f"{weight}.lora_b": (RANK, OUTER)}
    kind = {"general.type": "adapter", "general.architecture": "llama", "adapter.type": "lora"}
    gguf_files.write(path, {**kind, "adapter.lora.alpha": alpha}, tensors)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters of the default model, by name."""
    folder = tmp_path_factory.mktemp("adapters")
    return {
        "sea": adapter(folder / "sea.gguf", every=1, alpha=40.0),
        "land": adapter(folder / "land.gguf", every=2, alpha=60.0),
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, files: dict[str, Path]) -> Iterator[Server]:
    """The default model with two adapters, as a file of settings names them."""
    folder = tmp_path_factory.mktemp("adapted")
    lora = [f"{name}=../{path.parent.name}/{path.name}" for name, path in files.items()]
    (folder / "antiphon.toml").write_text(
        f'context_length = 2048\nthreads = 1\nparallel = 2\nserved_model_name = "plain"\nlora = {json.dumps(lora)}\n'
    )
    with serving(folder, "--config", str(folder / "antiphon.toml")) as running:
        yield running


def asked(server: Server, model: str, turns: list[Any]) -> tuple[str, dict[str, Any]]:
    # Few words: what is read in one go and what is read in two are rounded differently, and part in time.
    body = {"model": model, "max_tokens": 4, "temperature": 0.0, "messages": turns}
    answer = post(server, "/v1/messages", body)
    assert answer["model"] == model
    return answer["content"][0]["text"], answer["usage"]


STORY = [user("Tell me a long story about the sea. " * 8)]


def test_each_is_a_model(server: Server) -> None:
    """By its name, or behind that of its model; it is listed, and told of when the server is up."""
    assert "sea  (adapter of plain)" in server.log.read_text()
    headers = {"anthropic-version": "2023-06-01"}
    with urllib.request.urlopen(urllib.request.Request(server.url + "/v1/models", headers=headers)) as response:
        assert [model["id"] for model in json.load(response)["data"]] == ["plain", "sea", "land"]
    texts = {name: asked(server, name, STORY)[0] for name in ("plain", "sea", "land")}
    assert len(set(texts.values())) == 3
    assert asked(server, "plain:sea", STORY)[0] == texts["sea"]
    assert asked(server, "claude-opus-4-6", STORY)[0] == texts["plain"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        asked(server, "plain:sand", STORY)
    assert "served here: plain, sea, land" in json.load(refused.value)["error"]["message"]
    assert refused.value.code == 404


def test_no_adapter_goes_on_from_the_cache_of_another(server: Server) -> None:
    """In whatever order they are asked, each says what it said alone, and finds what it computed itself just
    before; so it is when their conversations go on."""
    first = {name: asked(server, name, STORY)[0] for name in ("plain", "sea", "land")}
    for name in ("sea", "plain", "land", "land", "plain", "sea", "plain"):
        text, _ = asked(server, name, STORY)
        assert text == first[name], name
    for name in ("sea", "plain"):
        asked(server, name, STORY)
        _, usage = asked(server, name, STORY)
        assert usage["cache_read_input_tokens"] >= total(usage) - 1
        longer = [*STORY, {"role": "assistant", "content": first[name]}, user("Go on.")]
        _, usage = asked(server, name, longer)
        assert usage["cache_read_input_tokens"] > total(usage) - 24


async def text(engine: Engine, adapter: str) -> str:
    job = Job(
        prompt=await engine.tokenise(["Once upon a time"]),
        max_tokens=4,
        sampling=Sampling(temperature=0.0),
        adapter=adapter,
    )
    told = [piece.text async for read in engine.generate(job) if not isinstance(read, Prefilled) for piece in read]
    return "".join(told)


async def test_a_server_that_runs_already(tmp_path: Path, files: dict[str, Path]) -> None:
    """Its adapters are known by their files, in whatever folder of its machine; one that it has not is told at load."""
    model = model_store.resolve("", Path(Settings().cache_dir))
    paths = tuple(map(str, files.values()))
    launch = Launch(model=str(model), window=512, parallel=1, threads=1, lora=paths, log=str(tmp_path / "log"))
    process = EngineProcess(launch, print)
    address = f"llama.cpp+http://127.0.0.1:{process.start()}"
    try:
        engine = connect(address, Reach(adapters={"shore": "/elsewhere/land.gguf", "waves": str(files["sea"])}))
        assert isinstance(engine, LlamaCpp)
        assert (await engine.describe()).adapters == ("shore", "waves")
        told = [await text(engine, name) for name in ("", "shore", "waves", "shore", "")]
        assert len(set(told)) == 3
        assert told[1] == told[3]
        assert told[0] == told[4]
        await engine.close()
        engine = connect(address, Reach(adapters={"sand": "/elsewhere/sand.gguf"}))
        with pytest.raises(ValueError, match="has no adapter"):
            await engine.describe()
        await engine.close()
    finally:
        process.stop()
