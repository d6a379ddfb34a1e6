"""Whether code can be confined on this machine."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

import pytest


@functools.cache
def trouble() -> str:
    """Why no sandbox can be made here; empty: one can."""
    program = shutil.which("bwrap")
    if program is None:
        return "bubblewrap is not installed"
    if not os.path.exists("/usr/bin/python3"):
        return "there is no Python in /usr"
    made = subprocess.run(
        [program, "--unshare-all", "--unshare-user", "--disable-userns", "--ro-bind", "/", "/", "/usr/bin/true"],
        capture_output=True,
        text=True,
        check=False,
        user=65534 if os.geteuid() == 0 else None,
        cwd="/",
    )
    return made.stderr.strip() if made.returncode else ""


needs_sandbox = pytest.mark.skipif(bool(trouble()), reason=trouble() or "a sandbox can be made")
