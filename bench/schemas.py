"""How real schemas are held: `make schemas DATA=folder`, over the schemas and instances of MaskBench.

It takes about half an hour of a processor. With `--keep FILE` and `--seconds N` several runs make one. With `--xgrammar
PYTHON`, one that has xgrammar, that is asked as well.

DATA is the folder `maskbench/data` of github.com/guidance-ai/jsonschemabench. Objects are not closed here, so that it
is the schema itself that is judged. Members are written in the order of the schema, the only one that grammars know;
others are asked for the instance as it is, too, and may allow either.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import re
import subprocess
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import llguidance
import xllamacpp

from antiphon.api.errors import BadRequest
from antiphon.constraint import Json, compiler, lark
from antiphon.constraint.check import violation
from antiphon.constraint.schema import Lowered, lower
from antiphon.process.app import spare_the_lasting
from bench.kept import Kept
from tests.constraint.matching import BYTES, ordered

_COLUMNS = (
    ("schemas", "schemas"),
    ("exact", "held exactly"),
    ("part", "in part"),
    ("refused", "no value can match"),
    ("valid", "valid instances allowed"),
    ("invalid", "invalid ones caught, by the grammar"),
    ("llguidance", "llguidance as it comes takes, allows, catches"),
    ("xgrammar", "xgrammar takes, allows, catches"),
    ("llama.cpp", "llama.cpp's converter takes"),
)


class Judgement(NamedTuple):
    """What becomes of one schema and its instances: counts, processor time in seconds, memory in bytes, and what is
    worth telling."""

    counts: dict[str, int]
    seconds: float
    memory: int
    note: str


def judged(path: Path) -> Judgement:
    """What becomes of one schema and its instances."""
    found = json.loads(path.read_text("utf-8"))
    schema, tests = found["schema"], found["tests"]
    told = Counter(schemas=1)
    valid = [test["data"] for test in tests if test["valid"]]
    invalid = [test["data"] for test in tests if not test["valid"]]
    told["valid of"], told["invalid of"] = len(valid), len(invalid)
    before, start = _memory(), time.process_time()
    try:
        lowered, grammar = _compiled(schema)
    except BadRequest as refused:
        told["refused"] = 1
        told["valid of"] -= len(valid)
        _beside(schema, [], [], told)
        return Judgement(told, time.process_time() - start, _peak() - before, refused.message if valid else "")
    seconds, memory = time.process_time() - start, _peak() - before
    orders = [[{_json(each), _json(ordered(each, lowered.schema))} for each in values] for values in (valid, invalid)]
    _beside(schema, orders[0], orders[1], told)
    matcher = _matcher(grammar.removeprefix("%llguidance {}"))
    told["part" if lowered.unheld else "exact"] = 1
    note = matcher.get_error()[:100]
    right, wrong = ([_json(ordered(each, lowered.schema)) for each in values] for values in (valid, invalid))
    for text in (*right, *wrong):
        if _builds_differ(grammar, matcher, text):
            told["apart"] += 1
            note = f"the embedded engine's build judges otherwise of {text[:100]}"
    for text in right:
        if _allows(matcher, text):
            told["valid"] += 1
        else:
            note = f"refused {text[:100]}"
    for text in wrong:
        held = not _allows(matcher, text)
        told["invalid by grammar"] += held
        told["invalid"] += held or bool(violation(schema, text))
        note = note if held or lowered.unheld else f"exact, and allowed {text[:100]}"
    return Judgement(told, seconds, memory, note)


def _compiled(schema: Any) -> tuple[Lowered, str]:
    """What is held of a schema, and a grammar that compiles."""
    for alone in (False, True):
        lowered = lower(schema, "llguidance", closing=False, compiled=alone)
        grammar = lark.lower(Json(lowered.schema), lambda text: None)
        if not lark.problem(grammar):
            break
    return lowered, grammar


def _memory() -> int:
    """The memory of this process in bytes, from which on its peak is measured anew."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) << 10


def _beside(schema: Any, valid: list[set[str]], invalid: list[set[str]], told: Counter[str]) -> None:
    """The same schema with others. Each instance is given in the orders of its members."""
    instances = [sorted(texts) for texts in (*valid, *invalid)]
    others = {"llguidance": _allowed_by_llguidance(schema, instances)}
    if _xgrammar:
        question, answer = _xgrammar[0].stdin, _xgrammar[0].stdout
        assert question is not None
        assert answer is not None
        question.write(json.dumps([schema, instances]) + "\n")
        question.flush()
        others["xgrammar"] = json.loads(answer.readline())
    for name, allowed in others.items():
        if allowed is not None:
            told[name] = 1
            told[f"{name} valid"] = sum(allowed[: len(valid)])
            told[f"{name} invalid"] = len(invalid) - sum(allowed[len(valid) :])
    try:
        xllamacpp.json_schema_to_grammar(json.dumps(schema))
    except Exception:  # whatever native code raises
        return
    told["llama.cpp"] = 1


def _allowed_by_llguidance(schema: Any, instances: list[list[str]]) -> list[bool] | None:
    guided = {"x-guidance": {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}}
    matcher = _matcher(f"start: %json {json.dumps({**guided, **schema})}")
    if matcher.is_error():
        return None
    return [any(_allows(matcher, text) for text in texts) for texts in instances]


