"""Tokenizer files: what they leave lying about changes no prompt."""

from __future__ import annotations

from pathlib import Path

import tokenizers

from antiphon.engines.models import tokenizer_files
from tests.engines import vocabulary


async def test_padding_and_truncation_left_by_training(tmp_path: Path) -> None:
    """Files saved with padding and truncation on give the same ids as files without, also of several segments."""
    segments = ["a", "a longer text, " * 20, "<tool", "_call>"]
    plain = await tokenizer_files.read(vocabulary.write(tmp_path)).tokenise(segments)
    file = str(tmp_path / "tokenizer.json")
    left = tokenizers.Tokenizer.from_file(file)
    left.enable_padding()
    left.enable_truncation(8)
    left.save(file)
    assert await tokenizer_files.read(tmp_path).tokenise(segments) == plain
    assert len(plain) == len("".join(segments))
