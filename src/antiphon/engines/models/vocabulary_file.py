"""A model file with the vocabulary of another one and hardly anything else, so that the engine's own tokenizer runs
without that model's weights.

The engine refuses a file without tensors, so there is one tiny layer, all zeros and mostly a hole in the file: some
10 MB for 260,000 tokens, and with its process 60 to 110 MB of memory (SmolLM2 and Gemma 3, 2026-11).
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

from antiphon.engines.models import gguf

WINDOW = 256
"""The window of such a model, in tokens. Nothing is ever generated with it."""

_ARCHITECTURE = "llama"
_WIDTH = 32
_ALIGNMENT = 32
_UINT32, _FLOAT32, _STRING = 4, 6, 8
_Q4_0, _F32 = 2, 0
_BYTES = {_Q4_0: 18 / 32, _F32: 4.0}
"""Bytes that a number takes, by the tensor's type."""


def write(model: Path, target: Path) -> None:
    """Write the vocabulary of the `model` as a file of its own. Raises ValueError where that is no model file with a
    vocabulary, OSError where it cannot be read or the target not be written."""
    vocabulary = gguf.read_vocabulary(model)
    if not vocabulary.tokens:
        raise ValueError(f"{model} holds no vocabulary")
    pairs = b"".join([*_shape(vocabulary.tokens), *vocabulary.pairs.values()])
    infos, size = _tensors(vocabulary.tokens)
    count = len(_shape(vocabulary.tokens)) + len(vocabulary.pairs)
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(infos), count) + pairs + b"".join(infos)
    with target.open("wb") as file:
        file.write(head)
        file.truncate(_aligned(len(head)) + size)


def _shape(tokens: int) -> list[bytes]:
    """What the header says of the tiny layer."""
    numbers = {
        "context_length": WINDOW,
        "embedding_length": _WIDTH,
        "block_count": 1,
        "feed_forward_length": _WIDTH,
        "attention.head_count": 1,
        "vocab_size": tokens,
    }
    return [
        _text("general.architecture") + struct.pack("<I", _STRING) + _text(_ARCHITECTURE),
        *(_text(f"{_ARCHITECTURE}.{key}") + struct.pack("<II", _UINT32, value) for key, value in numbers.items()),
        _text(f"{_ARCHITECTURE}.attention.layer_norm_rms_epsilon") + struct.pack("<If", _FLOAT32, 1e-5),
    ]


def _tensors(tokens: int) -> tuple[list[bytes], int]:
    """What the header says of each tensor, and how many bytes they take together."""
    vectors = ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm")
    squares = [
        f"blk.0.{name}" for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    ]
    tensors = [
        ("token_embd", (_WIDTH, tokens), _Q4_0),
        *((name, (_WIDTH,), _F32) for name in vectors),
        *((name, (_WIDTH, _WIDTH), _Q4_0) for name in squares),
    ]
    infos, offset = [], 0
    for name, shape, kind in tensors:
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        infos.append(_text(f"{name}.weight") + dimensions + struct.pack("<IQ", kind, offset))
        offset += _aligned(int(math.prod(shape) * _BYTES[kind]))
    return infos, offset


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
