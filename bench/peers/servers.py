"""The servers, each started with the same model and a window of the same size, in an environment of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import antiphon
from antiphon.engines.embedded import Launch
from antiphon.engines.models import model_store
from antiphon.process.engine_process import EngineProcess
from antiphon.settings.sources import Settings
from bench import servers
from tests.engines.real import environments
from tests.engines.real import run as real

WINDOW = environments.WINDOW
STREAMS = 4
"""How many requests each server works on at once."""
_QUANTISED = "The GGUF file (Q4_1)."
_ONE_LEFT = "All cores but one read prompts and write."
_WHOLE = "The same weights in bfloat16, on the CPU."
_VLLM_FLAGS = "--enable-auto-tool-choice --tool-call-parser hermes --enable-prompt-tokens-details"
_SGLANG_FLAGS = "--tool-call-parser hermes --enable-cache-report"


class Place(NamedTuple):
    """Where a server listens, and what its model is called there."""

    url: str
    model: str = "default"


class Peer(NamedTuple):
    """A server of the comparison: its name for people, its version, how it runs here, and how it is started. It is
    neither timed nor held to what the engine decides if its engine is `scripted`."""

    title: str
    version: str
    note: str
    start: Callable[[Path], AbstractContextManager[Place]]
    scripted: bool = False


@contextmanager
def _antiphon(folder: Path) -> Iterator[Place]:
    window = ("--context-length", str(WINDOW), "--parallel", str(STREAMS))
    with servers.antiphon(folder, "", *window) as it:
        yield Place(it.url)


@contextmanager
def _llama_cpp(folder: Path) -> Iterator[Place]:
    model = model_store.resolve("", Path(Settings().cache_dir))
    launch = Launch(model=str(model), window=WINDOW, parallel=STREAMS, log=str(folder / "llama.cpp.log"))
    process = EngineProcess(launch, print)
    try:
        yield Place(f"http://127.0.0.1:{process.start()}")
    finally:
        process.stop()


@contextmanager
def _litellm(folder: Path) -> Iterator[Place]:
    with _llama_cpp(folder) as engine, servers.litellm(folder, engine.url, "default") as it:
        if it is None:
            raise RuntimeError(f"{servers.LITELLM} cannot be installed, or does not start")
        yield Place(it.url)


def _vllm_command(python: Path, model: Path, port: int) -> list[str]:
    flags = f"--dtype bfloat16 --enforce-eager --max-num-seqs {STREAMS} {_VLLM_FLAGS}"
    place = ("--served-model-name", "smol", "--host", "127.0.0.1", "--port", str(port))
    return [str(python.with_name("vllm")), "serve", str(model), *place, *flags.split()]


_VLLM = real.Real(_vllm_command, real.ENGINES["vllm"].environment, "vllm+{url}")


@contextmanager
def _vllm(folder: Path) -> Iterator[Place]:
    with real.running("vllm", folder / "vllm.log", _VLLM) as (url, _):
        yield Place(url, "smol")


@contextmanager
def _antiphon_before_vllm(folder: Path) -> Iterator[Place]:
    with (
        real.running("vllm", folder / "vllm.log", _VLLM) as (url, model),
        servers.antiphon(folder, f"vllm+{url}", "--tokenizer", str(model)) as it,
    ):
        yield Place(it.url)


def _with_flags(name: str, *flags: str) -> Callable[[Path], AbstractContextManager[Place]]:
    """A server as `make engines-real` starts it, with these flags besides, or in place of those of their names."""
    known = real.ENGINES[name]

    def command(python: Path, model: Path, port: int) -> list[str]:
        return [*known.command(python, model, port), *flags]

    @contextmanager
    def start(folder: Path) -> Iterator[Place]:
        with real.running(name, folder / f"{name}.log", known._replace(command=command)) as (url, _):
            yield Place(url, "smol")

    return start


def _pinned(name: str) -> str:
    return environments.BARE[name].partition("==")[2]


PEERS = {
    "antiphon": Peer(
        "Antiphon",
        antiphon.__version__,
        f"{_QUANTISED} The embedded engine: as it comes, all cores read prompts and all but one write.",
        _antiphon,
    ),
    "llama.cpp": Peer(
        "llama.cpp server", f"of xllamacpp {version('xllamacpp')}", f"{_QUANTISED} {_ONE_LEFT}", _llama_cpp
    ),
    "litellm": Peer(
        "LiteLLM",
        servers.LITELLM.partition("==")[2],
        f"{_QUANTISED} The proxy before llama.cpp's chat completions, as `hosted_vllm/…`. {_ONE_LEFT}",
        _litellm,
    ),
    "vllm": Peer("vLLM", _pinned("vllm"), f"{_WHOLE} `{_VLLM_FLAGS}`.", _vllm),
    "antiphon-vllm": Peer(
        "Antiphon before vLLM",
        f"{antiphon.__version__} and {_pinned('vllm')}",
        f"{_WHOLE} Antiphon asks the same vLLM by token ids.",
        _antiphon_before_vllm,
    ),
    "sglang": Peer(
        "SGLang",
        _pinned("sglang"),
        f"{_WHOLE} `{_SGLANG_FLAGS}`.",
        _with_flags("sglang", *_SGLANG_FLAGS.split(), "--max-running-requests", str(STREAMS)),
    ),
    "lmdeploy": Peer(
        "LMDeploy",
        _pinned("lmdeploy"),
        "Its server over a scripted engine, since its own need a GPU: routes, validation, chat template and parsers "
        "are its own, the text is not. `--tool-call-parser qwen`.",
        _with_flags("lmdeploy", "--tool-call-parser", "qwen"),
        scripted=True,
    ),
}
"""In the order of the tables."""
OF_ENGINES = (
    *("agent.tool_forced", "agent.tool_any", "agent.tool_fields", "agent.tool_ids", "agent.tool_input"),
    *("agent.tool_nested", "agent.tool_stream", "agent.tool_none", "agent.tool_single"),
    *("basic.stop_sequences", "full.structured", "full.structured_stream", "full.cache_read", "full.cache_sum"),
)
"""The checks that judge what an engine does, besides a server."""
