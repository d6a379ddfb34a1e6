"""The tables of what was measured: docs/peers.md, and blocks of docs/comparison.md and the README."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from antiphon_check.registry import LEVELS, checks
from bench.peers.results import Measured, Results, load, outcome

ROOT = Path(__file__).parents[2]
_MADE = "<!-- Made by `make peers` from docs/peers.json. -->"
_BEGIN, _END = "<!-- Measured: made by `make peers`. -->", "<!-- The end of what was measured. -->"
_SIGNS = {"passed": "✓", "failed": "✗", "unjudged": "–"}
NOT_RUN = {
    "Ollama": "Its server is not packaged on PyPI, so the statements about it come from reading its source.",
    "SGLang": "`make peers ARGS=sglang` runs it.",
    "LMDeploy": "Its engines need a GPU. `make peers ARGS=lmdeploy` runs its server over a script in their place.",
}
"""Servers of the comparison of which nothing may be measured, and why."""
_IN_README = ("antiphon", "llama.cpp", "vllm", "sglang", "lmdeploy", "litellm")

PROPERTIES: dict[str, tuple[str, ...]] = {
    "Streams as SDKs read them": ("basic.stream_*",),
    "Errors in the API's envelope, of the types that belong to their statuses": (
        "basic.error_envelope",
        "basic.error_type",
        "basic.error_path",
    ),
    "The list of models": ("basic.models_*", "basic.model"),
    "“prompt is too long” in the words that clients look for": ("agent.too_long",),
    "`count_tokens`, tools included": ("agent.count", "agent.count_parts", "agent.count_usage"),
    "`tool_choice` `any` and `tool`: a call that fits the schema": (
        "agent.tool_forced",
        "agent.tool_any",
        "agent.tool_input",
        "agent.tool_nested",
    ),
    "Calls streamed": ("agent.tool_stream",),
    "Histories whose calls and results do not match are refused": ("agent.result_missing", "agent.result_unasked"),
    "A client that leaves frees its place": ("agent.cancel",),
    "Structured output": ("full.structured", "full.structured_stream"),
    "What was read from the cache is told": ("full.cache_read", "full.cache_sum"),
    "Documents of text": ("full.document_*",),
    "Message batches": ("full.batch_*",),
    "Files": ("full.file_*",),
}
"""The rows of the comparison, each with the checks that it sums up."""
_README_ROWS = (*tuple(PROPERTIES)[1:6], "Structured output", "Message batches")


def page(results: Results) -> str:
    """docs/peers.md: how each ran, every outcome, what came where a check failed, and the speeds."""
    servers = list(results.servers.values())
    parts = [
        "# Peers, measured",
        _MADE,
        "What [`antiphon check`](check.md) said of each server, all of them with SmolLM2-135M and a window of 2,048 "
        f"tokens on one machine: {results.machine}. `make peers` does it again. The chat template of this model has no "
        "place for tools: servers that leave tools to the template do not show them to it, and Antiphon puts them into "
        "the system prompt.",
        _table(
            ["server", "version", "measured", "how it ran"],
            [[each.title, each.version, each.date, each.note] for each in servers],
        ),
        "\n\n".join(
            f"{title} was not measured. {why}"
            for title, why in NOT_RUN.items()
            if title not in {each.title for each in servers}
        ),
        *_speeds(servers),
        "## Every check",
        "✓ passed, ✗ failed, – not judged: the server does not offer it, or the model did not do what the check needs.",
    ]
    for level in LEVELS:
        parts += [f"### {level}", _matrix(level, servers)]
    parts.append("## What came instead")
    for each in servers:
        failures = [
            f"- `{id}`: {_plain(found.partition(': ')[2])}"
            for id, found in each.checks.items()
            if outcome(found) == "failed"
        ]
        parts += [f"### {each.title}", "\n".join(failures) or "Nothing failed."]
    return "\n\n".join(parts) + "\n"


def comparison(results: Results, chosen: Sequence[str] = (), rows: Iterable[str] = PROPERTIES) -> str:
    """The table of levels and properties, a column for each server, or for those that are chosen."""
    servers = [each for name, each in results.servers.items() if not chosen or name in chosen]
    lines = [["version", *(each.version for each in servers)]]
    lines += [[f"*{level}*, passed of what was judged", *(_level(each, level) for each in servers)] for level in LEVELS]
    lines += [[row, *(_property(each, PROPERTIES[row]) for each in servers)] for row in rows]
    return _table(["", *(each.title for each in servers)], lines)


def written() -> dict[Path, str]:
    """Every file that is made from the results, with what stands in it then."""
    results = load()
    shown = {ROOT / "docs" / "peers.md": page(results)}
    for file, table in (
        (ROOT / "docs" / "comparison.md", comparison(results)),
        (ROOT / "README.md", comparison(results, _IN_README, _README_ROWS)),
    ):
        before, _, rest = file.read_text("utf-8").partition(_BEGIN)
        shown[file] = f"{before}{_BEGIN}\n\n{table}\n\n{_END}{rest.partition(_END)[2]}"
    return shown


def write() -> None:
    """Write these files."""
    for file, text in written().items():
        file.write_text(text, "utf-8")


def _level(server: Measured, level: str) -> str:
    outcomes = Counter(outcome(found) for id, found in server.checks.items() if id.startswith(f"{level}."))
    return f"{outcomes['passed']} of {outcomes['passed'] + outcomes['failed']}"


def _property(server: Measured, patterns: Sequence[str]) -> str:
    found = [
        outcome(each) for id, each in server.checks.items() if any(fnmatchcase(id, pattern) for pattern in patterns)
    ]
    judged = [each for each in found if each != "unjudged"]
    passed = judged.count("passed")
    if not judged:
        return "not judged"
    if passed in (0, len(judged)):
        return "yes" if passed else "no"
    return f"{passed} of {len(judged)}"


def _matrix(level: str, servers: Sequence[Measured]) -> str:
    rows = []
    for check in checks():
        if check.level == level:
            found = (each.checks.get(check.id) for each in servers)
            signs = ("" if each is None else _SIGNS[outcome(each)] for each in found)
            rows.append([f"[{check.id.partition('.')[2]}]({check.page.removeprefix('docs/')})", *signs])
    return _table(["", *(each.title for each in servers)], rows)


def _speeds(servers: Sequence[Measured]) -> list[str]:
    timed = [(each.title, each.speed) for each in servers if each.speed]
    if not timed:
        return []
    rows = [
        [title, str(load.streams), f"{load.first:.2f}", f"{load.rate:.1f}", f"{load.gap:.0f}"]
        for title, speed in timed
        for load in speed.loads
    ]
    streams = _table(["server", "streams", "first token, s", "tokens a second, all", "gap p99, ms"], rows)
    turns = _table(
        ["server", "first token of turn 1, s", "of the last turn, s", "its prompt", "of it from the cache"],
        [
            [
                title,
                f"{speed.turns[0].first:.2f}",
                f"{speed.turns[-1].first:.2f}",
                str(speed.turns[-1].prompt),
                "not told" if speed.turns[-1].cached is None else str(speed.turns[-1].cached),
            ]
            for title, speed in timed
        ],
    )
    return [
        "## Speed",
        "The servers run different engines, on different weights and threads (the notes above say which): compare each "
        "with those of its own engine.",
        streams,
        "A conversation that grows by a turn, behind a system prompt that is new to the server:",
        turns,
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Text of a server, as a line of Markdown that shows it as it is."""
    return "`` " + " ".join(text.replace("``", "` `").split()) + " ``"


if __name__ == "__main__":
    write()
