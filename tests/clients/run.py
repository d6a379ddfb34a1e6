"""Runs real, unmodified programs against running servers and prints what came of it.

`python -m tests.clients.run [NAME ...]` installs each program, at a fixed version, into a folder of its own under
`.clients/programs`, then runs it against a server with a scripted engine and one with a real model. A proxy between
them writes down all requests and replies. Everything but the installing happens in a network namespace that has
nothing but loopback. Every stream that any program was sent is checked against the table of the protocol.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.clients import documented
from tests.clients.proxy import Proxy
from tests.clients.site import Site
from tests.end_to_end.conftest import free_port, serving
from tests.surfaces import order, response_order

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROGRAMS = HERE / "programs"
NAMESPACE = f"antiphon-clients-{os.getpid()}"


class Program(NamedTuple):
    """A program: the script that drives it, the packages it is made of, and the servers it meets. `agent` says that it
    is only ever run without a network. `settings` are lines of the server's `antiphon.toml`, in which `@HOME@` is the
    program's folder and `@PORT@` a port of its own, that it finds in its environment."""

    script: str
    packages: tuple[str, ...]
    kinds: tuple[str, ...] = ("scripted", "real")
    agent: bool = False
    settings: str = ""

    @property
    def node(self) -> tuple[str, ...]:
        """The packages from npm; the others are Python's."""
        return tuple(package for package in self.packages if package.rpartition("@")[0])

    @property
    def python(self) -> tuple[str, ...]:
        return tuple(package for package in self.packages if package not in self.node)

    @property
    def version(self) -> str:
        return self.packages[0].replace("@", " ").replace("==", " ").split()[-1]


_MCP_SETTINGS = """
tool_timeout = 20
[mcp.clock]
command = ["@HOME@/bin/mcp-server-time"]
[mcp.database]
url = "http://127.0.0.1:@PORT@/mcp"
"""
_MCP_SERVERS = (
    "anthropic==2.14.0",
    "excel-mcp-server==2.2.2",
    "mcp-server-motherduck==1.1.0",
    "mcp-server-time==2026.10.19",
    "@modelcontextprotocol/server-everything@2026.8.31",
)
_NODE_TOOLS = ("@anthropic-ai/sdk@1.14.0", "zod@4.6.7", "@modelcontextprotocol/server-everything@2026.8.31")

ALL = {
    "anthropic-2": Program("anthropic_sdk.py", ("anthropic==2.14.0", "pydantic==2.14.3")),
    "anthropic-1": Program("anthropic_sdk.py", ("anthropic==1.17.0", "pydantic==2.14.3")),
    "anthropic-0": Program("anthropic_sdk.py", ("anthropic==0.93.0", "pydantic==2.14.3")),
    "server-tools": Program("server_tools.py", ("anthropic==2.14.0",), ("scripted",)),
    "server-tools-typescript": Program("server_tools.mjs", _NODE_TOOLS, ("scripted",)),
    "mcp-servers": Program("mcp_servers.py", _MCP_SERVERS, settings=_MCP_SETTINGS),
    "langchain": Program("langchain_agent.py", ("langchain-anthropic==1.7.7", "langgraph==1.2.22", "langchain==1.4.7")),
    "pydantic-ai": Program("pydantic_ai_agent.py", ("pydantic-ai-slim[anthropic]==2.68.0",)),
    "instructor": Program("instructor_models.py", ("instructor[anthropic]==1.17.0",)),
    "llm": Program("llm_command.py", ("llm==0.36", "llm-anthropic==0.30")),
    "anthropic-typescript": Program("anthropic_sdk.mjs", ("@anthropic-ai/sdk@1.14.0", "zod@4.6.7")),
    "ai-sdk-7": Program("ai_sdk.mjs", ("ai@7.0.173", "@ai-sdk/anthropic@4.0.105", "zod@4.6.7")),
    "ai-sdk-6": Program("ai_sdk.mjs", ("ai@6.0.326", "@ai-sdk/anthropic@3.0.139", "zod@4.6.7")),
    "openai": Program("openai_responses.py", ("openai==3.57.0",)),
    "openai-agents": Program("openai_agents.py", ("openai-agents==0.24.0",)),
    "langchain-openai": Program("langchain_responses.py", ("langchain-openai==1.7.4",)),
    "pydantic-ai-openai": Program("pydantic_ai_responses.py", ("pydantic-ai-slim[openai]==2.68.0",)),
    "ai-sdk-openai": Program("ai_sdk_responses.mjs", ("ai@7.0.173", "@ai-sdk/openai@4.0.118", "zod@4.6.7")),
    "claude-code": Program("claude_code.py", ("@anthropic-ai/claude-code@2.1.332",), agent=True),
    "claude-code-2.1.197": Program("claude_code.py", ("@anthropic-ai/claude-code@2.1.197",), agent=True),
    "opencode": Program("opencode.py", ("opencode-ai@1.18.33",), ("scripted",), agent=True),
    "codex": Program("codex.py", ("@openai/codex@0.171.0",), agent=True),
    "claude-agent": Program("claude_agent.py", ("claude-agent-sdk==0.2.187",), ("scripted",), agent=True),
}


