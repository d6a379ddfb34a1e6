"""How much memory llama.cpp takes for what it keeps of the tokens in a slot, by what a GGUF file says of each layer.

A layer of attention keeps a key and a value for each token: of the whole window, or of a sliding one. With latent
attention it keeps one short vector in place of both. A recurrent layer keeps a state of fixed size in place of tokens.
What sliding and recurrent layers have let go of cannot be gone back to in a prompt, so llama.cpp sets checkpoints aside
in memory: copies of what these layers of a slot hold. The rules are those of llama.cpp (`llama-hparams.cpp`,
`llama-kv-cache-iswa.cpp` and the loaders of its models, 2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from antiphon.engines.models.gguf import ModelFile, Scalar

CacheType = Literal["f16", "q8_0", "q4_0"]
CACHE_TYPES = get_args(CacheType)
# Bits for each value of the cache, the scales of its blocks of 32 included.
_BITS: dict[CacheType, float] = {"f16": 16, "q8_0": 8.5, "q4_0": 4.5}
_BLOCK = 32
_STATE_VALUE_BYTES = 4
# Cells of a sliding window come in blocks, and hold what one step adds beside it.
_CELLS, _STEP = 256, 512

# Which layers slide, where the header does not say: of so many in a row all but the last one (where the number is
# negative: but the first). These stand in llama.cpp's loaders alone.
_SLIDING_PERIODS = {
    "afmoe": 4,
    "cohere2": 4,
    "exaone4": 4,
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gpt-oss": 2,
    "llama4": 4,
    "olmo2": 4,
    "smallthinker": -4,
}
_CHUNKED = {"llama4": 8192}
# Layers that read the cache of an earlier one and keep none of their own, where the header does not say.
_LAYERS_WITH_CACHE = {"gemma3n": 20}
_RECURRENT = ("mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7")
_WITH_BOTH = ("falcon-h1",)
_FULL_ATTENTION_INTERVAL = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4}
# llama.cpp's own limit; and one for each 8192 tokens, its least distance between two, of a useful window.
_MOST_CHECKPOINTS, _FEWEST_CHECKPOINTS = 32, 4


class CacheShape(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept for a slot. `full` values for each token of the window; `sliding` values for each of the last
    `span` tokens; `state` bytes whatever the length."""

    full: int
    sliding: int = 0
    span: int = 0
    state: int = 0

    def window_bytes(self, window: int, cache_type: CacheType) -> int:
        """Bytes for a window of so many tokens."""
        cells = min(window, -(-(self.span + _STEP) // _CELLS) * _CELLS)
        return int((self.full * window + self.sliding * cells) * _BITS[cache_type] / 8) + self.state

    def checkpoint_bytes(self, cache_type: CacheType) -> int:
        """Bytes of one checkpoint; 0 where none is needed."""
        return int(self.sliding * self.span * _BITS[cache_type] / 8) + self.state

    def checkpoints(self, window: int, cache_type: CacheType) -> int:
        """How many checkpoints a slot may have: together half as large as its window."""
        each = self.checkpoint_bytes(cache_type)
        if not each:
            return _MOST_CHECKPOINTS
        most = self.window_bytes(window, cache_type) // 2 // each
        return max(_FEWEST_CHECKPOINTS, min(most, _MOST_CHECKPOINTS))

    def slot_bytes(self, window: int, cache_type: CacheType) -> int:
        """Bytes for a slot, its checkpoints included."""
        aside = self.checkpoints(window, cache_type) * self.checkpoint_bytes(cache_type)
        return self.window_bytes(window, cache_type) + aside


def of_model(file: ModelFile) -> CacheShape:
    """The shape of a model's cache. What the header leaves open makes it too large rather than too small."""
    header = _Header(file)
    layers = range(header.number("block_count", 32))
    latent = header.number("attention.kv_lora_rank", 0)
    if latent:
        return CacheShape(full=len(layers) * (latent + header.number("rope.dimension_count", 64)))
    sliding, recurrent = header.sliding_layers(len(layers)), header.recurrent_layers(len(layers))
    with_cache = header.layers_with_cache(len(layers))
    values = {"full": 0, "sliding": 0}
    for layer in layers:
        if layer < with_cache and (layer not in recurrent or file.architecture in _WITH_BOTH):
            slides = layer in sliding
            values["sliding" if slides else "full"] += header.values_per_token(layer, slides)
    state = len(recurrent) * header.state_values() * _STATE_VALUE_BYTES
    return CacheShape(**values, span=header.span() if sliding else 0, state=state)


def goes_back(file: ModelFile) -> bool:
    """Whether the last tokens can be taken back from a cache of this model: no layer keeps a state in their place."""
    header = _Header(file)
    return not header.recurrent_layers(header.number("block_count", 32))


def can_be_smaller(values: Mapping[str, Scalar]) -> bool:
    """Whether llama.cpp takes a cache of another type than f16 for a model with this header: its heads are of whole
    blocks, and it keeps keys and values as they are (no latent attention)."""
    architecture = values.get("general.architecture", "")
    width, heads = (values.get(f"{architecture}.{key}", 0) for key in ("embedding_length", "attention.head_count"))
    if not (isinstance(width, int) and isinstance(heads, int) and heads):
        return False
    lengths = [values.get(f"{architecture}.attention.{each}_length", width // heads) for each in ("key", "value")]
    latent = values.get(f"{architecture}.attention.kv_lora_rank", 0)
    return not latent and all(isinstance(length, int) and length % _BLOCK == 0 for length in lengths)


class _Header:
    """What a header says of the layers, by the keys of its architecture."""

    def __init__(self, file: ModelFile) -> None:
        self._architecture = file.architecture
        self._values = file.values
        self._lists = file.lists

    def number(self, key: str, otherwise: int, layer: int | None = None) -> int:
        """A positive number, that of a layer where there is one for each."""
        values = self._lists.get(f"{self._architecture}.{key}", ())
        if layer is not None and layer < len(values):
            return int(values[layer])
        value = self._values.get(f"{self._architecture}.{key}", otherwise)
        return value if isinstance(value, int) and value > 0 else max(map(int, values), default=otherwise)

    def values_per_token(self, layer: int, slides: bool) -> int:
        """Keys and values of a token in this layer."""
        heads = self.number("attention.head_count", 32, layer)
        groups = self.number("attention.head_count_kv", heads, layer)
        length = self.number("embedding_length", 4096) // max(heads, 1)
        lengths = (self.number(f"attention.{each}_length", length) for each in ("key", "value"))
        if slides:
            key, value = lengths
            lengths = (
                self.number(f"attention.{each}_length_swa", usual) for each, usual in (("key", key), ("value", value))
            )
        return groups * sum(lengths)

    def span(self) -> int:
        """Tokens of the sliding window."""
        return _CHUNKED.get(self._architecture) or self.number("attention.sliding_window", 0)

    def sliding_layers(self, layers: int) -> set[int]:
        """The layers that look back over a sliding window only."""
        if not self.span():
            return set()
        key = "attention.sliding_window_pattern"
        listed = self._lists.get(f"{self._architecture}.{key}", ())
        if listed:
            return {layer for layer, slides in enumerate(listed[:layers]) if slides}
        usual = _SLIDING_PERIODS.get(self._architecture, 0)
        period = self.number(key, abs(usual))
        full = 0 if usual < 0 else period - 1
        return {layer for layer in range(layers) if period and layer % period != full}

    def recurrent_layers(self, layers: int) -> set[int]:
        """The layers that keep a state."""
        if self._architecture in (*_RECURRENT, *_WITH_BOTH):
            return set(range(layers))
        usual = _FULL_ATTENTION_INTERVAL.get(self._architecture, 0)
        if usual:
            interval = self.number("full_attention_interval", usual)
            return {layer for layer in range(layers) if (layer + 1) % interval}
        if not self.state_values():
            return set()
        groups = self._lists.get(f"{self._architecture}.attention.head_count_kv", ())
        return {layer for layer, count in enumerate(groups[:layers]) if not count}

    def layers_with_cache(self, layers: int) -> int:
        """How many layers from the first on have a cache of their own."""
        shared = self.number("attention.shared_kv_layers", 0)
        return layers - shared if shared else _LAYERS_WITH_CACHE.get(self._architecture, layers)

    def state_values(self) -> int:
        """Numbers that a recurrent layer keeps."""
        width = self.number("embedding_length", 4096)
        if head := self.number("wkv.head_size", 0):
            return self.number("token_shift_count", 2) * width + width * head
        if short := self.number("shortconv.l_cache", 0):
            return width * (short - 1)
        inner, state = self.number("ssm.inner_size", 0), self.number("ssm.state_size", 0)
        history = max(self.number("ssm.conv_kernel", 0) - 1, 0)
        return history * (inner + 2 * self.number("ssm.group_count", 0) * state) + inner * state
