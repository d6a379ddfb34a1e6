"""Exported trajectories as trainers hold them: `python read_back.py TRL.jsonl VERL.parquet`.

Run by an environment that has TRL and verl. Printed is, as JSON, what each would learn of every trajectory, in the
order of the files: TRL the tokens, verl these with their log-probabilities, and the reward."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pyarrow import parquet
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling
from verl.experimental.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics

IGNORED = -100


def by_trl(file: Path) -> list[list[int]]:
    """The tokens of each trajectory that a batch has as labels."""
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    examples = []
    for row in rows:
        own = [id if mine else IGNORED for id, mine in zip(row["completion_ids"], row["env_mask"], strict=True)]
        prompt = row["prompt_ids"]
        examples.append({"input_ids": prompt + row["completion_ids"], "labels": [IGNORED] * len(prompt) + own})
    batch = DataCollatorForLanguageModeling(pad_token_id=0)(examples)
    return [labels[labels != IGNORED].tolist() for labels in batch["labels"]]


def by_verl(file: Path) -> list[tuple[list[int], list[float], float]]:
    """The tokens of each trajectory that its agent loop's output masks in, their log-probabilities, and the reward."""
    told = []
    for row in parquet.read_table(file).to_pylist():
        output: dict[str, Any] = AgentLoopOutput(**row, metrics=AgentLoopMetrics()).as_dict()
        own = output["response_mask"].bool()
        reward = float(output["rm_scores"].sum()) if "rm_scores" in output else 0.0
        told.append((output["responses"][own].tolist(), output["rollout_log_probs"][own].tolist(), reward))
    return told


if __name__ == "__main__":
    print(json.dumps({"trl": by_trl(Path(sys.argv[1])), "verl": by_verl(Path(sys.argv[2]))}))
