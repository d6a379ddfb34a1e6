"""The first process of a sandbox: it unpacks a container's files, does one thing, and packs them up again.

It stands alone. A sandbox has nothing of this package, so the text of this file is handed to the system's Python, of
any version from 3.9. That is why all of it is one file, longer than the others. What it is to do comes as JSON on its
standard input; its answer is JSON on its standard output. As process 1 it cannot be killed by what it runs, and its end
is the end of everything in the sandbox.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

HOME = "/home/user"
ENVIRONMENT = {
    "HOME": HOME,
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "PYTHONPATH": HOME,
    "PYTHONUNBUFFERED": "1",
    "LANG": "C.UTF-8",
    "USER": "user",
}
COMMANDS = {"python": ("script.py", "python3"), "bash": ("script.sh", "bash")}
MOST_VIEWED = 10 * 1024 * 1024
MOST_MADE = 20
"""Files that one run may leave for the client."""
_TICK = 0.05
_PR_SET_DUMPABLE = 4

Fields = dict[str, Any]


class Failed(Exception):
    """What was asked cannot be done: the API's error code, and why."""


def main(files: int, target: int) -> None:
    """Do what standard input says with the files of an archive (a descriptor; negative: none), and leave them in
    another."""
    # When the machine has no memory left, this and all that comes of it goes first.
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write("1000")
    # Where sessions share the processors among each other, being nice within one's own says nothing to the server's.
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w", encoding="ascii") as group:
        group.write("5")
    # Nobody may look into this process or use its descriptors, though all here belong to one user.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    request = json.load(sys.stdin)
    limits = request["limits"]
    if files >= 0:
        unpack(files)
    os.makedirs(os.path.join(HOME, ".tmp"), exist_ok=True)
    take_in(request.get("uploads", {}))
    try:
        if request["action"] in COMMANDS:
            before = shown()
            answer = execute(request, limits)
            answer["made"] = sorted(name for name, state in shown().items() if before.get(name) != state)[:MOST_MADE]
        else:
            answer = edit(request)
    except Failed as failure:
        answer = {"error": failure.args[0], "message": failure.args[1]}
    answer["lost"] = pack(target, limits)
    json.dump(answer, sys.stdout)


def unpack(descriptor: int) -> None:
    """Put the files of an archive into the home folder."""
    with os.fdopen(descriptor, "rb") as source, tarfile.open(fileobj=source, mode="r|") as archive:
        # It is this program's own archive, which newer versions of Python want to be told.
        if hasattr(tarfile, "fully_trusted_filter"):
            archive.extractall(HOME, filter="fully_trusted")
        else:
            archive.extractall(HOME)


def take_in(uploads: dict[str, str]) -> None:
    """Put files, given by name in base64, into the home folder. Those that are there already stay as they are."""
    for name, data in uploads.items():
        path = os.path.join(HOME, os.path.basename(name))
        if not os.path.lexists(path):
            with contextlib.suppress(OSError), open(path, "xb") as file:
                file.write(base64.b64decode(data))


def shown() -> dict[str, tuple[int, int]]:
    """The files of the home folder that a client may want, with what tells whether they change: all but hidden ones,
    what Python compiles, and those whose names are no text."""
    files = {}
    for path, status in paths():
        name = os.path.relpath(path, HOME)
        parts = name.split(os.sep)
        hidden = "__pycache__" in parts or any(part.startswith(".") for part in parts)
        if stat.S_ISREG(status.st_mode) and not hidden and name.isprintable():
            files[name] = (status.st_size, status.st_mtime_ns)
    return files


def pack(descriptor: int, limits: Fields) -> str:
    """Put the files of the home folder into an archive. Says why when they cannot be kept."""
    size = count = 0
    for _, found in paths():
        size, count = size + found.st_size, count + 1
        if size > limits["disk"] or count > limits["files"]:
            return f"they are more than {limits['files']} files or {limits['disk'] >> 20} MB"
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * limits["disk"] + (64 << 20),) * 2)
    try:
        with os.fdopen(descriptor, "wb") as target, tarfile.open(fileobj=target, mode="w|") as archive:
            for path, _ in paths():
                # What its owner may not read is left behind.
                with contextlib.suppress(PermissionError):
                    archive.add(path, os.path.relpath(path, HOME), recursive=False)
    except (OSError, ValueError) as trouble:
        return str(trouble)
    return ""


