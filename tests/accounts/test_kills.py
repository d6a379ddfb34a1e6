"""Usage adds up to what the replies told, whoever is killed meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from antiphon.accounts.ledger import take_over
from antiphon.accounts.report import report
from antiphon.accounts.usage import Counts
from antiphon.accounts.usage_store import UsageStore
from antiphon.storage.records import Records

DEATHS = int(os.environ.get("ANTIPHON_DEATHS", "8"))

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")


def told(line: bytes) -> Counts:
    """The figures of a reply."""
    usage = msgspec.json.decode(line)["usage"]
    return Counts(
        requests=1,
        input=usage["input_tokens"],
        created=usage["cache_creation_input_tokens"],
        cached=usage["cache_read_input_tokens"],
        output=usage["output_tokens"],
    )


def test_sums_are_those_of_the_replies_through_kills(tmp_path: Path) -> None:
    """SIGKILL at writes into the journal, half of them done, and at any time: each reply that was seen whole is counted
    once, with its own figures; besides, at most the one that was under way at each death."""
    command = [sys.executable, "-m", "tests.accounts.lived", str(tmp_path), str(DEATHS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "seen").read_bytes().split(b"\n")[:-1]
    seen = Counts()
    for line in lines:
        seen = seen.plus(told(line))
    records = Records(f"sqlite:///{tmp_path / 'store.sqlite'}")
    store, journals = UsageStore(records), tmp_path / "journals"
    counted = report(store.cells(journals, 0, 1 << 40), ())[0].counts
    take_over(store, journals)
    assert list(journals.iterdir()) == []
    assert report(store.cells(journals, 0, 1 << 40), ())[0].counts == counted
    records.close()
    most = max(told(line).output for line in lines)
    unseen = counted.requests - seen.requests
    assert 0 <= unseen <= DEATHS
    assert 0 <= counted.output - seen.output <= unseen * most
    if not unseen:
        assert msgspec.structs.replace(counted, milliseconds=0) == seen
