"""Trajectories in the shapes that trainers read: verl's (`AgentLoopOutput`) and TRL's (what a `rollout_func` gives)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from antiphon.trajectories.tree import Node, Tree

Shape = Literal["verl", "trl"]

NAMES: dict[Shape, tuple[str, str, str, str, str]] = {
    "verl": ("prompt_ids", "response_ids", "response_mask", "response_logprobs", "reward_score"),
    "trl": ("prompt_ids", "completion_ids", "env_mask", "logprobs", "reward"),
}
"""What the ids before the first sample, those from there on, their mask, their log-probabilities and the reward are
called. (verl 0.9, `AgentLoopOutput`.)"""


def rows(trees: Mapping[str, Tree], rewards: Mapping[str, float], shape: Shape) -> Iterator[dict[str, Any]]:
    """A row for each trajectory. The mask is 1 where a token was sampled and its log-probability is known, and only
    there this counts; elsewhere it is 0."""
    for name, tree in trees.items():
        for leaf in tree.leaves():
            yield _row(name, leaf, rewards, shape)


def _row(name: str, leaf: Node, rewards: Mapping[str, float], shape: Shape) -> dict[str, Any]:
    prompt, response, mask, logprobs, reward = NAMES[shape]
    start, path, ids, scores = leaf.first, leaf.path, leaf.ids, leaf.logprobs
    known = [own and score is not None for own, score in zip(leaf.sampled, scores, strict=True)]
    return {
        prompt: ids[:start],
        response: ids[start:],
        mask: [int(each) for each in known[start:]],
        logprobs: [
            score if own and score is not None and math.isfinite(score) else 0.0
            for own, score in zip(known[start:], scores[start:], strict=True)
        ],
        reward: rewards.get(leaf.line.label),
        "label": leaf.line.label,
        "conversation": name,
        "model": leaf.line.model,
        "model_loaded": leaf.line.begun,
        "stop_reasons": [node.line.stop for node in path],
        "message_ids": [node.line.message for node in path],
        "request_ids": [node.line.request for node in path],
        "broken": [node.line.broken for node in path],
        "grammar": [node.line.grammar for node in path],
        "prompt_texts": [node.line.more_text for node in path],
        "output_texts": [node.line.output_text for node in path],
    }
