"""An engine that is only a clock: it speaks the wires of llama.cpp, vLLM and OpenAI, and sends tokens at a set pace.

    python -m bench.upstream PORT

One process, one thread, one epoll: it must not be what is measured. Tokens vary (some proxies stop a stream that
repeats itself), and each has exactly one `~`, so that whoever receives them can count them in any wire format.
`PUT /pace` with the seconds between two tokens of a stream sets the pace of the streams that begin from then on; 0 is
as fast as the socket takes them.
"""

from __future__ import annotations

import heapq
import json
import select
import socket
import sys
import time
from collections.abc import Iterator
from functools import lru_cache

BLOCK = 64
"""Tokens in one write, when there is no pace."""
WINDOW = 262_144
TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PROPS = {
    "default_generation_settings": {"n_ctx": WINDOW},
    "total_slots": 100_000,
    "model_path": "paced",
    "modalities": {"vision": True},
    "media_marker": "<__media__>",
    "chat_template": TEMPLATE,
    "bos_token": "<|im_start|>",
    "eos_token": "<|im_end|>",
}
WORDS = [
    f" {head}{tail}~" for head in ("sea", "light", "ship", "rock", "lamp") for tail in ("", "s", "man", "house", "ing")
]


def chunk(payload: bytes) -> bytes:
    """One chunk of a response in pieces."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


@lru_cache(maxsize=1 << 18)
def llama_token(number: int) -> bytes:
    """Token `number` (from 0) as llama.cpp tells it."""
    return chunk(
        b'data: {"index":0,"content":"%b","tokens":[%d],"stop":false,"id_slot":-1,"tokens_predicted":%d,'
        b'"tokens_evaluated":9}\n\n' % (WORDS[number * 7 % 25].encode(), 1000 + number * 7 % 25, number + 1)
    )


@lru_cache(maxsize=1 << 18)
def llama_scored(number: int) -> bytes:
    """The same where probabilities are asked for."""
    word, id = WORDS[number * 7 % 25], 1000 + number * 7 % 25
    spelled = ",".join(map(str, word.encode()))
    likely = f'"id":{id},"token":"{word}","bytes":[{spelled}],"logprob":-{number * 7 % 25}.4968286752700806'
    return chunk(
        b'data: {"index":0,"content":"%b","tokens":[%d],"stop":false,"id_slot":-1,"tokens_predicted":%d,'
        b'"tokens_evaluated":9,"completion_probabilities":[{%b,"top_logprobs":[{%b}]}]}\n\n'
        % (word.encode(), id, number + 1, likely.encode(), likely.encode())
    )


@lru_cache(maxsize=1 << 18)
def openai_token(number: int) -> bytes:
    """The same as OpenAI-compatible servers tell it."""
    return chunk(
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"paced","choices":'
        b'[{"index":0,"delta":{"content":"%b"},"logprobs":null,"finish_reason":null}]}\n\n'
        % WORDS[number * 7 % 25].encode()
    )


@lru_cache(maxsize=1 << 18)
def vllm_token(number: int) -> bytes:
    """The same as vLLM tells it where ids are asked for."""
    return chunk(
        b'data: {"id":"cmpl-1","object":"text_completion","created":1700000000,"model":"paced","choices":[{"index":0,'
        b'"text":"%b","token_ids":[%d],"logprobs":null,"finish_reason":null}]}\n\n'
        % (WORDS[number * 7 % 25].encode(), 1000 + number * 7 % 25)
    )


LLAMA_BEGIN = chunk(
    b'data: {"index":0,"content":"","tokens":[0],"stop":false,'
    b'"prompt_progress":{"total":9,"cache":0,"processed":9}}\n\n'
)
OPENAI_BEGIN = chunk(
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"paced","choices":'
    b'[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
)


def llama_end(total: int) -> bytes:
    """How a reply of so many tokens ends, and the response with it."""
    return (
        chunk(
            b'data: {"content":"","tokens":[],"stop":true,"stop_type":"limit","tokens_predicted":%d,'
            b'"timings":{"cache_n":0,"prompt_n":9}}\n\n' % total
        )
        + b"0\r\n\r\n"
    )


def openai_end(total: int) -> bytes:
    """The same as OpenAI-compatible servers tell it."""
    return (
        chunk(
            b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"paced","choices":'
            b'[{"index":0,"delta":{},"finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":%d,'
            b'"total_tokens":%d}}\n\n' % (total, total + 9)
        )
        + chunk(b"data: [DONE]\n\n")
        + b"0\r\n\r\n"
    )


def vllm_end(total: int) -> bytes:
    """The same as vLLM tells it."""
    return (
        chunk(b'data: {"choices":[{"index":0,"text":"","token_ids":[],"finish_reason":"length"}]}\n\n')
        + chunk(
            b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":%d,"total_tokens":%d}}\n\n'
            % (total, total + 9)
        )
        + chunk(b"data: [DONE]\n\n")
        + b"0\r\n\r\n"
    )


SCORED = "/completion with n_probs"
WIRES = {
    "/completion": (LLAMA_BEGIN, llama_token, llama_end, "n_predict"),
    SCORED: (LLAMA_BEGIN, llama_scored, llama_end, "n_predict"),
    "/v1/completions": (b"", vllm_token, vllm_end, "max_tokens"),
    "/v1/chat/completions": (OPENAI_BEGIN, openai_token, openai_end, "max_tokens"),
}


@lru_cache(maxsize=4096)
def block(path: str, first: int, last: int) -> bytes:
    """Many tokens at once."""
    token = WIRES[path][1]
    return b"".join(token(number) for number in range(first, last))


class Connection:
    """A client's connection: what it has sent, what it has not taken yet, and the stream it is being told."""

    __slots__ = ("due", "inbox", "interval", "limit", "outbox", "path", "sent", "socket")

    def __init__(self, client: socket.socket) -> None:
        self.socket = client
        self.inbox = b""
        self.outbox = b""
        self.path = ""
        self.sent = self.limit = 0
        self.due = self.interval = 0.0

    def request(self) -> tuple[str, bytes] | None:
        """The next whole request: path and body."""
        head, found, rest = self.inbox.partition(b"\r\n\r\n")
        if not found:
            return None
        size = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        if len(rest) < size:
            return None
        self.inbox = rest[size:]
        return head.split(b" ", 2)[1].decode(), rest[:size]


