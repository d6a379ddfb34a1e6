"""A small tokenizer, one token a byte, in the files that Hugging Face lays out."""

from __future__ import annotations

import json
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from antiphon.engines.scripted import TEMPLATE

CONTROL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>")
MARKERS = ("<tool_call>", "</tool_call>", "<think>", "</think>")
WINDOW = 2048


def write(folder: Path) -> Path:
    """The files, in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = tokenizers.Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in CONTROL])
    # As in Qwen's vocabulary: found in text as a whole, but shown like any other.
    tokenizer.add_tokens([AddedToken(text, special=False) for text in MARKERS])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"eos_token": {"content": "<|im_end|>"}, "bos_token": None, "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": WINDOW}))
    return folder
