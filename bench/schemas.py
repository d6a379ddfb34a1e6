"""How real schemas are held: `make schemas DATA=folder`, over the schemas and instances of MaskBench.

DATA is the folder `maskbench/data` of github.com/guidance-ai/jsonschemabench. Objects are not closed here, so that it
is the schema itself that is judged; members are written in the order of the schema, the only one that grammars know.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import llguidance
import xllamacpp

from antiphon.api.errors import BadRequest
from antiphon.constraint import Json, lark
from antiphon.constraint.check import violation
from antiphon.constraint.schema import lower
from tests.constraint.matching import BYTES, ordered

_COLUMNS = (
    ("schemas", "schemas"),
    ("exact", "held exactly"),
    ("part", "in part"),
    ("refused", "no value can match"),
    ("valid", "valid instances allowed"),
    ("invalid", "invalid ones caught, by the grammar"),
    ("plain", "llguidance as it comes"),
    ("plain valid", "valid instances it allows"),
    ("llama.cpp", "llama.cpp's converter takes"),
)


def judged(path: Path) -> tuple[str, Counter[str], float, str]:
    """What becomes of one schema and its instances: the set that it is of, counts, seconds, what is worth telling."""
    found = json.loads(path.read_text("utf-8"))
    schema, tests = found["schema"], found["tests"]
    told = Counter(schemas=1)
    valid = [test["data"] for test in tests if test["valid"]]
    invalid = [test["data"] for test in tests if not test["valid"]]
    told["valid of"], told["invalid of"] = len(valid), len(invalid)
    _beside(schema, valid, told)
    start = time.process_time()
    try:
        lowered = lower(schema, "llguidance", closing=False)
    except BadRequest as refused:
        told["refused"] = 1
        told["valid of"] -= len(valid)
        return set_of(path), told, time.process_time() - start, refused.message if valid else ""
    grammar = lark.lower(Json(lowered.schema), lambda text: None)
    seconds = time.process_time() - start
    matcher = _matcher(grammar.removeprefix("%llguidance {}"))
    told["part" if lowered.unheld else "exact"] = 1
    note = matcher.get_error()[:100]
    for value in valid:
        if _allows(matcher, json.dumps(ordered(value, lowered.schema), ensure_ascii=False)):
            told["valid"] += 1
        else:
            note = f"refused {json.dumps(value)[:100]}"
    for value in invalid:
        text = json.dumps(ordered(value, lowered.schema), ensure_ascii=False)
        held = not _allows(matcher, text)
        told["invalid by grammar"] += held
        told["invalid"] += held or bool(violation(schema, text))
        note = note if held or lowered.unheld else f"exact, and allowed {text[:100]}"
    return set_of(path), told, seconds, note


def _beside(schema: Any, valid: list[Any], told: Counter[str]) -> None:
    """The same schema with others."""
    guided = {"x-guidance": {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}}
    matcher = _matcher(f"start: %json {json.dumps({**guided, **schema})}")
    told["plain"] = not matcher.is_error()
    if not matcher.is_error():
        told["plain valid"] = sum(_allows(matcher, json.dumps(value, ensure_ascii=False)) for value in valid)
    try:
        xllamacpp.json_schema_to_grammar(json.dumps(schema))
    except Exception:  # whatever native code raises
        return
    told["llama.cpp"] = 1


def _matcher(grammar: str) -> llguidance.LLMatcher:
    return llguidance.LLMatcher(BYTES, llguidance.grammar_from("lark", grammar), log_level=0)


def _allows(matcher: llguidance.LLMatcher, text: str) -> bool:
    written = list(text.encode())
    whole = matcher.try_consume_tokens(written) == len(written) and matcher.is_accepting()
    matcher.reset()
    return bool(whole)


def set_of(path: Path) -> str:
    """The data set that a schema is of."""
    return re.split(r"---|_(?:java|simple|multiple|parallel|sql|javascript)|_\d", path.stem)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=1, help="only every so manieth schema")
    parser.add_argument("--write", type=Path, help="the page for the table")
    options = parser.parse_args()
    paths = sorted(path for path in options.data.glob("*.json") if path.is_file())[:: options.every]
    sets: dict[str, Counter[str]] = defaultdict(Counter)
    seconds: list[float] = []
    with multiprocessing.Pool(os.cpu_count()) as pool:
        for path, (name, told, took, note) in zip(paths, pool.imap(judged, paths, chunksize=8), strict=True):
            sets[name] += told
            sets["all"] += told
            seconds.append(took)
            if note:
                print(f"{path.name}: {note}")
    page = _page(sets, sorted(seconds), options.every)
    print(page)
    if options.write:
        options.write.write_text(page, "utf-8")


def _page(sets: dict[str, Counter[str]], seconds: list[float], every: int) -> str:
    def share(told: Counter[str], key: str) -> str:
        if key == "schemas":
            return f"{told[key]:,}"
        if key == "invalid":
            return f"{_part(told[key], told['invalid of'])}, {_part(told['invalid by grammar'], told['invalid of'])}"
        of = {"valid": "valid of", "plain valid": "valid of"}.get(key, "schemas")
        return _part(told[key], told[of])

    rows = [f"| {name} | " + " | ".join(share(told, key) for key, _ in _COLUMNS) + " |" for name, told in sets.items()]
    at = {name: 1000 * seconds[min(int(len(seconds) * part), len(seconds) - 1)] for name, part in _QUANTILES}
    chosen = "All of them" if every == 1 else f"Every {every}th of them"
    return "\n".join(
        [
            "# Schemas as they are met",
            "",
            "<!-- Made by `make schemas DATA=folder`. -->",
            "",
            "The schemas and instances of [MaskBench](https://github.com/guidance-ai/jsonschemabench), by data set."
            f" {chosen} were judged. What a grammar cannot hold of a schema is left out keyword by keyword and checked"
            " in the reply; what no value can match is refused. llguidance as it comes, and llama.cpp's converter, take"
            " a schema or leave it.",
            "",
            "| | " + " | ".join(title for _, title in _COLUMNS) + " |",
            "|---|" + "---|" * len(_COLUMNS),
            *rows,
            "",
            "Processor time for a schema, from the client's JSON to a grammar that was compiled once: "
            + ", ".join(f"{name} {value:.1f} ms" for name, value in at.items())
            + ". The same schema costs nothing the second time.",
            "",
        ]
    )


_QUANTILES = (("median", 0.5), ("p90", 0.9), ("p99", 0.99), ("slowest", 1.0))


def _part(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %" if of else "–"


if __name__ == "__main__":
    main()
