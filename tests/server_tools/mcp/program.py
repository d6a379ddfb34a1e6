"""An MCP server as a program, of nothing but the standard library so that it starts at once. It counts, and misbehaves.

    python program.py [chatty | deaf | broken]

`chatty` writes what is no message between its messages, `deaf` never answers, `broken` ends at once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

TOOLS = ("count", "die", "sleep", "hang", "flood", "child")
counted = 0


def run(tool: str) -> str:
    """What a tool answers."""
    global counted
    counted += 1
    match tool:
        case "die":
            os._exit(1)
        case "sleep":
            time.sleep(0.5)
        case "hang":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "flood":
            return "x" * 9_000_000
        case "child":
            return str(subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL).pid)
    return f"{os.getpid()} {counted}"


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The result or error of a request."""
    match request["method"]:
        case "initialize":
            server = {"name": "program", "version": "1"}
            return {"result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": server}}
        case "tools/list":
            return {"result": {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]}}
        case "tools/call":
            text = run(request["params"]["name"])
            return {"result": {"content": [{"type": "text", "text": text}]}}
    return {"error": {"code": -32601, "message": "no such method"}}


def main(kind: str) -> None:
    """Answer until standard input ends."""
    if kind == "broken":
        sys.exit("it is broken")
    for line in sys.stdin:
        request = json.loads(line)
        if kind == "chatty":
            print("Loading…\n{}\n\x00\xff[1, 2]", flush=True)
        if "id" in request and kind != "deaf":
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer(request)}), flush=True)


if __name__ == "__main__":
    main("".join(sys.argv[1:]))
