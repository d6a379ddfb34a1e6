"""Packs what a machine with a GPU and no network needs into .gpu/, which git ignores: `python -m bench.gpu.prepare`.

`wheels/` has LMDeploy and small packages for that machine's Python, `model/` a model's configuration and tokenizer. Its
weights are made over there, at random: speed and shapes do not depend on them, and 270 MB need not travel.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.engines.real import environments

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".gpu"
MOST = 60 * 2**20
"""Bytes that may travel."""
_GLIBC = (39, 35, 34, 31, 28, 27, 24, 17, 12, 5)
_COMPILED = ("lmdeploy/turbomind/", (".so", ".a"))
"""The TurboMind engine, a hundred megabytes packed. The PyTorch engine is Python and Triton, and does without."""


def fetch(version: str, folder: Path) -> None:
    """The wheels for this version of Python on x86-64 Linux. Raises CalledProcessError where one is not to be had."""
    platforms = [word for minor in _GLIBC for word in ("--platform", f"manylinux_2_{minor}_x86_64")]
    platforms += ["--platform", "manylinux2014_x86_64", "--platform", "manylinux1_x86_64"]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", version, "--implementation", "cp", *platforms]
    subprocess.run([*command, "--dest", str(folder), "--requirement", str(HERE / "wheels.txt")], check=True)


def strip(wheel: Path) -> None:
    """Leave the compiled engine out of LMDeploy's wheel, and out of its list of files."""
    small = wheel.with_suffix(".small")
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as kept:
        for name in whole.namelist():
            if _is_compiled(name):
                continue
            data = whole.read(name)
            if name.endswith(".dist-info/RECORD"):
                lines = data.decode().splitlines(keepends=True)
                data = "".join(line for line in lines if not _is_compiled(line.partition(",")[0])).encode()
            kept.writestr(name, data)
    small.replace(wheel)


def _is_compiled(name: str) -> bool:
    folder, endings = _COMPILED
    return name.startswith(folder) and name.endswith(endings)


def main() -> int:
    """The command: 0 when all of it is there and small enough."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--python", default="3.12", help="the version of Python over there")
    given = parser.parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    wheels = FOLDER / "wheels"
    wheels.mkdir(parents=True)
    fetch(given.python, wheels)
    strip(next(wheels.glob("lmdeploy-*.whl")))
    weights = shutil.ignore_patterns("*.safetensors")
    shutil.copytree(environments.model(environments.python("lmdeploy")), FOLDER / "model", ignore=weights)
    size = sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file())
    print(f"{FOLDER}: {size / 2**20:.1f} MB")
    return 0 if size <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
