"""One sample: a prompt, what was sampled for it, and all that a trainer must know of how."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from antiphon.api.conversation import Sampling


class Sampled(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one prompt. `prompt` and `output` are ids; of the output, `sampled` says which were sampled and not
    put there by the server, and `logprobs` are natural logarithms (None: not known). `grammar` says that one shaped the
    sample, `stop` why it ended. `changed` is what had changed since the conversation's last prompt, as far as that is
    known; `label` is the client's word for the rollout. The model's weights were `loaded` then, in Unix seconds (None:
    when the recorder began); `spelled` are the bytes of each id, of the prompt and then of the output, if its text is
    to be kept."""

    conversation: str
    model: str
    prompt: Sequence[int]
    output: Sequence[int]
    sampled: Sequence[bool]
    logprobs: Sequence[float | None]
    sampling: Sampling
    stop: str
    grammar: bool = False
    label: str = ""
    request: str = ""
    message: str = ""
    changed: str = ""
    loaded: float | None = None
    spelled: Sequence[bytes] = ()


class StoredSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A sample as it is written. It begins with the first `shared` tokens of the sequence (prompt and output) of its
    `parent`, an earlier line's number (none: it begins a tree); `more` follow in its prompt. `begun` is when the model
    was loaded and `at` when the sample was whole, in Unix seconds. `broken` says why a sample does not go on from the
    whole of its parent's sequence: `retry` for the same prompt once more, or what had changed. `more_text` and
    `output_text` are what these ids spell, where text is kept."""

    model: str
    more: Sequence[int]
    output: Sequence[int]
    sampled: Sequence[bool]
    logprobs: Sequence[float | None]
    sampling: Sampling
    stop: str
    at: float
    begun: float
    parent: int | None = None
    shared: int = 0
    broken: str = ""
    grammar: bool = False
    label: str = ""
    request: str = ""
    message: str = ""
    more_text: str = ""
    output_text: str = ""


class Reward(msgspec.Struct, frozen=True):
    """A number that a rollout was given."""

    label: str
    reward: float
    at: float
