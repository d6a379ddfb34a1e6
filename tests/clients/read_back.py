"""Exported trajectories as TRL batches them for training: `python read_back.py FILE`, of `--shape trl` as JSON lines.

Run by an environment that has TRL. Printed is, as JSON, how many trajectories the batch has, how long it is, and of how
many tokens TRL would learn."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

IGNORED = -100


def main() -> None:
    """Read, and let TRL make a batch of it."""
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text("utf-8").splitlines()]
    examples = []
    for row in rows:
        own = [id if mine else IGNORED for id, mine in zip(row["completion_ids"], row["env_mask"], strict=True)]
        prompt = row["prompt_ids"]
        examples.append({"input_ids": prompt + row["completion_ids"], "labels": [IGNORED] * len(prompt) + own})
    batch = DataCollatorForLanguageModeling(pad_token_id=0)(examples)
    learnt = int((batch["labels"] != IGNORED).sum())
    print(json.dumps({"trajectories": len(rows), "longest": batch["input_ids"].shape[1], "learnt": learnt}))


if __name__ == "__main__":
    main()
