"""What the embedded engine is told to be, in llama.cpp's own terms."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from antiphon.constraint import Free, Literal, Pattern, Sequence, lark
from antiphon.engines import embedded
from antiphon.engines.embedded import Launch
from antiphon.engines.hardware import cache_size, machine
from antiphon.engines.models import model_store
from antiphon.process.engine_process import EngineProcess
from antiphon.settings.fields import Settings


@pytest.mark.parametrize(
    ("launch", "reading", "writing"),
    [
        (Launch(model="m", window=512, threads=3, prefill_threads=4), 4, 3),
        (Launch(model="m", window=512, threads=3), 3, 3),
    ],
)
def test_prompts_are_read_on_more_cores_than_replies_are_written(launch: Launch, reading: int, writing: int) -> None:
    """Reading may have all cores; what is said of one holds for both unless both are told."""
    params = embedded.parameters(launch)
    assert (params.cpuparams_batch.n_threads, params.cpuparams.n_threads) == (reading, writing)


@pytest.mark.parametrize("engines", [1, 2, 100])
@pytest.mark.parametrize("cores", [1, 2, 3, 4, 16])
def test_cores_are_shared_by_engines(monkeypatch: pytest.MonkeyPatch, cores: int, engines: int) -> None:
    """Engines together have no more threads than cores, unless there are more engines; and where there are four cores,
    one fewer to write replies."""
    monkeypatch.setattr(machine, "cores", lambda: cores)
    assert machine.prefill_threads(engines) * engines <= max(cores, engines)
    assert 1 <= machine.threads(engines) <= machine.prefill_threads(engines)
    assert machine.threads(engines) * engines <= max(cores - (cores >= 4), engines)


@pytest.mark.parametrize(("threads", "few"), [(0, True), (2, True), (1, False)])
def test_threads_that_have_all_cores_hardly_spin(monkeypatch: pytest.MonkeyPatch, threads: int, few: bool) -> None:
    """Whoever waits for a thread that has no core keeps it from one, so waiting is done asleep."""
    monkeypatch.setattr(machine, "cores", lambda: 2)
    assert (embedded.spins(Launch(model="m", window=512, threads=threads)) < 1000) is few


@contextmanager
def running(folder: Path, **fields: Any) -> Iterator[Callable[..., dict[str, Any]]]:
    """An engine of the default model, as a function that asks it to complete a prompt, greedily."""
    model = model_store.default_model(Path(Settings().cache_dir))
    launch = Launch(model=str(model), parallel=1, threads=1, cache_mb=0, log=str(folder / "log"), **fields)
    process = EngineProcess(launch, print)
    try:
        url = f"http://127.0.0.1:{process.start()}/completion"

        def complete(prompt: str, tokens: int, **more: Any) -> dict[str, Any]:
            asked = {"prompt": prompt, "n_predict": tokens, "temperature": 0, "return_tokens": True, **more}
            request = urllib.request.Request(url, json.dumps(asked).encode(), {"content-type": "application/json"})
            with urllib.request.urlopen(request, timeout=300) as response:
                answer: dict[str, Any] = json.load(response)
                return answer

        yield complete
    finally:
        process.stop()


@pytest.mark.xdist_group("engine")
@pytest.mark.parametrize("kind", cache_size.CACHE_TYPES)
def test_a_cache_of_each_type_answers(kind: cache_size.CacheType, tmp_path: Path) -> None:
    """The engine starts with it, and a prompt has the answer that leaves nothing to chance."""
    with running(tmp_path, window=512, cache_type=kind) as complete:
        assert complete("The capital of France is", 1)["content"].strip() == "Paris"


@pytest.mark.xdist_group("engine")
def test_a_reply_ends_where_its_grammar_lets_it(tmp_path: Path) -> None:
    """The token that the model was trained to end its turn with ends a reply under a grammar, too: at once where text
    is free, and behind what is demanded. (llama.cpp tells llguidance of one such token only, here of another.)"""
    end = 2
    likely = {"logit_bias": [[end, 100]]}
    call = Sequence((Literal("f("), Pattern("[0-9]"), Literal(")")))
    with running(tmp_path, window=512) as complete:
        for node, least in ((Free(("<tool_call>",)), 0), (Free((), then=(("<tool_call>", call),)), 0), (call, 1)):
            grammar = lark.lower(node, lambda text: None, [end])
            told = complete("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n", 9, grammar=grammar, **likely)
            assert (told["stop_type"], told["tokens"][-1]) == ("eos", end)
            assert bool(told["content"]) == bool(least)


LINES = "".join(f"    total_{n} = first_{n} + second_{n}\n" for n in range(12))
ASKED: list[tuple[str, dict[str, Any]]] = [
    (f"def sums():\n{LINES}\n# The same once more.\ndef sums():\n{LINES[:60]}", {}),
    (f"def sums():\n{LINES}\n# The same once more.\ndef sums():\n{LINES[:60]}", {"stop": ["total_5"]}),
    ("Colours: red, red, red, red, ", {"grammar": '%llguidance {}\nstart: ("red, " | "blue, "){1,20}'}),
    ("Once upon a time there was a lighthouse.", {}),
]


@pytest.mark.xdist_group("engine")
def test_guessing_ahead_changes_no_token(tmp_path: Path) -> None:
    """With and without, a greedy reply has the same tokens and the same count of them, where much is guessed and where
    nothing is, up to a stop sequence and under a grammar."""
    told, guessed = [], list[int]()
    draft = str(model_store.default_model(Path(Settings().cache_dir)))
    for speculate in ("off", "ngram", "draft"):
        (tmp_path / speculate).mkdir()
        with running(tmp_path / speculate, window=2048, speculate=speculate, draft_model=draft) as complete:
            answers = [complete(prompt, 120, **more) for prompt, more in ASKED]
        told.append([(each["tokens"], each["content"], each["tokens_predicted"]) for each in answers])
        guessed.append(sum(each["timings"].get("draft_n_accepted", 0) for each in answers))
    assert told[0] == told[1] == told[2]
    assert guessed[0] == 0
    assert min(guessed[1:]) > 0
