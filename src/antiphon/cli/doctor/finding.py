"""What a check comes to."""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["fine", "note", "fail", "skipped"]
FINE: Status = "fine"
NOTE: Status = "note"
FAIL: Status = "fail"
SKIPPED: Status = "skipped"


class Finding(msgspec.Struct, frozen=True):
    """One finding: what was looked at, how it is, in a sentence, and what to do about it. A `note` serves, but not as
    well as it might; what was `skipped` could not be looked at."""

    check: str
    status: Status
    detail: str
    remedy: str = ""
