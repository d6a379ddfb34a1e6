"""llama.cpp's own server with its own defaults: `python -m bench.own MODEL PORT WINDOW SLOTS [JSON]`.

It is the library that the embedded engine runs, so that what is compared is how it is set. `JSON` are parameters set
otherwise than by default. Ends with its standard input.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import xllamacpp


def main() -> None:
    """Serve until standard input closes."""
    model, port, window, slots, *rest = sys.argv[1:]
    params: Any = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames = ["127.0.0.1"]
    params.port = int(port)
    params.n_parallel = int(slots)
    params.n_ctx = int(window) * int(slots)
    params.verbosity = 0
    for name, value in json.loads(rest[0] if rest else "{}").items():
        setattr(params, name, value)
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
