"""Random weights for a configuration: `python -m bench.gpu.weights SOURCE FOLDER`. The tokenizer is copied."""

from __future__ import annotations

import shutil
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM


def main() -> None:
    """Make them."""
    source, folder = sys.argv[1:]
    shutil.copytree(source, folder)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(source), dtype=torch.bfloat16).save_pretrained(folder)


if __name__ == "__main__":
    main()
