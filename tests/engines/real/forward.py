"""Log-probabilities by a plain forward pass: `python forward.py FOLDER DTYPE`, sequences of ids on standard input.

Run by an environment that has PyTorch and transformers. `FOLDER` has the model, `DTYPE` is what it computes in. The
input is a JSON list of sequences; printed is, for each, the natural logarithm of each id's probability but the first's.
"""

from __future__ import annotations

import json
import sys

import torch
from transformers import AutoModelForCausalLM


def main() -> None:
    """Compute."""
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=sys.argv[2]).eval()
    found = []
    with torch.inference_mode():
        for ids in json.load(sys.stdin):
            sequence = torch.tensor([ids])
            scores = model(sequence).logits[0, :-1].float().log_softmax(-1)
            found.append(scores.gather(1, sequence[0, 1:, None])[:, 0].tolist())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
