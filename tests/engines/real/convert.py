"""A GGUF file as a folder of safetensors and tokenizer files: `python convert.py model.gguf FOLDER WINDOW`.

Run by an environment that has PyTorch, transformers and gguf. The weights are those of the file, its quantisation
undone: what rounding lost stays lost.
"""

from __future__ import annotations

import sys
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def main() -> None:
    """Convert."""
    file, folder = Path(sys.argv[1]), sys.argv[2]
    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    whole = AutoModelForCausalLM.from_pretrained(
        **source, quantization_config=GgufConfig(dequantize=True), dtype="bfloat16"
    )
    whole.config.max_position_embeddings = int(sys.argv[3])
    whole.save_pretrained(folder)


if __name__ == "__main__":
    main()