class Upstream:
    """The server: requests are answered at once, streams when they are due."""

    def __init__(self, port: int) -> None:
        self._door = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._door.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(self._door, select.EPOLLIN)
        self._open: dict[int, Connection] = {}
        self._due: list[tuple[float, int, Connection]] = []
        self._interval = 0.02

    def run(self) -> None:
        """For ever."""
        while True:
            wait = max(self._due[0][0] - time.monotonic(), 0) if self._due else 60.0
            for handle, events in self._epoll.poll(wait):
                if handle == self._door.fileno():
                    self._welcome()
                elif events & select.EPOLLIN:
                    self._read(self._open[handle])
                elif events & (select.EPOLLHUP | select.EPOLLERR):
                    self._close(self._open[handle])
                else:
                    self._flush(self._open[handle])
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                _, handle, connection = heapq.heappop(self._due)
                if self._open.get(handle) is connection and connection.path:
                    self._tick(connection)

    def _welcome(self) -> None:
        try:
            client, _ = self._door.accept()
        except BlockingIOError:
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open[client.fileno()] = Connection(client)
        self._epoll.register(client, select.EPOLLIN)

    def _close(self, connection: Connection) -> None:
        self._open.pop(connection.socket.fileno(), None)
        connection.socket.close()

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        connection.inbox += data
        while (request := connection.request()) is not None:
            self._answer(connection, *request)

    def _answer(self, connection: Connection, path: str, body: bytes) -> None:
        if path in WIRES and b'"stream":true' in body.replace(b" ", b""):
            asked = json.loads(body)
            path = SCORED if asked.get("n_probs") else path
            begin, _, _, limit = WIRES[path]
            connection.path, connection.sent, connection.limit = path, 0, asked.get(limit) or 16
            connection.interval, connection.due = self._interval, time.monotonic() + self._interval
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            self._send(connection, head + begin)
            if connection.interval:
                heapq.heappush(self._due, (connection.due, connection.socket.fileno(), connection))
            else:
                self._epoll.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)
            return
        if path == "/pace":
            self._interval = float(body)
        answer = b"".join(self._plain(path, body))
        self._send(
            connection,
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer,
        )

    def _plain(self, path: str, body: bytes) -> Iterator[bytes]:
        match path:
            case "/props":
                yield json.dumps(PROPS).encode()
            case "/tokenize":
                content = json.loads(body)["content"]
                texts = [content] if isinstance(content, str) else content
                many = sum(max(len(text.split()), 1) for text in texts if text)
                yield b'{"tokens":[' + b",".join([b"1234"] * many) + b"]}"
            case "/detokenize":
                yield b'{"content":"<tool_call>"}'
            case "/v1/models":
                yield b'{"object":"list","data":[{"id":"paced","created":1700000000,"max_model_len":262144}]}'
            case _:
                yield b'{"status":"ok"}'

    def _tick(self, connection: Connection) -> None:
        """One token is due."""
        self._send(connection, WIRES[connection.path][1](connection.sent))
        connection.sent += 1
        if connection.sent >= connection.limit:
            self._end(connection)
            return
        connection.due += connection.interval
        heapq.heappush(self._due, (connection.due, connection.socket.fileno(), connection))

    def _end(self, connection: Connection) -> None:
        end = WIRES[connection.path][2](connection.limit)
        connection.path = ""
        self._send(connection, end)

    def _send(self, connection: Connection, data: bytes) -> None:
        connection.outbox += data
        self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        """Write what the socket takes; without a pace, ever more of the stream."""
        try:
            while True:
                if not connection.outbox and connection.path and not connection.interval:
                    last = min(connection.sent + BLOCK, connection.limit)
                    connection.outbox = block(connection.path, connection.sent, last)
                    connection.sent = last
                    if last == connection.limit:
                        connection.outbox += WIRES[connection.path][2](last)
                        connection.path = ""
                if not connection.outbox:
                    break
                connection.outbox = connection.outbox[connection.socket.send(connection.outbox) :]
        except BlockingIOError:
            self._epoll.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)
            return
        except OSError:
            self._close(connection)
            return
        self._epoll.modify(connection.socket, select.EPOLLIN)


if __name__ == "__main__":
    Upstream(int(sys.argv[1])).run()
