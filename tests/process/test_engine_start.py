"""What is said and refused before any engine is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.engines.embedded import Launch
from antiphon.engines.hardware import accelerators
from antiphon.engines.hardware.accelerators import Unused
from antiphon.engines.models.model_store import ModelUnavailable
from antiphon.process import engine_launches
from antiphon.process.engine_launches import Planned
from antiphon.process.engine_start import EngineStarter
from antiphon.process.worker_state_owner import WorkerStateOwner
from antiphon.settings.fields import Settings
from antiphon.settings.model_fields import ModelSettings

MISSING = Unused("NVIDIA L4 is in this machine and is not used", "pip install the build")


class _EngineBegan(Exception):
    """An engine would be started now."""


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> dict[str, Planned]:
    """What is planned: one model, until a test adds others. The machine has a GPU that is not used."""
    plans = {"a": _planned("a")}
    monkeypatch.setattr(engine_launches, "plan", lambda settings: plans)
    monkeypatch.setattr(accelerators, "look", lambda: ([], MISSING))
    return plans


def _planned(name: str, gpu_layers: int = -1) -> Planned:
    launch = Launch(model=name, name=name, window=1, gpu_layers=gpu_layers)
    return Planned(launch, "", None, windows_bytes=1, needed_bytes=1)


def _started(folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said by the time at which the first engine begins."""

    def begin(self: EngineStarter, launch: Launch) -> None:
        raise _EngineBegan

    monkeypatch.setattr(EngineStarter, "_process", begin)
    said: list[str] = []
    sharing = WorkerStateOwner(folder)
    starter = EngineStarter(settings, sharing, said.append)
    try:
        with pytest.raises(_EngineBegan):
            starter.start()
    finally:
        starter.stop()
        sharing.close()
    return said


def test_a_gpu_that_is_not_used_is_told_first(
    planned: dict[str, Planned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to install, before any model is loaded; not where all layers are on the processor by choice."""
    settings = Settings(models={"a": ModelSettings(model="a")})
    assert (
        _started(tmp_path, settings, monkeypatch)[0]
        == f"{MISSING.sentence}\n  install the build for it: {MISSING.install}"
    )
    planned["a"] = _planned("a", gpu_layers=0)
    assert _started(tmp_path, settings, monkeypatch) == []


def test_models_that_stay_leave_room_for_the_others(planned: dict[str, Planned], tmp_path: Path) -> None:
    """Where as many are pinned as may be loaded, no other could ever be."""
    planned["b"] = _planned("b")
    models = {"a": ModelSettings(model="a", keep_alive=-1), "b": ModelSettings(model="b")}
    sharing = WorkerStateOwner(tmp_path)
    starter = EngineStarter(Settings(models=models, max_loaded=1), sharing, print)
    try:
        with pytest.raises(ModelUnavailable, match="leave no room for the others"):
            starter.start()
    finally:
        starter.stop()
        sharing.close()