def install(name: str, folder: Path) -> Path:
    """The folder of a program, installed unless it is there at these versions."""
    program, home = ALL[name], folder / name
    stamp = home / "installed.json"
    wanted = json.dumps(program.packages)
    if stamp.exists() and stamp.read_text() == wanted:
        return home
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    print(f"installing {' '.join(program.packages)}", flush=True)
    if program.node:
        (home / "package.json").write_text('{"private": true, "type": "module"}')
        command = ["npm", "install", "--silent", "--no-fund", "--no-audit", *program.node]
        subprocess.run(command, cwd=home, check=True, stdout=subprocess.DEVNULL)
    if program.python:
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, *program.python], check=True, stderr=subprocess.DEVNULL)
    stamp.write_text(wanted)
    return home


def run(name: str, home: Path, url: str, kind: str, work: Path, port: int) -> tuple[int, list[str]]:
    """How many checks went well and which did not."""
    program = ALL[name]
    script = PROGRAMS / program.script
    python = str(home / "bin" / "python") if program.python else sys.executable
    log = work / f"{name}-{kind}.jsonl"
    if script.suffix == ".mjs":
        # Node looks for packages beside the program.
        for each in PROGRAMS.glob("*.mjs"):
            shutil.copy(each, home)
        command = ["node", str(home / script.name)]
    else:
        command = [python, str(script)]
    with tempfile.TemporaryDirectory() as fresh:
        binaries = f"{home / 'node_modules' / '.bin'}:{home / 'bin'}:{os.environ['PATH']}"
        environment = {"PATH": binaries, "HOME": fresh, "LANG": "C.UTF-8", "WORK": str(work)}
        environment["PORT"] = str(port)
        try:
            done = subprocess.run(
                [*command, url, kind, str(log)],
                env=environment,
                cwd=work,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=400,
                check=False,
            )
            output, status = done.stdout + done.stderr, str(done.returncode)
        except subprocess.TimeoutExpired as late:
            output, status = (late.stdout or b"").decode() + (late.stderr or b"").decode(), "too late"
        unlike = documented.failures(name, kind, home, url, environment, python)
    (work / f"{name}-{kind}.out").write_text(output)
    lines = output.splitlines()
    passed = sum(line.startswith("ok ") for line in lines)
    failed = [line[5:] for line in lines if line.startswith("FAIL ")]
    if not failed and (status != "0" or not passed):
        failed.append(f"ended with {status}: {output[-500:]}")
    wrong = [*unlike, *illegal(log)]
    return passed + (not wrong), failed + wrong


def illegal(log: Path) -> Iterator[str]:
    """What is wrong with the streams a program was sent, as far as it read them."""
    for line in log.read_text("utf-8").splitlines() if log.exists() else ():
        entry = json.loads(line)
        if not entry["whole"] or entry.get("status") != 200 or not entry.get("body", {}).get("stream"):
            continue
        table = response_order if entry["path"].startswith("/v1/responses") else order
        try:
            table.check(table.frames(entry["reply"].encode()))
        except AssertionError as error:
            yield f"stream of request {entry['number']}: {error}"


