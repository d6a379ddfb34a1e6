"""Requests that are large: a picture of 4 MB, prompts of 100,000 tokens. And a client that sends one of them again and
again, while others are being told their streams.
"""

from __future__ import annotations

import base64
import http.client
import json
import random
import struct
import threading
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

from antiphon.engines.scripted import TEMPLATE, Script
from bench import servers
from bench.measuring import Row, median, paced

HERE = Path(__file__).parents[1]
TOKENS = 100_000
PICTURE = 4_000_000
TURNS = 400
"""Messages of the conversation: a call, its result, a call, …"""
WINDOW = 262_144


def sources() -> str:
    """Text such as agents send: code and prose, about 1.5 MB of it."""
    files = [*sorted((HERE / "src").rglob("*.py")), *sorted((HERE / "docs").rglob("*.md"))]
    return "\n".join(f"# {file.name}\n{file.read_text('utf-8')}" for file in files)


def tokenizer(folder: Path) -> tokenizers.Tokenizer:
    """A byte-level tokenizer of 16,000 tokens, in files as Hugging Face lays them out."""
    folder.mkdir(parents=True, exist_ok=True)
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=16_000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator(sources().splitlines(keepends=True), trainer)
    made.add_special_tokens([AddedToken(text, special=True) for text in Script().control_tokens])
    made.save(str(folder / "tokenizer.json"))
    settings = {"eos_token": "<|im_end|>", "bos_token": None, "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": WINDOW}))
    return made


def picture() -> bytes:
    """A PNG of this size that nothing can compress, from the same seed always."""
    rows, width = 1000, PICTURE // 1000 - 1
    noise = random.Random(1).randbytes(rows * width)
    raw = b"".join(b"\0" + noise[row * width : (row + 1) * width] for row in range(rows))

    def piece(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, rows, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + piece(b"IHDR", header) + piece(b"IDAT", zlib.compress(raw, 0)) + piece(b"IEND", b"")


def prompt(counts: tokenizers.Tokenizer) -> str:
    """100,000 tokens of text."""
    text = sources()
    found = counts.encode(text, add_special_tokens=False)
    return text[: found.offsets[TOKENS][0]]


def bodies(text: str) -> dict[str, dict[str, Any]]:
    """Requests by name; `text` has 100,000 tokens."""
    data = base64.b64encode(picture()).decode()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    said = {
        "a picture of 4 MB": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}],
        "a prompt of 100,000 tokens": [{"role": "user", "content": text}],
        "a conversation of as many": conversation(text),
    }
    return {name: {"model": "large", "max_tokens": 1, "messages": messages} for name, messages in said.items()}


def conversation(text: str) -> list[dict[str, Any]]:
    """The same text as an agent's history: questions, calls, results."""
    size = len(text) // (TURNS // 2) + 1
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Read all of the files, please."}]
    for number, begin in enumerate(range(0, len(text), size)):
        call = {"type": "tool_use", "id": f"toolu_{number}", "name": "read", "input": {"path": f"{number}.py"}}
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": text[begin : begin + size]}
        messages.append({"role": "assistant", "content": [{"type": "text", "text": "The next one."}, call]})
        messages.append({"role": "user", "content": [result]})
    return messages


def measured(folder: Path) -> list[Row]:
    """What each of them does to 16 streams at the ideal pace. The large ones go to an engine of their own, so that it
    is the surface that is measured and not the engine. vLLM's takes no pictures here."""
    text, rows = prompt(tokenizer(folder / "tokenizer")), list[Row]()
    asked = bodies(text)
    with servers.upstream(folder) as clock, servers.upstream(folder) as other:
        for wire, more, names in (
            ("llama.cpp", "", tuple(asked)),
            (
                "vllm",
                f'tokenizer = "{folder}/tokenizer"\n',
                ("a prompt of 100,000 tokens", "a conversation of as many"),
            ),
        ):
            config = folder / f"{wire}.toml"
            config.write_text(
                f'default_model = "small"\n[models.small]\nmodel = "llama.cpp+{clock.url}"\n'
                f'[models.large]\nmodel = "{wire}+{other.url}"\n{more}'
            )
            with servers.antiphon(folder, "", "--config", str(config)) as ours:
                rows += [_row(ours, name, asked[name], wire) for name in names]
    return rows


def _row(ours: servers.Running, name: str, body: dict[str, Any], wire: str) -> Row:
    url, own = ours.url + "/v1/messages", "its own" if wire == "vllm" else "the engine's"
    alone, beside = [], []
    for _ in range(2):
        alone.append(paced(url, ours.pids, 16))
        with Again(url, body):
            beside.append(paced(url, ours.pids, 16, settle=False))
    before, after = (median(told, lambda t: 1e3 * t["gap_p99"]) for told in (alone, beside))
    what = f"p99 between tokens of 16 streams beside {name}, again and again, {own} tokenizer"
    return Row(what, f"{after:.0f} ms, alone {before:.0f} ms", "< 20 ms more", after - before < 20)


class Again:
    """A client that sends the request, waits for the answer, and sends it again, on a thread of its own; each is a
    little different. `sent` counts the answers. Raises RuntimeError at the end where one was not 200."""

    def __init__(self, url: str, body: dict[str, Any]) -> None:
        self._url = urlsplit(url)
        # What a client says first changes, so that nothing is remembered of the whole.
        self._before, _, self._after = json.dumps(body).partition('"messages": [')
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failure = ""
        self.sent = 0

    def __enter__(self) -> Again:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, traceback: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(60)
        if self._failure and kind is None:
            raise RuntimeError(self._failure)

    def _run(self) -> None:
        headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
        connection = http.client.HTTPConnection(self._url.hostname or "", self._url.port)
        while not self._over.is_set():
            first = f'"messages": [{{"role": "user", "content": "Request {self.sent}."}}, '
            connection.request("POST", self._url.path, (self._before + first + self._after).encode(), headers)
            answer = connection.getresponse()
            told = answer.read()
            if answer.status != 200:
                self._failure = f"{answer.status}: {told[:500]!r}"
                return
            self.sent += 1
