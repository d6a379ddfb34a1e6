"""A model's vocabulary as a file of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.engines.models import gguf, model_store, vocabulary_file
from antiphon.settings.fields import Settings


def test_a_vocabulary_says_of_itself_what_its_model_does(tmp_path: Path) -> None:
    """Name, chat template, control tokens and the tokens that begin and end a turn stay, in a fortieth of the size.
    (That the engine tokenises with it as with the model is checked at each load, so also where models come and go.)"""
    model = model_store.default_model(Path(Settings().cache_dir))
    target = tmp_path / "vocabulary.gguf"
    vocabulary_file.write(model, target)
    before, after = gguf.read(model), gguf.read(target)
    for field in ("name", "chat_templates", "special_tokens", "bos_token", "eos_token", "add_bos"):
        assert getattr(after, field) == getattr(before, field)
    assert gguf.read_vocabulary(target) == gguf.read_vocabulary(model)
    assert target.stat().st_size < model.stat().st_size / 30


def test_a_file_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    """A projector has none."""
    from tests.engines import gguf_files

    file = tmp_path / "projector.gguf"
    gguf_files.write(file, {"general.architecture": "clip"}, {})
    with pytest.raises(ValueError, match="holds no vocabulary"):
        vocabulary_file.write(file, tmp_path / "vocabulary.gguf")
