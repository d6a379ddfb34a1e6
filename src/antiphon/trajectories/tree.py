"""The samples of a conversation, put together: each goes on from the one that it has most in common with."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from antiphon.trajectories.sample import StoredSample

ENDED_OTHERWISE = "ended_otherwise"
"""Why a sample breaks with its parent whose last token alone is another in the prompt: the one that ended the turn. A
trajectory goes on over it. (llama.cpp lets a grammar end with one of the model's end tokens only, be it the template's
or not.)"""
_WIDTH = array("i").itemsize


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A sample with its whole sequence: its ids, which of them were sampled, and their log-probabilities. The first
    `prompt` of the ids were its prompt. `first` are so many ids before anything was sampled in its tree."""

    number: int
    line: StoredSample
    ids: Sequence[int]
    sampled: Sequence[bool]
    logprobs: Sequence[float | None]
    prompt: int
    first: int
    packed: bytes


class Tree:
    """The tree of one conversation, or several beside one another."""

    def __init__(self, lines: Iterable[StoredSample] = ()) -> None:
        self.nodes: list[Node] = []
        for line in lines:
            self.add(line)

    def add(self, line: StoredSample) -> Node:
        """Take the next sample in."""
        parent = None if line.parent is None else self.nodes[line.parent]
        ids = [*(parent.ids[: line.shared] if parent else ()), *line.more, *line.output]
        before = [False] * len(line.more)
        node = Node(
            number=len(self.nodes),
            line=line,
            ids=ids,
            sampled=[*(parent.sampled[: line.shared] if parent else ()), *before, *line.sampled],
            logprobs=[*(parent.logprobs[: line.shared] if parent else ()), *([None] * len(before)), *line.logprobs],
            prompt=len(ids) - len(line.output),
            packed=_packed(ids),
            first=parent.first if parent and line.shared > parent.first else len(ids) - len(line.output),
        )
        self.nodes.append(node)
        return node

    def nearest(self, prompt: Sequence[int]) -> tuple[Node | None, int]:
        """The sample whose sequence has most in common with a prompt, the first of several, and how many ids that
        is."""
        packed, best, most = _packed(prompt), None, 0
        for node in self.nodes:
            same = _common(node.packed, packed)
            if same > most:
                best, most = node, same
        return best, most

    def leaves(self) -> Iterator[Node]:
        """The samples that nothing goes on from, but for the token that ended them: each is a trajectory with all that
        came before it."""
        inner = {node.line.parent for node in self.nodes if node.line.broken in ("", ENDED_OTHERWISE)}
        return (node for node in self.nodes if node.number not in inner)

    def path(self, node: Node) -> list[Node]:
        """A sample and those before it, the first one first."""
        nodes = [node]
        while (parent := nodes[-1].line.parent) is not None:
            nodes.append(self.nodes[parent])
        return nodes[::-1]


def _packed(ids: Sequence[int]) -> bytes:
    """Ids in a form in which long runs of them are compared at once."""
    return array("i", ids).tobytes()


def _common(one: bytes, other: bytes) -> int:
    """How many leading ids are the same."""
    low, high = 0, min(len(one), len(other)) // _WIDTH
    if one.startswith(other[: high * _WIDTH]):
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if one[low * _WIDTH : middle * _WIDTH] == other[low * _WIDTH : middle * _WIDTH]:
            low = middle
        else:
            high = middle - 1
    return low
