"""GGUF files for tests, made from plain values."""

from __future__ import annotations

import random
import struct
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_ALIGNMENT = 32
_F32 = 0


def text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def value(item: Any) -> bytes:
    """A typed value, with its type in front. A list is an array of its first item's type."""
    match item:
        case bool():
            return struct.pack("<I?", 7, item)
        case int():
            return struct.pack("<Iq", 11, item) if item < 0 else struct.pack("<II", 4, item)
        case float():
            return struct.pack("<If", 6, item)
        case str():
            return struct.pack("<I", 8) + text(item)
        case [str(), *_]:
            return struct.pack("<IIQ", 9, 8, len(item)) + b"".join(map(text, item))
        case [list(), *_]:
            return struct.pack("<IIQ", 9, 9, len(item)) + b"".join(value(inner)[4:] for inner in item)
        case [float(), *_]:
            return struct.pack(f"<IIQ{len(item)}f", 9, 6, len(item), *item)
        case _:
            return struct.pack(f"<IIQ{len(item)}i", 9, 5, len(item), *item)


def header(pairs: Mapping[str, Any], version: int = 3, tensors: int = 0) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", version, tensors, len(pairs)) + b"".join(
        text(key) + value(item) for key, item in pairs.items()
    )


def write(path: Path, pairs: Mapping[str, Any], tensors: Mapping[str, Sequence[int]]) -> None:
    """A file with tensors of these shapes (the innermost dimension first): weights are small random numbers, always the
    same; names that end in `.bias` get zeros."""
    chance = random.Random(0)
    infos, data = b"", b""
    for name, shape in tensors.items():
        size = 1
        for length in shape:
            size *= length
        infos += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, _F32, len(data))
        numbers = array("f", (0.0 if name.endswith(".bias") else chance.gauss(0, 0.05) for _ in range(size)))
        data += numbers.tobytes() + b"\0" * (-numbers.itemsize * size % _ALIGNMENT)
    head = header(pairs, tensors=len(tensors)) + infos
    path.write_bytes(head + b"\0" * (-len(head) % _ALIGNMENT) + data)


def write_projector(path: Path, embedding: int) -> None:
    """A projector that lets a text model of this embedding length see: the wiring of LLaVA's, tiny and untrained. It
    sees pictures of 56 by 56 in patches of 14, so a picture takes 16 tokens."""
    width, inner, layers, side, patch = 16, 32, 1, 56, 14
    pairs: dict[str, Any] = {
        "general.architecture": "clip",
        "general.file_type": 0,
        "clip.has_vision_encoder": True,
        "clip.projector_type": "mlp",
        "clip.use_gelu": True,
        "clip.vision.image_size": side,
        "clip.vision.patch_size": patch,
        "clip.vision.embedding_length": width,
        "clip.vision.feed_forward_length": inner,
        "clip.vision.block_count": layers,
        "clip.vision.projection_dim": embedding,
        "clip.vision.attention.head_count": 2,
        "clip.vision.attention.layer_norm_epsilon": 1e-5,
        "clip.vision.image_mean": [0.5, 0.5, 0.5],
        "clip.vision.image_std": [0.5, 0.5, 0.5],
    }
    shapes: dict[str, Sequence[int]] = {
        "v.patch_embd.weight": (patch, patch, 3, width),
        "v.position_embd.weight": (width, (side // patch) ** 2 + 1),
        "v.class_embd": (width,),
        "mm.0.weight": (width, embedding),
        "mm.0.bias": (embedding,),
        "mm.2.weight": (embedding, embedding),
        "mm.2.bias": (embedding,),
    }
    norms = ["v.pre_ln", "v.post_ln"]
    for layer in range(layers):
        block = f"v.blk.{layer}."
        norms += [block + "ln1", block + "ln2"]
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            shapes |= {f"{block}{name}.weight": (width, width), f"{block}{name}.bias": (width,)}
        shapes |= {f"{block}ffn_up.weight": (width, inner), f"{block}ffn_up.bias": (inner,)}
        shapes |= {f"{block}ffn_down.weight": (inner, width), f"{block}ffn_down.bias": (width,)}
    for name in norms:
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    write(path, pairs, shapes)
