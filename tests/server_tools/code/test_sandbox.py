"""What code may do in its sandbox, and what it may not: every attack of the list ends within its limit, and reaches
nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from antiphon.server_tools.code.sandbox import Limits, Sandbox
from tests.server_tools.code.sandboxes import needs_sandbox

pytestmark = needs_sandbox

MB = 1 << 20
LIMITS = Limits(seconds=20, memory=128 * MB, disk=8 * MB, processes=32, files=200, output=10_000)


class Box:
    """One container's files, and runs over them."""

    def __init__(self, folder: Path, limits: Limits = LIMITS) -> None:
        self._sandbox = Sandbox(limits)
        self._folder = folder

    async def do(self, action: str, **fields: Any) -> dict[str, Any]:
        new, archive = self._folder / "new", self._folder / "files.tar"
        with new.open("wb") as kept:
            answer = await self._sandbox.run(action, fields, archive, kept)
        if not answer["lost"]:
            new.rename(archive)
        return answer

    async def python(self, code: str) -> dict[str, Any]:
        return await self.do("python", code=code)

    async def bash(self, code: str) -> dict[str, Any]:
        return await self.do("bash", code=code)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A sandbox whose container is in a folder of the test's."""
    return Box(tmp_path)


async def test_files_last_from_run_to_run(box: Box) -> None:
    """What one run leaves the next one finds, links and modes too; `/tmp` is part of it."""
    await box.python("open('a', 'w').write('x'); import os; os.symlink('a', 'b'); open('/tmp/c', 'w').write('y')")
    answer = await box.bash("cat b /tmp/c; echo wrong >&2; exit 3")
    assert (answer["stdout"], answer["stderr"], answer["return_code"]) == ("xy", "wrong\n", 3)


def test_it_is_made_from_any_event_loop(box: Box) -> None:
    """Workers run on uvloop where there is one, which starts processes in fewer ways."""
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(box.bash("id -u"))["stdout"] == "1000\n"


async def test_the_editor_works_on_the_same_files(box: Box) -> None:
    """It creates, replaces what is there once, and shows the lines asked for."""
    assert (await box.do("create", path="d/x.py", file_text="a\nb\nc\n"))["is_file_update"] is False
    replaced = await box.do("str_replace", path="d/x.py", old_str="b", new_str="B\nBB")
    assert replaced["lines"] == ["-b", "+B", "+BB"]
    assert (replaced["old_start"], replaced["old_lines"], replaced["new_start"], replaced["new_lines"]) == (2, 1, 2, 2)
    viewed = await box.do("view", path="/home/user/d/x.py", view_range=[2, 3])
    assert (viewed["content"], viewed["num_lines"], viewed["total_lines"]) == ("B\nBB\n", 2, 4)
    assert (await box.do("view", path="."))["content"] == "d/"
    assert (await box.do("view", path="nowhere"))["error"] == "file_not_found"
    for wrong in (
        {"action": "str_replace", "path": "d/x.py", "old_str": "B", "new_str": ""},
        {"action": "create", "path": "/usr/bin/x", "file_text": ""},
        {"action": "view", "path": "/proc/1/environ"},
    ):
        assert (await box.do(**wrong))["error"] == "invalid_tool_input"


async def test_forks_are_bounded(box: Box) -> None:
    """A fork bomb gets so many processes and no more, and ends with its run."""
    answer = await box.python(
        "import os, sys, time\ncount = 0\ntry:\n    while True:\n        if not os.fork():\n"
        "            time.sleep(100)\n        count += 1\nexcept OSError:\n    print(count)"
    )
    assert 0 < int(answer["stdout"]) < 32


@pytest.mark.parametrize(
    "code",
    [
        "bytearray(1 << 30)",
        "import mmap\nm = mmap.mmap(-1, 1 << 30)\nfor i in range(0, 1 << 30, 4096): m[i] = 1",
        "import os\nos.memfd_create('x')",
    ],
)
async def test_memory_is_bounded(box: Box, code: str) -> None:
    """Whether it belongs to one process, to several, or to none."""
    assert (await box.python(code))["return_code"] != 0


async def test_the_disk_is_bounded(box: Box) -> None:
    """In bytes and in files; nothing beside the folder can be written to for long."""
    full = await box.bash(
        "for file in big /dev/shm/big; do head -c 100M /dev/zero > $file; stat -c %s $file; rm $file; done"
    )
    assert sum(map(int, full["stdout"].split())) <= LIMITS.disk + MB
    many = await box.python("for i in range(1_000_000): open(f'f{i}', 'w')")
    assert many["lost"] or many["return_code"] != 0
    sparse = await box.bash("truncate -s 8M a b c")
    assert "more than" in sparse["lost"]
    assert (await box.do("view", path="."))["content"] == ""


async def test_output_without_end_is_ended(box: Box) -> None:
    """What is told of it is cut, and the run is killed."""
    answer = await box.bash("yes")
    assert answer["return_code"] == 137
    assert len(answer["stdout"]) < 2 * LIMITS.output
    assert "bytes of output" in answer["stderr"]


async def test_time_is_bounded(tmp_path: Path) -> None:
    """What runs too long is killed with all it started, and its files are kept."""
    box = Box(tmp_path, Limits(seconds=1, memory=128 * MB, disk=8 * MB))
    late = await box.bash("echo begun > a; sleep 1000 & setsid sleep 1000 & sleep 1000")
    assert late["error"] == "execution_time_exceeded"
    assert (await box.do("view", path="a"))["content"] == "begun\n"


async def test_the_machine_is_out_of_reach(box: Box) -> None:
    """No file of the machine's that is not the system's, by name or by link; no secret in the environment; no process
    but its own; nothing can be changed."""
    answer = await box.bash(
        "ln -s /etc/shadow link; cat link /etc/gshadow; ls /home /var /etc/ssh; touch /usr/x /x; "
        "cat /proc/1/environ; ls /proc/1/fd; kill -9 1; kill -STOP 1; unshare -U true; mount -t tmpfs x /run; "
        "env; ls -d /proc/[0-9]* | wc -l"
    )
    assert "root:" not in answer["stdout"]
    assert int(answer["stdout"].split()[-1]) < 6
    environment = {line.partition("=")[0] for line in answer["stdout"].splitlines() if "=" in line}
    assert environment <= {"HOME", "PATH", "PYTHONPATH", "PYTHONUNBUFFERED", "LANG", "USER", "PWD", "SHLVL", "_"}
    assert answer["stderr"].count("Operation not permitted") >= 1
    # A link leads nowhere outside when the files are kept, either.
    assert (await box.do("view", path="link"))["error"] == "file_not_found"


@pytest.mark.parametrize(
    "connect",
    [
        "socket.create_connection(('127.0.0.1', 22), 2)",
        "socket.create_connection(('192.0.2.1', 80), 2)",
        "socket.getaddrinfo('example.com', 80)",
        "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    ],
)
async def test_there_is_no_network(box: Box, connect: str) -> None:
    """Not even this machine's own."""
    assert (await box.python(f"import socket\n{connect}\nprint('out')"))["return_code"] == 1


async def test_odd_files_do_no_harm(box: Box) -> None:
    """Pipes, folders that may not be read and names of any bytes are packed or left out."""
    answer = await box.python(
        "import os\nos.mkfifo('pipe')\nos.mkdir('shut', 0)\nopen(b'\\xff\\n', 'w').close()\nopen('fine', 'w').close()"
    )
    assert (answer["return_code"], answer["lost"]) == (0, "")
    assert "fine" in (await box.bash("ls"))["stdout"]
