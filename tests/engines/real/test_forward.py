"""Log-probabilities beside those of a plain forward pass of transformers over the same ids and the same weights."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import pytest

from tests.end_to_end.conftest import Server
from tests.end_to_end.test_real_model import message, user
from tests.engines.cases import DTYPE, REAL, TOKENIZER
from tests.engines.real import environments

pytestmark = pytest.mark.skipif(
    not REAL.startswith(("vllm", "sglang")), reason="of `make engines-real` for vllm and sglang, which run the model"
)

STORIES = ("the sea", "a lamp", "two ships", "a long winter")


class Sample(NamedTuple):
    """The ids of a prompt and of what was sampled for it, and the log-probabilities of the latter as they were told."""

    ids: list[int]
    logprobs: list[float]


def sampled(server: Server) -> list[Sample]:
    """A story about each subject."""
    samples = []
    for about in STORIES:
        asked = {"messages": [user(f"Write a story about {about}.")], "return_token_ids": True, "return_logprob": True}
        reply = message(server, max_tokens=100, temperature=1.0, **asked)
        logprobs = [logprob for logprob, _ in reply["output_token_logprobs"]]
        samples.append(Sample([*reply["prompt_token_ids"], *reply["output_ids"]], logprobs))
    return samples


def told(samples: Sequence[Sample]) -> list[float]:
    """The log-probabilities of all that was sampled, as the server told them."""
    return [logprob for sample in samples for logprob in sample.logprobs]


def forward(samples: Sequence[Sample], dtype: str) -> list[float]:
    """The same by the plain forward pass, computed in `dtype`."""
    name = REAL.partition("+")[0]
    command = [environments.python(name), Path(environments.__file__).with_name("forward.py"), TOKENIZER, dtype]
    sequences = json.dumps([sample.ids for sample in samples])
    run = subprocess.run(command, input=sequences, capture_output=True, text=True, check=True)
    whole: list[list[float]] = json.loads(run.stdout)
    return [x for sample, found in zip(samples, whole, strict=True) for x in found[-len(sample.logprobs) :]]


def distance(some: Sequence[float], others: Sequence[float]) -> float:
    """The mean absolute difference."""
    return fmean(abs(a - b) for a, b in zip(some, others, strict=True))


@pytest.mark.skipif(DTYPE != "float32", reason="of servers that compute in float32")
def test_a_server_in_float32(before: Server) -> None:
    """It tells what the forward pass gives, but for the last digits."""
    samples = sampled(before)
    found = distance(told(samples), forward(samples, "float32"))
    print(f"\n{len(told(samples))} tokens in float32: {found:.7f}")
    assert found < 0.001


@pytest.mark.skipif(DTYPE != "bfloat16", reason="of servers that compute in bfloat16")
def test_a_server_in_bfloat16(before: Server) -> None:
    """It is as near to the exact forward pass as one of transformers in bfloat16 is. These two are farther from each
    other than either is from it: each rounds in its own places."""
    samples = sampled(before)
    exact, rounded = forward(samples, "float32"), forward(samples, "bfloat16")
    ours, theirs = distance(told(samples), exact), distance(rounded, exact)
    apart = distance(told(samples), rounded)
    print(f"\n{len(exact)} tokens in bfloat16: {ours:.4f} from exact, transformers {theirs:.4f}, apart {apart:.4f}")
    assert ours < 1.3 * theirs


def test_the_embedded_engine(embedded: Server) -> None:
    """It computes with quantised numbers."""
    samples = sampled(embedded)
    found = distance(told(samples), forward(samples, "float32"))
    print(f"\n{len(told(samples))} tokens of the embedded engine: {found:.4f}")
    assert found < 0.1