_xgrammar: list[subprocess.Popen[str]] = []
"""The program that is asked, of this process, if there is one."""


def _start(python: Path | None) -> None:
    spare_the_lasting()
    if python:
        command = [str(python), str(Path(__file__).with_name("xgrammar_schemas.py"))]
        _xgrammar.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))


def _matcher(grammar: str) -> llguidance.LLMatcher:
    return llguidance.LLMatcher(BYTES, llguidance.grammar_from("lark", grammar), log_level=0)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _allows(matcher: llguidance.LLMatcher, text: str) -> bool:
    written = list(text.encode())
    whole = matcher.try_consume_tokens(written) == len(written) and matcher.is_accepting()
    matcher.reset()
    return bool(whole)


def _builds_differ(grammar: str, matcher: llguidance.LLMatcher, text: str) -> bool:
    """Whether the text begins what one of the two builds of llguidance allows, and not what the other does."""
    library, written = compiler.embedded(), text.encode()
    assert library is not None
    begun = matcher.try_consume_tokens(list(written)) == len(written)
    matcher.reset()
    return begun is bool(library.step("lark", grammar, written)[0])


def set_of(path: Path) -> str:
    """The data set that a schema is of."""
    return re.split(r"---|_(?:java|simple|multiple|parallel|sql|javascript)|_\d", path.stem)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=1, help="only every so manieth schema")
    parser.add_argument("--write", type=Path, help="the page that has the table")
    parser.add_argument("--keep", type=Path, help="the file for what is found of each")
    parser.add_argument("--seconds", type=float, default=0, help="how long to begin with more (0: to the end)")
    parser.add_argument("--xgrammar", type=Path, help="a Python that has xgrammar, which is asked as well")
    options = parser.parse_args()
    files = sorted(path for path in options.data.glob("*.json") if path.is_file())
    paths = {path.name: path for path in files[:: options.every]}
    kept = Kept(options.keep, options.seconds)
    due = kept.due(paths)
    with multiprocessing.Pool(os.cpu_count(), _start, [options.xgrammar]) as pool:
        while names := list(itertools.islice(due, _ONCE)):
            found = pool.map(judged, [paths[name] for name in names], chunksize=8)
            for name, judgement in zip(names, found, strict=True):
                kept.add(name, judgement)
                if judgement.note:
                    print(f"{name}: {judgement.note}")
    table = _table({paths[name]: Judgement(*kept.results[name]) for name in paths if name in kept.results}, len(files))
    print(table)
    if options.write:
        before, _, rest = options.write.read_text("utf-8").partition(_BEGIN)
        options.write.write_text(f"{before}{_BEGIN}\n{table}\n{_END}{rest.partition(_END)[2]}", "utf-8")


_BEGIN, _END = "<!-- The table: made by `make schemas DATA=folder`. -->", "<!-- The end of the table. -->"
_ONCE = 128
"""Schemas that are given out together, to all processors."""


def _table(judgements: dict[Path, Judgement], of: int) -> str:
    sets: dict[str, Counter[str]] = defaultdict(Counter)
    for path, judgement in judgements.items():
        for name in (set_of(path), "all"):
            sets[name].update(judgement.counts)
    seconds = sorted(each.seconds for each in judgements.values())
    memory = max(each.memory for each in judgements.values()) >> 20

    def share(told: Counter[str], key: str) -> str:
        parts: tuple[tuple[str, str], ...]
        match key:
            case "schemas":
                return f"{told[key]:,}"
            case "valid":
                parts = ((key, "valid of"),)
            case "invalid":
                parts = ((key, "invalid of"), ("invalid by grammar", "invalid of"))
            case "llguidance" | "xgrammar":
                parts = ((key, "schemas"), (f"{key} valid", "valid of"), (f"{key} invalid", "invalid of"))
            case _:
                parts = ((key, "schemas"),)
        return ", ".join(_part(told[part], told[of]) for part, of in parts)

    rows = [
        f"| {name} | " + " | ".join(share(told, key) for key, _ in _COLUMNS) + " |"
        for name, told in sorted(sets.items())
    ]
    at = {name: 1000 * seconds[min(int(len(seconds) * part), len(seconds) - 1)] for name, part in _QUANTILES}
    chosen = "All of them" if len(judgements) == of else f"{len(judgements):,} of {of:,}"
    return "\n".join(
        [
            "",
            f"{chosen}, by data set.",
            "",
            "| | " + " | ".join(title for _, title in _COLUMNS) + " |",
            "|---|" + "---|" * len(_COLUMNS),
            *rows,
            "",
            "Processor time for a schema, from the client's JSON to a grammar that was compiled once: "
            + ", ".join(f"{name} {value:.1f} ms" for name, value in at.items())
            + f". The most memory that one took: {memory} MB. Of all instances the package's llguidance and the one in "
            + f"the embedded engine judge {sets['all']['apart']:,} otherwise.",
            "",
        ]
    )


_QUANTILES = (("median", 0.5), ("p90", 0.9), ("p99", 0.99), ("slowest", 1.0))


def _part(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %" if of else "–"


if __name__ == "__main__":
    main()
