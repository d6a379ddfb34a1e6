"""Plays `docs/first-hour.md` as somebody new would type it, and writes down what appears.

`python -m tests.install.newcomer FOLDER` runs the commands with the `antiphon` in that folder, else with the one that
`make install-check ARGS=wheel` installs; in an empty home folder, and in a network namespace that has nothing but
loopback. There, a stand-in for the hub hands out the default model under every name. Needs root for the namespace.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from antiphon.engines.models import model_store
from antiphon.settings.sources import Settings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/first-hour.md"
INSTALLED = ROOT / ".install/bare/bin"
_INSIDE = "NEWCOMER_INSIDE"
_BLOCK = re.compile(r"^```sh\n(?P<command>.*?)^```\n(?:\n```text\n.*?^```\n)?", re.M | re.S)


class _Hub(BaseHTTPRequestHandler):
    """Every file is the default model."""

    model = b""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(self.model)))
        self.send_header("etag", '"0"')
        self.send_header("x-repo-commit", "0" * 40)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.model)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def play(environment: dict[str, str], home: Path) -> str:
    """The page with what its commands print below each."""
    servers: list[subprocess.Popen[bytes]] = []

    def played(block: re.Match[str]) -> str:
        command = block["command"]
        print(command, end="", flush=True)
        # As long as somebody takes to type it; a change of keys is in force within a second, or more on a busy machine.
        time.sleep(4)
        shown = (
            _served(command, environment, home, servers) if " serve " in command else _run(command, environment, home)
        )
        return f"```sh\n{command}```\n" + (f"\n```text\n{shown}\n```\n" if shown else "")

    try:
        return _BLOCK.sub(played, PAGE.read_text("utf-8"))
    finally:
        for server in servers:
            server.send_signal(signal.SIGTERM)
            server.wait(60)


def _run(command: str, environment: dict[str, str], home: Path) -> str:
    done = subprocess.run(
        ["sh", "-c", command], env=environment, cwd=home, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()


def _served(command: str, environment: dict[str, str], home: Path, servers: list[subprocess.Popen[bytes]]) -> str:
    """What a server says until it is ready."""
    log = home / "serve.log"
    with log.open("wb") as out:
        servers.append(
            subprocess.Popen(["sh", "-c", f"exec {command}"], env=environment, cwd=home, stdout=out, stderr=out)
        )
    end = time.monotonic() + 300
    while True:
        assert servers[-1].poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        try:
            urllib.request.urlopen("http://127.0.0.1:8000/health/ready", timeout=5)
        except OSError:
            time.sleep(0.2)
        else:
            # A progress bar draws itself over and over; nobody sees but its end.
            lines = [line.rpartition("\r")[2].rstrip() for line in log.read_text().splitlines()]
            return "\n".join(line for line in lines if not re.match(r"[\d-]+ [\d:,]+ INFO", line)).strip()


def main() -> None:
    if _INSIDE not in os.environ:
        inside = 'ip link set lo up && exec "$@"'
        command = ["unshare", "--net", "sh", "-c", inside, "sh", sys.executable, "-m", "tests.install.newcomer"]
        os.execvpe(command[0], [*command, *sys.argv[1:]], {**os.environ, _INSIDE: "1"})
    _Hub.model = model_store.resolve("", Path(Settings().cache_dir)).read_bytes()
    hub = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "PATH": f"{sys.argv[1] if sys.argv[1:] else INSTALLED}:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": home,
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        page = play(environment, Path(home))
    PAGE.write_text(page.replace(home, "~"), "utf-8")
    hub.shutdown()


if __name__ == "__main__":
    main()
