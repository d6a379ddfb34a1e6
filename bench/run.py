"""Compares the cost of the surface with its peers, side by side in one run: `python -m bench.run [--only PART …]`.

Prints a table, and with `--write FILE` writes it as a page. Figures are ratios to a peer of the same run wherever there
is one: the machine's own speed says nothing. Parts: `relay`, `streams`, `bursts`, `scored` (tokens with their
log-probabilities), `length` and `litellm`, over a paced upstream; `large` (large requests beside paced streams),
`engine` (llama.cpp), `start`; `vllm`, with `--vllm`; and, only where it is named, `prefill` (long prompts beside
llama.cpp with its own defaults; an hour).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from bench import beside, large, paced, prefill, servers
from bench.measuring import Row, machine
from tests.faults.processes import memory, workers


def start(folder: Path) -> list[Row]:
    """How soon it is there, and how large."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "antiphon", "--help"], stdout=subprocess.DEVNULL, check=True)
    helped = time.perf_counter() - began
    began = time.perf_counter()
    with servers.antiphon(folder, "") as ours:
        ready = time.perf_counter() - began
        (worker,) = workers(ours.process.pid)
        size = memory(worker) / 1e6
    return [
        Row("`antiphon --help`", f"{helped:.2f} s", "< 0.3 s", helped < 0.3),
        Row("ready with the cached default model", f"{ready:.1f} s", "≤ 3 s", ready <= 3),
        Row("memory of a worker", f"{size:.0f} MB", "< 120 MB", size < 120),
    ]


def page(rows: list[Row]) -> str:
    """The table, with the machine that it was made on."""
    head = (
        "# Benchmarks\n\n<!-- Made by `make bench`. -->\n\n"
        "What the surface costs beside the engine. Everything runs on loopback on one machine; peers are measured in\n"
        "the same run, in turns, and the table gives medians.\n\n"
        f"{machine()}, Granian {version('granian')}, aiohttp {version('aiohttp')}, xllamacpp {version('xllamacpp')}, "
        f"{time.strftime('%Y-%m-%d')}.\n\n"
        "| | figure | target | |\n|---|---|---|---|\n"
    )
    table = "".join(f"| {row.what} | {row.figure} | {row.target} | {row.verdict} |\n" for row in rows)
    notes = dict.fromkeys(f"- {row.why}\n" for row in rows if row.good is False and row.why)
    return head + table + ("\nWhere a target is missed:\n\n" if notes else "") + "".join(notes)


PARTS = ("relay", "streams", "bursts", "scored", "length", "litellm", "large", "engine", "prefill", "vllm", "start")
UNASKED = tuple(part for part in PARTS if part not in ("vllm", "prefill"))
"""What takes gigabytes of packages or an hour is measured only where it is asked for."""


def measured(folder: Path, parts: set[str]) -> list[Row]:
    """The rows of these parts."""
    rows = paced.measured(folder, parts) if parts & paced.PARTS else []
    one_by_one = {
        "large": large.measured,
        "engine": beside.llama_cpp,
        "prefill": prefill.measured,
        "vllm": beside.vllm,
        "start": start,
    }
    for part, measure in one_by_one.items():
        rows += measure(folder) if part in parts else []
    return rows


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=UNASKED)
    parser.add_argument("--vllm", action="store_true", help="the part `vllm` too")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    parts = {*arguments.only, *["vllm"] * arguments.vllm}
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(Path(folder), parts)
    for row in rows:
        print(row.told)
    if arguments.write:
        arguments.write.write_text(page(rows), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
