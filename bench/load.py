"""Streams from a server and tells what came: tokens, the gaps between them, the time to the first, whose CPU it took.

    python -m bench.load URL BODY [--streams 64] [--seconds 8] [--watch PID …]

One process, one thread, one epoll, no parsing: a token is a `~` (as `bench.upstream` writes them), a stream is over at
the end of its response. The window that is measured begins when every stream has brought tokens for `--settle` seconds
and lasts `--seconds`, or, with `--whole`, from the first request until every stream is over. CPU time is that of the
watched processes within the window, and of this one, so that it can be seen not to be the bottleneck. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import sys
import time
from bisect import bisect_right
from pathlib import Path
from urllib.parse import urlsplit

TICK = os.sysconf("SC_CLK_TCK")
ENDS = (b"message_stop", b"response.completed", b"[DONE]")


def cpu_seconds(pids: list[int]) -> float:
    """Processor time that the processes have used, system calls included."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


class Stream:
    """One response as it comes. `gaps` are the seconds between reads that brought tokens, within the window."""

    __slots__ = ("asked", "ended", "first", "last", "read", "socket", "status", "tail", "tokens")

    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asked = time.perf_counter()
        self.first = self.last = 0.0
        self.tokens = 0
        self.status = 0
        self.tail = b""
        self.ended = ""
        self.socket.sendall(request)
        self.socket.setblocking(False)

    def take(self) -> int:
        """Read once; how many tokens that brought."""
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self.ended = self.ended or "cut"
            return 0
        if not self.status:
            self.status = int(data[9:12])
        many = data.count(b"~")
        seen = self.tail + data if len(data) < 64 else data[-64:]
        if any(end in seen for end in ENDS):
            self.ended = "whole"
        elif b"event: error" in data or b'data: {"error"' in data:
            self.ended = "error"
        self.tail = seen[-32:]
        self.tokens += many
        return many


class Load:
    """Many streams, one window."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._watched: list[int] = arguments.watch
        self._seconds: float = arguments.seconds
        self._settle: float = arguments.settle
        self._whole: bool = arguments.whole
        self._epoll = select.epoll()
        self._streams: dict[int, Stream] = {}
        self._gaps: list[float] = []
        self._begun = 0.0
        url = urlsplit(arguments.url)
        self._address = (url.hostname or "127.0.0.1", url.port or 80)
        body = Path(arguments.body[1:]).read_bytes() if arguments.body.startswith("@") else arguments.body.encode()
        self._request = (
            f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
            f"anthropic-version: 2023-06-01\r\nauthorization: Bearer any\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def run(self, many: int, stagger: float) -> dict[str, object]:
        """All of it; gives what is to be told."""
        started = time.perf_counter()
        if self._whole:
            self._begin()
        for _ in range(many):
            stream = Stream(self._address, self._request)
            self._streams[stream.socket.fileno()] = stream
            self._epoll.register(stream.socket, select.EPOLLIN)
            self._poll(stagger)
        until = time.perf_counter() + 60
        while not self._whole and any(not s.first and not s.ended for s in self._streams.values()):
            self._poll(0.05)
            if time.perf_counter() > until:
                break
        if not self._whole:
            self._pass(self._settle)
            self._begin()
            self._pass(self._seconds)
        else:
            self._pass(600, until_over=True)
        return self._told(started)

    def _begin(self) -> None:
        self._begun, self._gaps = time.perf_counter(), []
        self._tokens = sum(stream.tokens for stream in self._streams.values())
        self._cpu, self._own = cpu_seconds(self._watched), time.process_time()

    def _pass(self, seconds: float, until_over: bool = False) -> None:
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            self._poll(left)
            if until_over and all(stream.ended for stream in self._streams.values()):
                break

    def _poll(self, longest: float) -> None:
        until = time.perf_counter() + longest
        while True:
            for handle, _ in self._epoll.poll(max(until - time.perf_counter(), 0)):
                stream = self._streams[handle]
                if stream.take():
                    now = time.perf_counter()
                    if stream.last:
                        self._gaps.append(now - stream.last)
                    else:
                        stream.first = now
                    stream.last = now
                if stream.ended:
                    self._epoll.unregister(handle)
            if self._whole and all(stream.ended for stream in self._streams.values()):
                return
            if time.perf_counter() >= until:
                return

    def _told(self, started: float) -> dict[str, object]:
        now = time.perf_counter()
        wall = now - self._begun
        streams = list(self._streams.values())
        tokens = sum(stream.tokens for stream in streams) - self._tokens
        gaps = sorted(self._gaps)
        firsts = sorted(stream.first - stream.asked for stream in streams if stream.first)
        return {
            "streams": len(streams),
            "statuses": sorted({stream.status for stream in streams}),
            "ended": {end: sum(s.ended == end for s in streams) for end in ("whole", "cut", "error", "")},
            "wall": wall,
            "tokens": tokens,
            "cpu": cpu_seconds(self._watched) - self._cpu,
            "own_cpu": time.process_time() - self._own,
            "gap_p50": at(gaps, 0.5),
            "gap_p99": at(gaps, 0.99),
            "gap_max": gaps[-1] if gaps else 0.0,
            "within_40ms": bisect_right(gaps, 0.04) / len(gaps) if gaps else 0.0,
            "first_p50": at(firsts, 0.5),
            "first_p99": at(firsts, 0.99),
            "total": now - started,
        }


def at(ordered: list[float], share: float) -> float:
    """The quantile of an ordered list."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def main() -> int:
    """Parse, load, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("body", help="JSON, or @FILE")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--settle", type=float, default=1.0)
    parser.add_argument("--stagger", type=float, default=0.0031, help="seconds between two requests")
    parser.add_argument("--whole", action="store_true", help="measure from the first request to the end of all streams")
    parser.add_argument("--watch", type=int, nargs="*", default=[], metavar="PID")
    arguments = parser.parse_args()
    print(json.dumps(Load(arguments).run(arguments.streams, 0.0 if arguments.whole else arguments.stagger)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
