"""Files are whole or not there, and files of lines have whole lines only, whatever the disk does."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.storage import files
from antiphon.storage.lines import Lines, one_line, whole_lines
from tests.faults.disk import ERRORS, Disk
from tests.laws.spacing import respaced, values

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """Whichever call fails, the old content is there, no draft is left, and the next attempt succeeds."""
    disk, file = Disk(tmp_path, monkeypatch), tmp_path / "file"
    files.write(file, b"old")
    for n in range(100):
        disk.fail(n, error=error)
        try:
            files.write(file, b"newer")
        except OSError:
            assert (file.read_bytes(), os.listdir(tmp_path)) == (b"old", ["file"])
        else:
            assert n == disk.changes
            break
    assert n == 4, "open, write, fsync and replace"
    assert (file.read_bytes(), file.stat().st_mode & 0o077) == (b"newer", 0)


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_line_is_there_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """A half-written line is never read, by nobody, and is gone before the next one comes."""
    disk, file = Disk(tmp_path, monkeypatch), tmp_path / "lines"
    lines = Lines(file)
    lines.add(b"first")
    disk.fail(0, 1, error=error)
    for _ in range(2):
        with pytest.raises(OSError, match=os.strerror(error)):
            lines.add(b"second, and longer")
        assert list(whole_lines(file)) == [b"first"]
    assert file.read_bytes() != b"first\n", "the disk took a half"
    again = Lines(file)
    again.add(b"third")
    again.settle()
    assert file.read_bytes() == b"first\nthird\n"
    lines.close()
    again.close()


def test_lines_longer_than_a_block(tmp_path: Path) -> None:
    """The end of the last whole line is found wherever it is."""
    for tail in (0, 1, 200_000):
        for line in (b"", b"x" * 70_000):
            file = tmp_path / f"{tail}-{len(line)}"
            file.write_bytes(line + b"\n" + b"y" * tail)
            lines = Lines(file)
            lines.add(b"z")
            lines.close()
            assert list(whole_lines(file)) == [line, b"z"]


@given(values(), st.randoms(use_true_random=False))
def test_one_line_is_the_same_json(value: Any, rng: Any) -> None:
    """However JSON is spaced, its line is the one with no space at all: every token as it was spelt, in its order."""
    compact = json.dumps(value, separators=(",", ":"))
    for ascii in (True, False):
        compact = json.dumps(value, separators=(",", ":"), ensure_ascii=ascii)
        assert one_line(respaced(compact, rng).encode()) == compact.encode()


@pytest.mark.parametrize("token", ["1.50e+3", "-0", "1E400", "123456789012345678901234567890", r'"A\/\n  é"', '" "'])
def test_tokens_stay_as_they_were_spelt(token: str) -> None:
    """Also those that no reader would write that way."""
    assert (
        one_line(f' {{ "b" : [\r\n\t{token} ] ,\n"a":{token}}}\r\n'.encode())
        == f'{{"b":[{token}],"a":{token}}}'.encode()
    )


def test_what_is_refused_is_told_with_place_reason_and_remedy() -> None:
    """In that order, with what is needed."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert files.refusal("this batch", full, "/state", "--state-dir", 2_000_000) == (
        "this batch cannot be kept in /state, which needs 2.0 MB there: no space left on device; "
        "make room there, or choose another with --state-dir"
    )
