"""How long a conversation waits after a restart of the server, and after a death of its engine.

    python -m bench.restart [MODEL.gguf] [--tokens 4000]

The same long prompt, cold, again, after a restart, and after the engine was killed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import statistics
import tempfile
import time
from pathlib import Path

from bench import servers
from bench.measuring import Row
from bench.prefill import first_token, prompt
from tests.faults.processes import engines

ROUNDS = 3


def measured(folder: Path, model: str = "", tokens: int = 4000) -> list[Row]:
    """The rows."""
    settings, rng = ("--context-length", "8192", "--parallel", "2"), random.Random(5)
    cold, warm, restarted, killed = (list[float]() for _ in range(4))
    for _ in range(ROUNDS):
        text = prompt(tokens, rng)
        with servers.antiphon(folder, model, *settings) as ours:
            cold.append(_took(ours.url, text))
            warm.append(_took(ours.url, text))
        with servers.antiphon(folder, model, *settings) as ours:
            restarted.append(_took(ours.url, text))
            # What is read back is on disk already.
            os.kill(engines(ours.process.pid)[0], signal.SIGKILL)
            time.sleep(1)
            _took(ours.url, "Are you there?")
            killed.append(_took(ours.url, text))
    once, again = statistics.median(cold), statistics.median(warm)
    rows = [Row(f"first token of {tokens} tokens, cold", f"{once:.2f} s"), Row("the same again", f"{again:.2f} s")]
    for what, took in (("after a restart", restarted), ("after the engine was killed", killed)):
        found = statistics.median(took)
        good = found <= 1.5 * again and found <= 0.05 * once
        figure = f"{found:.2f} s, {found / again:.2f}× warm, {found / once:.3f}× cold"
        rows.append(Row(what, figure, "≤ 1.5× warm and ≤ 0.05× cold", good))
    return rows


def _took(url: str, text: str) -> float:
    return asyncio.run(first_token(url, [text]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="")
    parser.add_argument("--tokens", type=int, default=4000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for row in measured(Path(place), arguments.model, arguments.tokens):
            print(
                f"{row.what}: {row.figure}  {row.target}  {'' if row.good is None else 'met' if row.good else 'MISSED'}"
            )
