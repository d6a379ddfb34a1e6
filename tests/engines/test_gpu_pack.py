"""What is packed for a machine with a GPU."""

from __future__ import annotations

import re
import tomllib
import zipfile
from pathlib import Path

from bench.gpu import prepare
from tests.engines.real.environments import BARE
from tests.engines.real.environments import HERE as REAL

ROOT = Path(__file__).parents[2]


def _pins(text: str) -> dict[str, str]:
    lines = (line.partition("==") for line in text.splitlines() if "==" in line and not line.startswith("#"))
    return {name.lower().replace("_", "-"): version for name, _, version in lines}


def test_versions_are_those_that_are_tested_here() -> None:
    """Each package has the version that runs here, before LMDeploy's scripted engine or in this server."""
    sources = (BARE["lmdeploy"], (REAL / "lmdeploy.txt").read_text(), (ROOT / "constraints.txt").read_text())
    here = [_pins(source) for source in sources]
    for name, version in _pins((prepare.HERE / "wheels.txt").read_text()).items():
        known = {pins[name] for pins in here if name in pins}
        assert not known or version in known, name


def test_what_antiphon_needs_is_packed() -> None:
    """Each dependency of this server travels, or is on a machine that trains models. The embedded engine stays here."""
    there = {"aiohttp", "click", "huggingface-hub", "jinja2", "pip", "rich", "tokenizers", "uvloop", "xllamacpp"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {re.split(r"[\s;\[<>=]", name)[0].lower().replace("_", "-") for name in project["dependencies"]}
    assert needed - there <= _pins((prepare.HERE / "wheels.txt").read_text()).keys()


def test_the_compiled_engine_stays_behind(tmp_path: Path) -> None:
    """Of LMDeploy's wheel all is kept but the compiled engine, in the list of its files too."""
    wheel = tmp_path / "lmdeploy-1.whl"
    kept = {"lmdeploy/turbomind/__init__.py": "a = 1\n", "lmdeploy/pytorch/engine.py": "b = 2\n"}
    left = {"lmdeploy/turbomind/_turbomind.so": "binary", "lmdeploy/turbomind/lib64/lib.a": "binary"}
    with zipfile.ZipFile(wheel, "w") as packed:
        for name, text in (kept | left).items():
            packed.writestr(name, text)
        packed.writestr("lmdeploy-1.dist-info/RECORD", "".join(f"{name},sha256=x,1\n" for name in kept | left))
    prepare.strip(wheel)
    with zipfile.ZipFile(wheel) as packed:
        assert set(packed.namelist()) == {*kept, "lmdeploy-1.dist-info/RECORD"}
        assert packed.read("lmdeploy-1.dist-info/RECORD").decode().splitlines() == [
            f"{name},sha256=x,1" for name in kept
        ]
