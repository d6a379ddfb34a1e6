"""What a token takes in the cache of each kind of model, by headers with the figures of published models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from antiphon.engines.hardware import cache_size
from antiphon.engines.hardware.cache_size import CacheShape
from antiphon.engines.models import gguf
from tests.engines.gguf_files import header

LLAMA_8B = {
    "block_count": 32,
    "embedding_length": 4096,
    "attention.head_count": 32,
    "attention.head_count_kv": 8,
}
GEMMA_3_27B = {
    "block_count": 62,
    "embedding_length": 5376,
    "attention.head_count": 32,
    "attention.head_count_kv": 16,
    "attention.key_length": 128,
    "attention.value_length": 128,
    "attention.sliding_window": 1024,
}
GPT_OSS_20B = {
    "block_count": 24,
    "embedding_length": 2880,
    "attention.head_count": 64,
    "attention.head_count_kv": 8,
    "attention.key_length": 64,
    "attention.value_length": 64,
    "attention.sliding_window": 128,
}
QWEN_3_NEXT_80B = {
    "block_count": 48,
    "embedding_length": 2048,
    "attention.head_count": 16,
    "attention.head_count_kv": 2,
    "attention.key_length": 256,
    "attention.value_length": 256,
    "ssm.conv_kernel": 4,
    "ssm.state_size": 128,
    "ssm.group_count": 16,
    "ssm.inner_size": 4096,
}
DEEPSEEK_V2_LITE = {
    "block_count": 27,
    "embedding_length": 2048,
    "attention.head_count": 16,
    "attention.kv_lora_rank": 512,
    "rope.dimension_count": 64,
}
GRANITE_4_TINY = {
    "block_count": 40,
    "embedding_length": 1536,
    "attention.head_count": 12,
    "attention.head_count_kv": [4 if layer in (5, 15, 25, 35) else 0 for layer in range(40)],
    "ssm.conv_kernel": 4,
    "ssm.state_size": 128,
    "ssm.group_count": 1,
    "ssm.inner_size": 3072,
}
SHAPES = {
    "llama": (LLAMA_8B, CacheShape(full=32 * 8 * 256)),
    "gemma3": (GEMMA_3_27B, CacheShape(full=10 * 16 * 256, sliding=52 * 16 * 256, span=1024)),
    "gpt-oss": (GPT_OSS_20B, CacheShape(full=12 * 8 * 128, sliding=12 * 8 * 128, span=128)),
    "qwen3next": (
        QWEN_3_NEXT_80B,
        CacheShape(full=12 * 2 * 512, state=36 * 4 * (3 * (4096 + 2 * 16 * 128) + 4096 * 128)),
    ),
    "deepseek2": (DEEPSEEK_V2_LITE, CacheShape(full=27 * 576)),
    "granitehybrid": (GRANITE_4_TINY, CacheShape(full=4 * 4 * 256, state=36 * 4 * (3 * (3072 + 256) + 3072 * 128))),
}


def read(folder: Path, architecture: str, **fields: Any) -> gguf.ModelFile:
    """A header of an architecture with these fields."""
    named = {f"{architecture}.{key}": value for key, value in fields.items()}
    (folder / "m.gguf").write_bytes(header({"general.architecture": architecture, **named}))
    return gguf.read(folder / "m.gguf")


@pytest.mark.parametrize("architecture", SHAPES)
def test_each_kind_of_layer_is_counted(tmp_path: Path, architecture: str) -> None:
    """Whole windows, sliding ones, latent vectors and states."""
    fields, shape = SHAPES[architecture]
    assert cache_size.of_model(read(tmp_path, architecture, **fields)) == shape


def test_the_header_knows_better(tmp_path: Path) -> None:
    """A pattern in the file, as a period or layer by layer, goes before the one that is usual for the architecture;
    lengths of sliding layers before those of others."""
    period = read(tmp_path, "gemma3", **GEMMA_3_27B, **{"attention.sliding_window_pattern": 2})
    assert cache_size.of_model(period).full == 31 * 16 * 256
    each = {**GPT_OSS_20B, "block_count": 4, "attention.sliding_window_pattern": [1, 1, 1, 0]}
    listed = read(tmp_path, "new", **each, **{"attention.key_length_swa": 32, "attention.value_length_swa": 32})
    shape = cache_size.of_model(listed)
    assert (shape.full, shape.sliding) == (8 * 128, 3 * 8 * 64)


def test_what_is_not_known_is_counted_whole(tmp_path: Path) -> None:
    """A sliding window whose layers nobody tells takes the memory of a whole one."""
    shape = cache_size.of_model(read(tmp_path, "brand-new", **GPT_OSS_20B))
    assert (shape.full, shape.sliding) == (24 * 8 * 128, 0)


@pytest.mark.parametrize("architecture", SHAPES)
def test_checkpoints_stay_beside_their_window(architecture: str) -> None:
    """Together they take at most half as much, but that four are always there; where none is needed, nothing."""
    _, shape = SHAPES[architecture]
    for window in (2048, 32768, 262144):
        whole, each = shape.window_bytes(window, "f16"), shape.checkpoint_bytes("f16")
        assert shape.slot_bytes(window, "f16") <= max(whole * 3 // 2, whole + 4 * each)
        assert bool(each) == bool(shape.sliding or shape.state)


def test_which_caches_can_be_smaller() -> None:
    """Heads of whole blocks only, and no latent attention."""
    heads = {"general.architecture": "llama", "llama.embedding_length": 576, "llama.attention.head_count": 9}
    assert cache_size.can_be_smaller(heads)
    assert not cache_size.can_be_smaller({**heads, "llama.attention.key_length": 80})
    assert not cache_size.can_be_smaller({**heads, "llama.attention.kv_lora_rank": 512})
    assert not cache_size.can_be_smaller({"general.architecture": "llama"})
