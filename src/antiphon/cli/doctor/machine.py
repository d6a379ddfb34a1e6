"""The machine: its processor, memory, disk and limits, and whether the embedded engine's library runs on it."""

from __future__ import annotations

import platform
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from antiphon.cli.doctor.finding import FAIL, FINE, NOTE, Finding
from antiphon.engines.hardware import accelerators
from antiphon.engines.hardware import machine as offers

_GIB = 1 << 30
_LITTLE_MEMORY, _LITTLE_DISK = 1 * _GIB, 1 * _GIB
_FEW_FILES = 1024
_LIBRARY = "xllamacpp"


def machine(cache: Path) -> Iterator[Finding]:
    """What the machine offers. `cache` is where models would be kept."""
    yield _processor()
    free = offers.free_bytes()
    detail = f"{free / _GIB:.1f} GiB free"
    if free < _LITTLE_MEMORY:
        yield Finding(
            "memory", NOTE, detail, "stop other programs, or serve a smaller model (--context-length, --parallel)"
        )
    else:
        yield Finding("memory", FINE, detail)
    yield _disk(cache)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    detail = "no limit" if files == resource.RLIM_INFINITY else f"{files} at once"
    if 0 <= files < _FEW_FILES:
        yield Finding("open files", NOTE, detail, "each stream takes two: raise it with ulimit -n 65536")
    else:
        yield Finding("open files", FINE, detail)
    library = _library()
    yield library
    if library.status == FINE:
        yield _accelerator()


def _processor() -> Finding:
    cores = offers.cores()
    detail = f"{platform.machine()}, {cores} core{'s' * (cores > 1)} for this process"
    flags = _flags()
    if flags and "avx2" not in flags:
        return Finding(
            "processor",
            FAIL,
            f"{detail}, without AVX2, which the embedded engine is built for",
            "attach an engine that was built for this processor: antiphon serve llama.cpp+http://host:8080",
        )
    if cores == 1:
        return Finding("processor", NOTE, detail, "engine and server share it; more cores serve faster")
    return Finding("processor", FINE, detail + (", AVX2" if flags else ""))


def _flags() -> set[str]:
    """What an x86 processor can do; nothing where that is not told."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())


def _disk(cache: Path) -> Finding:
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    detail = f"{free / _GIB:.1f} GiB free at {place}"
    if free < _LITTLE_DISK:
        return Finding(
            "disk", NOTE, detail, "models are kept there; make room, or choose another place with --cache-dir"
        )
    return Finding("disk", FINE, detail)


def _accelerator() -> Finding:
    """Whether a GPU that is there is used."""
    used, missing = accelerators.look()
    if missing:
        return Finding("GPU", NOTE, missing.sentence, missing.install)
    shown = (f"{each.name}, {each.free / _GIB:.1f} GiB free" for each in used)
    return Finding("GPU", FINE, "; ".join(shown) or "none that there is a build of the engine for")


def _library() -> Finding:
    """The engine's library is loaded in a process of its own, which it may take down."""
    try:
        detail = f"{_LIBRARY} {version(_LIBRARY)}"
    except PackageNotFoundError:
        return Finding("embedded engine", FAIL, f"{_LIBRARY} is not installed", "install it: pip install antiphon")
    done = subprocess.run([sys.executable, "-c", f"import {_LIBRARY}"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return Finding("embedded engine", FINE, detail)
    reason = signal.strsignal(-done.returncode) if done.returncode < 0 else (done.stderr.splitlines() or ["?"])[-1]
    remedy = "install it again: pip install --force-reinstall " + _LIBRARY
    return Finding("embedded engine", FAIL, f"{detail} cannot be loaded: {reason}", remedy)
