"""The reader of GGUF headers, on files made here."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.engines.hardware import cache_size
from antiphon.engines.models import gguf
from tests.engines.gguf_files import header, text

TOKENS = ["<unk>", "<s>", "</s>", "hello", "<0x0A>", "<|im_start|>", "<tool_call>", "Grüße"]
TYPES = [2, 3, 3, 1, 6, 3, 4, 1]


FULL: dict[str, Any] = {
    "general.architecture": "llama",
    "general.name": "A Model",
    "general.tags": ["one", "two"],
    "general.nested": [[1, 2], [3]],
    "general.sampling.temp": 0.5,
    "general.sampling.top_k": 20,
    "llama.context_length": 4096,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": TYPES,
    "tokenizer.ggml.merges": ["a b", "c d"],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.add_bos_token": True,
    "tokenizer.chat_template": "{{ messages }}",
    "tokenizer.chat_template.tool_use": "{{ tools }}",
}


def test_everything_is_read(tmp_path: Path) -> None:
    """Names, window, templates, sampling, start and end are told, and of the vocabulary the special tokens alone."""
    (tmp_path / "m.gguf").write_bytes(header(FULL) + b"tensors" * 100)
    file = gguf.read(tmp_path / "m.gguf")
    assert (file.name, file.architecture, file.window, file.add_bos) == ("A Model", "llama", 4096, True)
    assert file.chat_template == "{{ messages }}"
    assert file.chat_templates["tool_use"] == "{{ tools }}"
    assert (file.bos_id, file.bos_token, file.eos_id, file.eos_token) == (1, "<s>", 2, "</s>")
    assert file.control_tokens == ("<unk>", "<s>", "</s>", "<|im_start|>", "<tool_call>")
    assert [(token.id, token.kind) for token in file.special_tokens] == [
        (0, "unknown"),
        (1, "control"),
        (2, "control"),
        (5, "control"),
        (6, "user_defined"),
    ]
    assert file.sampling == {"temp": 0.5, "top_k": 20}
    assert cache_size.of_model(file).full == 2 * 2 * (8 + 8)


def test_a_bare_header_gives_defaults(tmp_path: Path) -> None:
    """What a file does not say is empty, zero or -1, never an error."""
    (tmp_path / "m.gguf").write_bytes(header({}, version=2))
    file = gguf.read(tmp_path / "m.gguf")
    assert (file.name, file.window, file.chat_template, file.control_tokens) == ("", 0, "", ())
    assert (file.bos_id, file.bos_token, file.eos_id, file.eos_token, file.add_bos) == (-1, "", -1, "", False)


def test_ids_outside_the_vocabulary_have_no_text(tmp_path: Path) -> None:
    """A start token that the vocabulary does not hold reads as an empty text."""
    (tmp_path / "m.gguf").write_bytes(header({**FULL, "tokenizer.ggml.bos_token_id": 99}))
    assert gguf.read(tmp_path / "m.gguf").bos_token == ""


def test_a_large_vocabulary(tmp_path: Path) -> None:
    """The ids of special tokens are right at the far end of a large vocabulary too."""
    count = 150_000
    tokens, types = [f"t{n}" for n in range(count)], [1] * count
    tokens[count - 1], types[count - 1] = "<|end|>", 3
    merges = [f"m{n} n" for n in range(count)]
    pairs = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types, "tokenizer.ggml.merges": merges}
    (tmp_path / "m.gguf").write_bytes(header(pairs))
    assert gguf.read(tmp_path / "m.gguf").special_tokens == (gguf.SpecialToken("<|end|>", count - 1, "control"),)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "usable GGUF"),
        (b"PK\x03\x04" + b"\0" * 100, "letters GGUF"),
        (struct.pack(">4sIQQ", b"GGUF", 3, 0, 0), "little-endian"),
        (struct.pack("<4sIQQ", b"GGUF", 1, 0, 0), "version is 0x1"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + text("k") + struct.pack("<IQ", 99, 0), "unknown type 99"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 2**60), "middle of its header"),
        (header({"k": [1]})[:-12] + struct.pack("<Q", 2**61), "middle of its header"),
    ],
)
def test_a_bad_file_is_told(data: bytes, reason: str, tmp_path: Path) -> None:
    """What is no GGUF file is refused with the file's name and a reason."""
    (tmp_path / "bad.gguf").write_bytes(data)
    with pytest.raises(ValueError, match=rf"bad\.gguf is not a.*{reason}"):
        gguf.read(tmp_path / "bad.gguf")


def test_a_cut_file_is_told(tmp_path: Path) -> None:
    """Wherever a header is cut, the reader says so instead of giving half of it."""
    whole = header(FULL)
    path = tmp_path / "cut.gguf"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a usable GGUF file"):
            gguf.read(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, len(header(FULL)) - 1), st.binary(min_size=1, max_size=8))
def test_a_damaged_file_harms_nobody(tmp_path: Path, at: int, damage: bytes) -> None:
    """Bytes changed anywhere in the header give an answer or a ValueError, nothing else."""
    whole = header(FULL)
    path = tmp_path / "damaged.gguf"
    path.write_bytes(whole[:at] + damage + whole[at + len(damage) :])
    with contextlib.suppress(ValueError):
        gguf.read(path)
