"""What a team relies on, under load and through kills: models on demand, keys, usage. Some five minutes.

python -m bench.team [--only on_demand keys used] [--write docs/team.md]
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from pathlib import Path

from bench import keys, on_demand, used
from bench.measuring import Row, machine

PARTS = {
    "on_demand": ("Three models in the memory for two, asked for at random", on_demand.measured),
    "keys": ("Keys that are added and revoked under load", keys.measured),
    "used": ("Usage, while workers and servers are killed", used.measured),
}


def section(part: str, rows: list[Row]) -> str:
    """The table of a part, between the marks that the page has for it."""
    begin, end = marks(part)
    table = "".join(f"| {row.what} | {row.figure} | {row.target} | {row.verdict} |\n" for row in rows)
    head = f"{PARTS[part][0]} (`python -m bench.{part}`; {machine()}, {datetime.date.today()}):"
    return f"{begin}{head}\n\n| | figure | target | |\n|---|---|---|---|\n{table}{end}"


def marks(part: str) -> tuple[str, str]:
    """What stands before and behind the table of a part."""
    return f"<!-- Measured by `make team`: {part}. -->\n", f"<!-- The end of {part}. -->\n"


def written(page: str, part: str, rows: list[Row]) -> str:
    """The page with a new table of a part."""
    begin, end = marks(part)
    before, _, rest = page.partition(begin)
    return before + section(part, rows) + rest.partition(end)[2]


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    failed = False
    for part in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            rows = PARTS[part][1](Path(folder))
        print("\n".join(row.told for row in rows), flush=True)
        failed = failed or any(row.good is False for row in rows)
        if arguments.write:
            arguments.write.write_text(written(arguments.write.read_text("utf-8"), part, rows), "utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