def paths() -> Iterator[tuple[str, os.stat_result]]:
    """Every file, folder and link below the home folder."""
    for folder, folders, files in os.walk(HOME):
        for name in folders + files:
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                found = os.lstat(path)
                if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode):
                    yield path, found


def execute(request: Fields, limits: Fields) -> Fields:
    """Run a script, and whatever it starts, until it ends or goes beyond a limit."""
    name, interpreter = COMMANDS[request["action"]]
    path = os.path.join("/run", name)
    with open(path, "w", encoding="utf-8", errors="replace") as script:
        script.write(request["code"])
    try:
        process = subprocess.Popen(
            [interpreter, path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=HOME,
            env=ENVIRONMENT,
            preexec_fn=partial(confine, limits),
        )
    except FileNotFoundError:
        raise Failed("unavailable", f"there is no {interpreter} in the sandbox") from None
    assert process.stdout is not None
    assert process.stderr is not None
    return watch(process.pid, process.stdout.fileno(), process.stderr.fileno(), limits)


def confine(limits: Fields) -> None:
    """Bound the process that is about to become the script, and those that come from it."""
    bounds = {
        resource.RLIMIT_NPROC: limits["processes"],
        resource.RLIMIT_DATA: limits["memory"],
        resource.RLIMIT_FSIZE: limits["disk"],
        resource.RLIMIT_CPU: int(limits["seconds"]) + 1,
        resource.RLIMIT_NOFILE: 256,
        resource.RLIMIT_CORE: 0,
    }
    for kind, bound in bounds.items():
        resource.setrlimit(kind, (bound, bound))
    os.nice(5)


def watch(main: int, stdout: int, stderr: int, limits: Fields) -> Fields:
    """What a process prints until it has ended, or all of them had to be killed."""
    printed: dict[int, bytearray] = {stdout: bytearray(), stderr: bytearray()}
    opened, size = set(printed), 0
    end = time.monotonic() + limits["seconds"]
    look = 0.0
    status: int | None = None
    why = ""
    while opened or status is None:
        for descriptor in select.select(list(opened), [], [], _TICK)[0]:
            chunk = os.read(descriptor, 65536)
            if not chunk:
                opened.remove(descriptor)
            size += len(chunk)
            printed[descriptor] += chunk[: max(limits["output"] - len(printed[descriptor]), 0)]
        ended = reaped(main)
        if status is None and ended is not None:
            status = ended
            # What it left running in the background ends with it.
            kill_all()
        now = time.monotonic()
        if not why and status is None and now >= look:
            look = now + _TICK
            why = "late" if now >= end else exceeded(limits, size)
            if why:
                kill_all()
    if why == "late":
        raise Failed("execution_time_exceeded", f"it ran for more than {limits['seconds']:g} seconds")
    out, err = (decoded(printed[each], limits["output"]) for each in (stdout, stderr))
    if why:
        err += ("\n" if err else "") + f"[killed: {why}]"
    return {"stdout": out, "stderr": err, "return_code": 128 - status if status < 0 else status}


def reaped(main: int) -> int | None:
    """How the main process ended, if it did: a negative signal, or its exit status. Every other process that is over is
    taken off the list."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            if pid == main:
                code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return code


def kill_all() -> None:
    """End every process but this one."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)


def exceeded(limits: Fields, printed: int) -> str:
    """Which limit was passed that the system does not hold by itself, if any."""
    if printed > 100 * limits["output"]:
        return f"more than {100 * limits['output']} bytes of output"
    space = os.statvfs(HOME)
    if space.f_files - space.f_ffree > 2 * limits["files"]:
        return f"more than {2 * limits['files']} files"
    if sum(map(memory, filter(str.isdigit, os.listdir("/proc")))) > limits["memory"]:
        return f"more than {limits['memory'] >> 20} MB of memory"
    return ""


def memory(pid: str) -> int:
    """The bytes of memory of a process, its part of what it shares with others."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/smaps_rollup", "rb") as rollup:
        for line in rollup:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def decoded(printed: bytearray, most: int) -> str:
    """What was printed, as text."""
    return printed.decode("utf-8", "replace") + ("\n[cut here]" if len(printed) >= most else "")


def edit(request: Fields) -> Fields:
    """What the text editor does."""
    path = os.path.realpath(os.path.join(HOME, request["path"]))
    if path.startswith(("/proc/", "/dev/", "/run/")):
        raise Failed("invalid_tool_input", "path: it should be below " + HOME)
    if request["action"] != "view" and not path.startswith(HOME + "/"):
        raise Failed("invalid_tool_input", f"path: only files below {HOME} can be changed")
    try:
        return EDITS[request["action"]](path, request)
    except UnicodeDecodeError:
        raise Failed("invalid_tool_input", "path: the file is not text in UTF-8") from None
    except (OSError, ValueError) as trouble:
        raise Failed("invalid_tool_input", f"path: {getattr(trouble, 'strerror', None) or trouble}") from None


def view(path: str, request: Fields) -> Fields:
    """A file, or the lines of a range of it; of a folder, what is in it."""
    if os.path.isdir(path):
        names = sorted(set(os.listdir(path)) - {".tmp"})
        entries = [name + ("/" if os.path.isdir(os.path.join(path, name)) else "") for name in names]
        return {"content": "\n".join(entries), "num_lines": None, "start_line": None, "total_lines": None}
    lines = read(path).splitlines(keepends=True)
    first, last = request.get("view_range") or (1, -1)
    if first < 1 or (last != -1 and last < first):
        raise Failed("invalid_tool_input", "view_range: it should be the first and the last line, counted from 1")
    shown = lines[first - 1 : None if last == -1 else last]
    return {"content": "".join(shown), "num_lines": len(shown), "start_line": first, "total_lines": len(lines)}


def create(path: str, request: Fields) -> Fields:
    """Write a file, over what was there."""
    updated = os.path.exists(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write(path, request["file_text"])
    return {"is_file_update": updated}


def str_replace(path: str, request: Fields) -> Fields:
    """Put one text in the place of another that stands in the file once."""
    text, old, new = read(path), request["old_str"], request["new_str"]
    count = text.count(old) if old else 0
    if count != 1:
        found = f"is found {count} times" if count else "is not found"
        raise Failed("invalid_tool_input", f"old_str: it {found} in the file, and should be once")
    begin = text.index(old)
    write(path, text.replace(old, new))
    # The lines that the old text touches, and what became of them.
    start = text.rfind("\n", 0, begin) + 1
    stop = text.find("\n", begin + len(old))
    before = text[start : None if stop < 0 else stop]
    after = text[start:begin] + new + before[begin - start + len(old) :]
    removed, added = before.split("\n"), after.split("\n")
    number = text.count("\n", 0, start) + 1
    return {
        "lines": ["-" + line for line in removed] + ["+" + line for line in added],
        "old_start": number,
        "old_lines": len(removed),
        "new_start": number,
        "new_lines": len(added),
    }


def read(path: str) -> str:
    """The text of a file."""
    if not os.path.exists(path):
        raise Failed("file_not_found", "path: there is no such file")
    if not os.path.isfile(path) or os.path.getsize(path) > MOST_VIEWED:
        raise Failed("invalid_tool_input", "path: it is not a file, or is too large")
    with open(path, encoding="utf-8", newline="") as file:
        return file.read(MOST_VIEWED)


def write(path: str, text: str) -> None:
    """Make a file of a text."""
    if os.path.lexists(path) and not os.path.isfile(path):
        raise Failed("invalid_tool_input", "path: it is not a file")
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)


EDITS: dict[str, Callable[[str, Fields], Fields]] = {"view": view, "create": create, "str_replace": str_replace}

if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
