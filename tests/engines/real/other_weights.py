"""A model's folder with other weights: `python other_weights.py FOLDER OTHER`. What it says with them is nonsense."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file


def main() -> None:
    """Copy, and turn the last layer's sign."""
    folder, other = Path(sys.argv[1]), Path(sys.argv[2])
    shutil.copytree(folder, other)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = -weights["model.norm.weight"]
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
