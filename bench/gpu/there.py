"""What runs beside the GPU: `python -m bench.gpu.there FOLDER`, in some eight minutes.

Each step is recorded in FOLDER/report.json as it ends, so that what came is there even if the time runs out; a step
that fails does not keep the next from being tried. The numbers are also drawn, as FOLDER/speed.png.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from antiphon_check import runner
from antiphon_check.registry import LEVELS, checks
from antiphon_check.server import Target
from bench import servers
from bench.beside import spoken
from bench.gpu import chart
from tests.end_to_end.conftest import free_port

ROOT = Path(__file__).parents[2]
STREAMS = (1, 16, 64, 256)
SCRIPTED = (1, 4)
"""Without a GPU: the script answers two requests at once."""
ROUNDS = 3
_MODEL = "smol"
_SERVER = ROOT / "tests" / "engines" / "real" / "lmdeploy_server.py"
"""`lmdeploy serve api_server --backend pytorch`, and a route that the contract asks how many requests are at work."""
_UP, _SILENT, _CONTRACT = 300.0, 20.0, 120
"""Seconds for LMDeploy to come up, for a server to be silent, and for the contract's tests."""
_PAGE = "internlm-chat-7b"
_TOOL = {
    "name": "search",
    "description": "Search docs",
    "input_schema": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
}
_TURNS = {"messages": [{"role": "user", "content": "Hello from Anthropic client"}]}
EXAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "message": ("/v1/messages", {"max_tokens": 128, **_TURNS}),
    "tools": ("/v1/messages", {"max_tokens": 128, **_TURNS, "tools": [_TOOL], "tool_choice": {"type": "auto"}}),
    "count": ("/v1/messages/count_tokens", {"system": "You are a helpful assistant.", **_TURNS}),
}
"""The requests of LMDeploy's page."""


class Report:
    """What came of each step, written as it grows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: dict[str, Any] = {}
        self.failed: list[str] = []

    def add(self, name: str, step: Callable[[], Any]) -> Any:
        """Run a step, and keep what it gives or how it failed, and its seconds."""
        print(f"== {name}", flush=True)
        begun = time.monotonic()
        try:
            value = step()
        except Exception as trouble:
            value = f"{type(trouble).__name__}: {trouble}"
            self.failed.append(name)
        self.steps[name] = {"seconds": round(time.monotonic() - begun, 1), "result": value}
        whole = json.dumps({"failed": self.failed, **self.steps}, indent=1, ensure_ascii=False)
        (self.folder / "report.json").write_text(whole, "utf-8")
        print(json.dumps(self.steps[name], ensure_ascii=False)[:2000], flush=True)
        return value


@contextmanager
def lmdeploy(model: Path, log: Path, *, scripted: bool) -> Iterator[str]:
    """LMDeploy's server with its PyTorch engine, or with a script in the place of the engine. Raises RuntimeError."""
    port = free_port()
    command = [sys.executable, str(_SERVER), str(model), str(port)]
    if not scripted:
        command += ["--requests", str(max(STREAMS))]
    with servers.started(command, port, "/health", log, patience=_UP, HF_HUB_OFFLINE="1") as it:
        yield it.url


def machine() -> dict[str, str]:
    """The GPU and the versions."""
    import torch
    import transformers
    import triton

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "gpu": gpu,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "transformers": transformers.__version__,
    }


def examples(url: str, model: str) -> dict[str, Any]:
    """What each request of the page is answered with."""
    return {name: _post(url + path, {"model": model, **body}) for name, (path, body) in EXAMPLES.items()}


def _post(url: str, body: dict[str, Any]) -> Any:
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def checked(url: str, model: str, window: int) -> dict[str, Any]:
    """`antiphon check`: how many passed by level, and what came instead where one did not."""
    results = runner.run(Target(url, model, seconds=_SILENT, window=window), checks())
    levels = {
        level: dict(Counter(result.outcome for result in results if result.check.level == level)) for level in LEVELS
    }
    return {**levels, "failures": {result.check.id: result.why for result in results if result.outcome == "failed"}}


def contract(url: str, model: Path) -> str:
    """The contract of engines, held to this server: the end of what pytest says. Raises RuntimeError where it fails."""
    target = {"ANTIPHON_REAL_ENGINE": f"lmdeploy+{url}", "ANTIPHON_REAL_TOKENIZER": str(model)}
    command = [sys.executable, "-m", "pytest", "-o", "filterwarnings=default", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*command, "tests/engines/test_contract.py"],
        cwd=ROOT,
        env={**os.environ, **target},
        capture_output=True,
        text=True,
        timeout=_CONTRACT,
        check=False,
    )
    said = ran.stdout[-1500:] + ran.stderr[-500:]
    if ran.returncode:
        raise RuntimeError(said)
    return said


def speeds(places: dict[str, tuple[str, str]], numbers: tuple[int, ...]) -> dict[str, dict[int, dict[str, float]]]:
    """Tokens a second and seconds to the first token, at each of these numbers of streams, by server: medians of rounds
    in which they take turns. `places` has the address and the model's name of each."""
    found: dict[str, dict[int, dict[str, float]]] = {name: {} for name in places}
    for url, model in places.values():
        asyncio.run(spoken(f"{url}/v1/messages", max(numbers), model))
    for streams in numbers:
        rounds = [
            {name: asyncio.run(spoken(f"{url}/v1/messages", streams, model)) for name, (url, model) in places.items()}
            for _ in range(ROUNDS)
        ]
        for name in places:
            rate, first = (statistics.median(each[name][at] for each in rounds) for at in (0, 1))
            found[name][streams] = {"tokens a second": round(rate, 1), "first token": round(first, 3)}
    return found


def beside(report: Report, work: Path, *, scripted: bool) -> None:
    """All steps: make the model, start both servers, ask them. What they print is left in `work`. Raises RuntimeError
    where a server does not start."""
    model = work / "model"
    make = [sys.executable, "-m", "bench.gpu.weights", str(ROOT / ".gpu" / "model"), str(model)]
    report.add("weights", lambda: subprocess.run(make, check=True).returncode)
    with (
        lmdeploy(model, work / "lmdeploy.log", scripted=scripted) as theirs,
        servers.antiphon(work, f"lmdeploy+{theirs}", "--tokenizer", str(model), "--served-model-name", _PAGE) as ours,
    ):
        report.add("page", lambda: examples(ours.url, _PAGE))
        report.add("check of Antiphon", lambda: checked(ours.url, _PAGE, 0))
        report.add("contract", lambda: contract(theirs, model))
        both = {"Antiphon": (ours.url, _PAGE), "LMDeploy": (theirs, _MODEL)}
        found = report.add("speed", lambda: speeds(both, SCRIPTED if scripted else STREAMS))
        report.add("picture", lambda: chart.draw(found, report.folder / "speed.png"))
        report.add("check of LMDeploy", lambda: checked(theirs, _MODEL, 2048))


def main() -> int:
    """The command: 0 when no step failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="where the report goes")
    parser.add_argument("--scripted", action="store_true", help="try it without a GPU")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    report = Report(given.folder.resolve())
    report.add("machine", machine)
    with tempfile.TemporaryDirectory() as fresh:
        try:
            beside(report, Path(fresh), scripted=given.scripted)
        finally:
            for log in Path(fresh).glob("*.log"):
                shutil.copy(log, given.folder)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
