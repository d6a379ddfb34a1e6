"""A long conversation in the console: how evenly it scrolls in a real Chromium.

    python -m bench.console [--turns 200] [--seconds 8]

The page scrolls up and down through turns of prose, lists and code, a little with each frame that the browser draws;
the time between two frames is what people see. Without a screen the browser draws up to sixty of them a second.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from bench.measuring import Row
from tests.console.conftest import SCRIPT, launched, ready, watched
from tests.console.test_page import taken_up
from tests.end_to_end.conftest import serving

_TURN = """Turn {number}. Some words about it, as models write them.

- one point, with `code` in it
- another **one**

```python
def turn_{number}(x: int) -> int:
    return x + {number}
```

And the rest of what there is to say. """
_SCROLL = """(seconds) => new Promise((resolve) => {
    const thread = document.querySelector("#thread"), times = [], begun = performance.now();
    let way = -1;
    const step = (now) => {
        times.push(now);
        thread.scrollTop += 90 * way;
        const end = thread.scrollHeight - thread.clientHeight;
        if (thread.scrollTop <= 0 || thread.scrollTop >= end - 1) way = thread.scrollTop <= 0 ? 1 : -1;
        if (now - begun < 1000 * seconds) requestAnimationFrame(step);
        else resolve(times);
    };
    requestAnimationFrame(step);
})"""
_FRAME = 1000 / 60


def frames(folder: Path, turns: int, seconds: float) -> list[float]:
    """Milliseconds between the frames."""
    file = folder / "request.json"
    roles = ("user", "assistant")
    messages = [
        {"role": roles[number % 2], "content": _TURN.format(number=number) + "More of it. " * 40}
        for number in range(turns)
    ]
    file.write_text(json.dumps({"messages": messages}))
    with serving(folder, f"scripted+{SCRIPT}") as server, sync_playwright() as playwright:
        browser = launched(playwright)
        with watched(browser, server.url) as watching:
            page = ready(watching.open())
            taken_up(page, file)
            expect(page.locator(".turn")).to_have_count(turns)
            times = page.evaluate(_SCROLL, seconds)
        browser.close()
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def measured(folder: Path, turns: int = 200, seconds: float = 8) -> list[Row]:
    """The rows."""
    short, long = frames(folder, 10, seconds), frames(folder, turns, seconds)

    def at(times: list[float], share: float) -> float:
        return sorted(times)[int(share * (len(times) - 1))]

    late = sum(time > 2 * _FRAME for time in long) / len(long)
    return [
        Row("a frame of 10 turns that scroll", f"{statistics.median(short):.1f} ms, 95 %: {at(short, 0.95):.1f} ms"),
        Row(
            f"a frame of {turns} turns that scroll",
            f"{statistics.median(long):.1f} ms, 95 %: {at(long, 0.95):.1f} ms, at most {max(long):.0f} ms",
            "95 % below 33 ms",
            at(long, 0.95) < 2 * _FRAME,
        ),
        Row("frames that come late by one or more", f"{100 * late:.1f} % of {len(long)}", "≤ 5 %", late <= 0.05),
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for row in measured(Path(folder), arguments.turns, arguments.seconds):
            print(row.told)


if __name__ == "__main__":
    main()
