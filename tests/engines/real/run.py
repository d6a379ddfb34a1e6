"""`make engines-real`: the suite against real servers, one engine after the other, or those that are named."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.end_to_end.conftest import free_port
from tests.engines.real import environments

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
_PATIENCE = 600.0


class Real(NamedTuple):
    """How a real server is started: its command, from the interpreter, the model's folder and a port, and what it finds
    in its environment. It computes in `dtype`, is attached at `target`, and held to these `tests`."""

    command: Callable[[Path, Path, int], list[str]]
    environment: dict[str, str]
    target: str
    tests: tuple[str, ...] = ("tests/engines/test_contract.py", "tests/engines/real")
    dtype: str = "bfloat16"


def _vllm(python: Path, model: Path, port: int, *more: str, dtype: str = "bfloat16") -> list[str]:
    flags = (
        f"--dtype {dtype} --enforce-eager --max-num-seqs 2 --enable-prompt-tokens-details "
        "--enable-auto-tool-choice --tool-call-parser hermes "
        # Else a small model that its chat route holds to JSON writes blanks to the end.
        "--structured-outputs-config.backend xgrammar --structured-outputs-config.disable_any_whitespace true"
    )
    return [
        str(python.parent / "vllm"),
        *("serve", str(model), "--served-model-name", "smol", "--host", "127.0.0.1", "--port", str(port)),
        *flags.split(),
        *more,
    ]


def _vllm_that_reads_thinking(python: Path, model: Path, port: int) -> list[str]:
    template = ROOT / "tests" / "templates" / "qwen3_coder.jinja"
    return _vllm(python, model, port, "--reasoning-parser", "qwen3", "--chat-template", str(template))


def _sglang(python: Path, model: Path, port: int) -> list[str]:
    flags = (
        "--device cpu --attention-backend torch_native --sampling-backend pytorch --disable-overlap-schedule "
        "--grammar-backend xgrammar --max-total-tokens 16384 --max-running-requests 2 --served-model-name smol"
    )
    place = ("--model-path", str(model), "--host", "127.0.0.1", "--port", str(port))
    return [str(python), str(HERE / "sglang_server.py"), *place, *flags.split()]


def _lmdeploy(python: Path, model: Path, port: int) -> list[str]:
    return [str(python), str(HERE / "lmdeploy_server.py"), str(model), str(port)]


_VLLM = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_SERVER_DEV_MODE": "1"}
# More threads than one are slow on cores that others use too.
_SGLANG = {"OMP_NUM_THREADS": "1", "SGLANG_CPU_OMP_THREADS_BIND": "0"}

ENGINES = {
    "vllm": Real(_vllm, _VLLM, "vllm+{url}"),
    "vllm-float32": Real(
        partial(_vllm, dtype="float32"), _VLLM, "vllm+{url}", ("tests/engines/real/test_forward.py",), "float32"
    ),
    "vllm-thinking": Real(
        _vllm_that_reads_thinking, _VLLM, "openai+{url}/v1", ("tests/engines/real/test_chat_thinking.py",)
    ),
    "sglang": Real(_sglang, _SGLANG, "sglang+{url}"),
    "lmdeploy": Real(_lmdeploy, {}, "lmdeploy+{url}"),
}


@contextmanager
def running(name: str, log: Path, real: Real | None = None) -> Iterator[tuple[str, Path]]:
    """The address of a real server and the folder of its model; `real` is how else to start it. It is gone afterwards,
    with all that it started."""
    real, python, port = real or ENGINES[name], environments.python(name.partition("-")[0]), free_port()
    model = environments.model(python)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **real.environment}
    with log.open("wb") as out:
        server = subprocess.Popen(
            real.command(python, model, port), env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        _wait(server, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}", model
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _wait(server: subprocess.Popen[bytes], health: str, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(health, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"the server did not come up:\n{log.read_text(errors='replace')[-4000:]}")


def held(name: str, log: Path, arguments: list[str]) -> bool:
    """Start the server, hold it to its tests, stop it. Says whether all went well."""
    with running(name, log) as (url, model):
        real = ENGINES[name]
        target = {
            "ANTIPHON_REAL_ENGINE": real.target.format(url=url),
            "ANTIPHON_REAL_TOKENIZER": str(model),
            "ANTIPHON_REAL_DTYPE": real.dtype,
        }
        command = [sys.executable, "-m", "pytest", "-n", "0", *(arguments or real.tests)]
        print(f"{name} at {url}", flush=True)
        return subprocess.run(command, cwd=ROOT, env={**os.environ, **target}, check=False).returncode == 0


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENGINES)}; none: all")
    parser.add_argument("--log", type=Path, help="a folder to keep the servers' output in; none: it is not kept")
    parser.add_argument("--pytest", default="", metavar="ARGUMENTS", help="for pytest, in place of all tests")
    given = parser.parse_args()
    names = given.names or list(ENGINES)
    if unknown := set(names) - set(ENGINES):
        parser.error(f"not known: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    with tempfile.TemporaryDirectory() as fresh:
        logs = given.log or Path(fresh)
        logs.mkdir(parents=True, exist_ok=True)
        good = {name: held(name, logs / f"{name}.log", shlex.split(given.pytest)) for name in names}
    print("\n".join(f"{name}: {'good' if fine else 'FAILED'}" for name, fine in good.items()))
    return 0 if all(good.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