def run_all(names: list[str], folder: Path, work: Path) -> bool:
    """Start the servers, run the programs, print the table."""
    (work / "note.txt").write_text("The word is quince-4711.\n")
    script = work / "script.json"
    site = Site(work)
    rules = (PROGRAMS / "script.json").read_text("utf-8").replace("@WORK@", str(work)).replace("@SITE@", site.url)
    rules = rules.replace("@SECURE@", site.secure_url)
    script.write_text(rules, "utf-8")
    tools = ["--web-search", f"searxng+{site.url}", "--web-fetch", "--mcp-connector", "--allow-private-urls"]
    tools.append("--code-execution")
    named = ["--served-model-name", "local-model"]
    engines = {"scripted": [f"scripted+{script}"], "real": ["--threads", "1"]}
    rows, failures = [], []
    for kind, engine in engines.items():
        for name in [name for name in names if kind in ALL[name].kinds]:
            folder_of_server = work / f"{name}-{kind}"
            folder_of_server.mkdir()
            port, settings = free_port(), folder_of_server / "antiphon.toml"
            own = ALL[name].settings.replace("@HOME@", str(folder / name)).replace("@PORT@", str(port))
            settings.write_text(own)
            with (
                serving(folder_of_server, *engine, *tools, *named, "--config", str(settings)) as server,
                proxied(urlsplit(server.url).port or 0, work / f"{name}-{kind}.jsonl") as url,
            ):
                started = time.monotonic()
                passed, failed = run(name, folder / name, url, kind, work, port)
                seconds = time.monotonic() - started
            rows.append((name, ALL[name].version, kind, str(passed), str(len(failed)), f"{seconds:.0f}"))
            failures += failed
            print(f"{name} {kind}: {passed} passed, {len(failed)} failed", *failed, sep="\n  ", flush=True)
    site.close()
    rows.insert(0, ("program", "version", "server", "passed", "failed", "seconds"))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    print("\n" + "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows))
    return not failures


@contextmanager
def proxied(port: int, log: Path) -> Iterator[str]:
    """The address of a proxy before a server."""
    log.unlink(missing_ok=True)
    proxy = Proxy(port, log)
    try:
        yield proxy.url
    finally:
        proxy.close()


@contextmanager
def alone() -> Iterator[list[str]]:
    """What to put before a command so that it has no network but loopback; nothing where that cannot be had."""
    made = os.geteuid() == 0 and shutil.which("ip")
    if not made or subprocess.run(["ip", "netns", "add", NAMESPACE], check=False).returncode:
        yield []
        return
    try:
        enter = ["ip", "netns", "exec", NAMESPACE]
        subprocess.run([*enter, "ip", "link", "set", "lo", "up"], check=True)
        yield enter
    finally:
        subprocess.run(["ip", "netns", "delete", NAMESPACE], check=True)


def main() -> int:
    """The command."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    arguments.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ALL)}; none: all")
    arguments.add_argument("--folder", type=Path, default=ROOT / ".clients" / "programs", help="where to install")
    arguments.add_argument("--work", type=Path, help="where to keep logs and output; none: in no place")
    arguments.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    names = given.names or list(ALL)
    if unknown := set(names) - set(ALL):
        arguments.error(f"not known: {', '.join(sorted(unknown))}")
    if given.inside:
        return 0 if run_all(names, given.folder.resolve(), given.work) else 1
    for name in names:
        install(name, given.folder)
    if any("real" in ALL[name].kinds for name in names):
        with tempfile.TemporaryDirectory() as folder, serving(Path(folder)):
            pass  # so that the default model is there
    with alone() as enter, tempfile.TemporaryDirectory() as fresh:
        if not enter:
            print("no network namespace can be made: agents are left out")
            names = [name for name in names if not ALL[name].agent]
        work = given.work.resolve() if given.work else Path(fresh)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        command = [*enter, sys.executable, "-m", "tests.clients.run", *names, "--inside", "--work", str(work)]
        return subprocess.run([*command, "--folder", str(given.folder)], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
