"""Graphics processors: those in the machine, those that the embedded engine can use, and what to install otherwise."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import msgspec

_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD"}
_PCI, _NVIDIA = Path("/sys/bus/pci/devices"), Path("/proc/driver/nvidia/gpus")
_DISPLAY = "0x03"
_ASK = """
import json, xllamacpp
processor = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
print(json.dumps([
    {"name": each["description"] or each["name"], "free": each["memory_free"]}
    for each in xllamacpp.get_device_info() if each["type"] != processor
]))
"""
_PATIENCE = 60.0

_INSTALL = "pip install --force-reinstall xllamacpp -i INDEX (INDEX is named for {} by xllamacpp's own page)"
BUILDS = {
    "NVIDIA": _INSTALL.format("CUDA 12.8"),
    "AMD": _INSTALL.format("ROCm 6.4"),
    "any": _INSTALL.format("Vulkan"),
}
"""How the engine's build for each vendor is installed. The addresses of its indexes are xllamacpp's to tell."""


class Present(msgspec.Struct, frozen=True):
    """A graphics processor in the machine: `vendor` (`NVIDIA`, `AMD`) and what it is called, as far as is known."""

    vendor: str
    name: str


class Usable(msgspec.Struct, frozen=True):
    """One that the engine can use: its name, and how many bytes of memory are free there."""

    name: str
    free: int


def present(pci: Path = _PCI, nvidia: Path = _NVIDIA) -> list[Present]:
    """Those in the machine that there is a build of the engine for."""
    cards = [Present("NVIDIA", _model(file)) for file in sorted(nvidia.glob("*/information"))]
    for device in sorted(pci.glob("*")):
        try:
            vendor = _VENDORS.get((device / "vendor").read_text().strip(), "")
            display = (device / "class").read_text().startswith(_DISPLAY)
        except OSError:
            continue
        # The driver knows its own better.
        if vendor and display and not (vendor == "NVIDIA" and cards):
            cards.append(Present(vendor, f"{vendor} GPU"))
    return cards


def _model(information: Path) -> str:
    try:
        lines = information.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("Model"))
    return next(named, "NVIDIA GPU")


def usable() -> list[Usable]:
    """Those that the engine's library sees. It is asked in a process of its own, which it may take down."""
    try:
        done = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, timeout=_PATIENCE, check=False)
        return msgspec.json.decode(done.stdout, type=list[Usable]) if done.returncode == 0 else []
    except (OSError, subprocess.TimeoutExpired, msgspec.MsgspecError):
        return []


class Unused(msgspec.Struct, frozen=True):
    """A GPU that is there and not used, in a sentence, and the command that installs the build of the engine for it."""

    sentence: str
    install: str


def unused(there: list[Present], used: list[Usable]) -> Unused | None:
    """What to say of a GPU that is there and not used; None where all is well."""
    if not there or used:
        return None
    names = ", ".join(sorted({each.name for each in there}))
    vendor = there[0].vendor if platform.machine() == "x86_64" else "any"
    sentence = f"{names} is in this machine and is not used: the embedded engine's build is for processors only"
    return Unused(sentence, BUILDS[vendor])


def look() -> tuple[list[Usable], Unused | None]:
    """What the engine uses on this machine, and what there is to say of what it does not. Its library, which takes a
    second to ask, is asked only where there may be something."""
    there = present()
    used = usable() if there or sys.platform != "linux" else []
    return used, unused(there, used)
