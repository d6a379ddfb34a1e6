"""The models that are known by a short name."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from antiphon.engines.models import catalogue, model_store
from antiphon.engines.models.catalogue import ModelFacts
from antiphon.engines.models.model_store import ModelUnavailable
from antiphon.parsing.formats import format_named, reasoning_named

KNOWN = catalogue.packaged()


@pytest.mark.parametrize("model", KNOWN.model, ids=lambda model: model.name)
def test_the_facts_of_a_model_can_be(model: ModelFacts) -> None:
    """Its formats are ones that are parsed here; its files, of which none is there twice, have the size that so many
    parameters take in so many bits; of a mixture of experts, a part is active."""
    assert format_named(model.tools)
    assert reasoning_named(model.reasoning)
    assert len({file.quantisation for file in model.files}) == len({file.file for file in model.files})
    for file in model.files:
        assert 4 <= file.bytes * 8 / (model.parameters * 1e9) <= 9
        assert file.quantisation in file.file
        assert model_store._on_hub(model.reference(file)) == (model.hub, file.file)
    assert 0 <= model.active < model.parameters
    assert model.window >= 32768


def test_a_short_name_means_its_first_file_or_the_one_that_is_said() -> None:
    """Capitals do not matter, and no other quantisation is taken for the one that is asked for."""
    model, file = KNOWN.find("Qwen3-Coder-30B-A3B") or pytest.fail("it is not known")
    assert file is model.files[0]
    assert (KNOWN.find("qwen3-coder-30b-a3b:q6_k") or pytest.fail("it is not known"))[1].quantisation == "Q6_K"
    assert KNOWN.find("qwen3-coder-30b-a3b:Q2_K") is None


@pytest.mark.parametrize("path", ["m.gguf", "folder/m", "./m", "~/m", "hf:o/r:m.gguf", "vllm+http://host:1", ""])
def test_what_else_names_a_model_is_no_short_name(path: str) -> None:
    """Paths, hub references and engines stay what they are."""
    assert not catalogue.is_short(path)


def test_a_name_that_nobody_knows_is_told_with_those_that_are_near(tmp_path: Path) -> None:
    """The error says what may have been meant."""
    with pytest.raises(ModelUnavailable, match="did you mean qwen3-8b"):
        model_store.present("qwen-8b", tmp_path)


def changed(date: str, name: str = "new-model") -> bytes:
    """A catalogue of one model."""
    return (
        f'date = {date}\n[[model]]\nname = "{name}"\ntitle = "New"\nhub = "o/r"\nlicence = "MIT"\nuses = ["chat"]\n'
        'parameters = 1\nwindow = 32768\ncache_bytes = 1000\ntools = "hermes"\n'
        'files = [{ quantisation = "Q8_0", file = "new-Q8_0.gguf", bytes = 1000000000 }]\n'
    ).encode()


def test_the_newer_catalogue_is_in_force(tmp_path: Path) -> None:
    """One from the network replaces the package's unless it is older; one that is broken changes nothing."""
    newer = (KNOWN.date + datetime.timedelta(days=1)).isoformat()
    assert catalogue.update(tmp_path, changed(newer)).find("new-model")
    assert catalogue.load(tmp_path).find("new-model")
    with pytest.raises(ValueError, match="older than the one in force"):
        catalogue.update(tmp_path, changed("2020-01-01"))
    for broken in (b"\xff", b"date = 1", changed(newer, name="../up"), changed(newer) + changed(newer)[18:]):
        with pytest.raises(ValueError, match="not a catalogue of models"):
            catalogue.update(tmp_path, broken)
    catalogue.place(tmp_path).write_bytes(b"\x00")
    assert catalogue.load(tmp_path) is KNOWN
