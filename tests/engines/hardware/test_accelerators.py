"""Graphics processors that are there, used, or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.engines.hardware.accelerators import BUILDS, Present, Usable, present, unused


def device(folder: Path, vendor: str, kind: str) -> None:
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(vendor + "\n")
    (folder / "class").write_text(kind + "\n")


def test_graphics_processors_are_found(tmp_path: Path) -> None:
    """By the driver's own words where it is loaded, else by the bus; other devices and vendors are none."""
    pci, driver = tmp_path / "pci", tmp_path / "driver"
    device(pci / "1", "0x10de", "0x030200")
    device(pci / "2", "0x10de", "0x040300")  # its sound
    device(pci / "3", "0x1a03", "0x030000")  # a board's console
    device(pci / "4", "0x1002", "0x038000")
    assert present(pci, driver) == [Present("NVIDIA", "NVIDIA GPU"), Present("AMD", "AMD GPU")]
    (driver / "0000:01:00.0").mkdir(parents=True)
    (driver / "0000:01:00.0" / "information").write_text("Model: \t\t NVIDIA L4\nIRQ: 1\n")
    assert present(pci, driver) == [Present("NVIDIA", "NVIDIA L4"), Present("AMD", "AMD GPU")]
    assert present(tmp_path / "nothing", tmp_path / "nothing") == []


def test_one_that_is_not_used_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is that of the vendor; where it is used, or there is none, nothing is said."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    found = unused([Present("NVIDIA", "NVIDIA L4")], [])
    assert found
    assert found.sentence.startswith("NVIDIA L4 is in this machine and is not used")
    assert found.install == BUILDS["NVIDIA"]
    assert unused([Present("NVIDIA", "NVIDIA L4")], [Usable("NVIDIA L4", 1)]) is None
    assert unused([], []) is None
