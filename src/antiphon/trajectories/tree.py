"""The samples of a conversation, put together: each goes on from the one that it has most in common with."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

import msgspec

from antiphon.trajectories.sample import StoredSample

ENDED_OTHERWISE = "ended_otherwise"
"""Why a sample breaks with its parent whose last token alone is another in the prompt: the one that ended the turn. A
trajectory goes on over it. (llama.cpp lets a grammar end with one of the model's end tokens only, be it the template's
or not.)"""
_WIDTH = array("i").itemsize

Each = TypeVar("Each")


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A sample in its tree. Of its sequence, which is its prompt and its output, it holds only what is not its
    `parent`'s, also `packed`: a long conversation would be held once for each of its turns. The first `prompt` ids of
    the sequence were its prompt; `first` are so many ids before anything was sampled in its tree."""

    number: int
    line: StoredSample
    parent: Node | None
    prompt: int
    first: int
    packed: bytes

    @property
    def length(self) -> int:
        """How many ids the sequence has."""
        return self.prompt + len(self.line.output)

    @property
    def ids(self) -> list[int]:
        """The sequence."""
        return self._whole(lambda line: [*line.more, *line.output])

    @property
    def sampled(self) -> list[bool]:
        """Which of the ids were sampled."""
        return self._whole(lambda line: [*([False] * len(line.more)), *line.sampled])

    @property
    def logprobs(self) -> list[float | None]:
        """Their log-probabilities; None where there is none."""
        return self._whole(lambda line: [*([None] * len(line.more)), *line.logprobs])

    @property
    def path(self) -> list[Node]:
        """The sample and those before it, the first one first."""
        nodes = [self]
        while parent := nodes[-1].parent:
            nodes.append(parent)
        return nodes[::-1]

    def _whole(self, own: Callable[[StoredSample], list[Each]]) -> list[Each]:
        """What a sample has of its own, behind what it shares of those before it."""
        parts, end = list[list[Each]](), self.length
        for node in reversed(self.path):
            start = node.line.shared
            if start < end:
                parts.append(own(node.line)[: end - start])
                end = start
        return list(chain.from_iterable(reversed(parts)))


class Tree:
    """The tree of one conversation, or several beside one another."""

    def __init__(self, lines: Iterable[StoredSample] = ()) -> None:
        self.nodes: list[Node] = []
        for line in lines:
            self.add(line)

    def add(self, line: StoredSample) -> Node:
        """Take the next sample in."""
        parent = None if line.parent is None else self.nodes[line.parent]
        prompt = line.shared + len(line.more)
        node = Node(
            number=len(self.nodes),
            line=line,
            parent=parent,
            prompt=prompt,
            first=parent.first if parent and line.shared > parent.first else prompt,
            packed=_packed([*line.more, *line.output]),
        )
        self.nodes.append(node)
        return node

    def nearest(self, prompt: Sequence[int]) -> tuple[Node | None, int]:
        """The sample whose sequence has most in common with a prompt, the first of several, and how many ids that
        is."""
        packed, common = _packed(prompt), list[int]()
        best, most = None, 0
        for node in self.nodes:
            same = common[node.parent.number] if node.parent else 0
            if same >= node.line.shared:
                # The prompt has all that the sample shares of its parent.
                same = node.line.shared + _common(node.packed, packed, node.line.shared)
            common.append(same)
            if same > most:
                best, most = node, same
        return best, most

    def leaves(self) -> Iterator[Node]:
        """The samples that nothing goes on from, but for the token that ended them: each is a trajectory with all that
        came before it."""
        inner = {node.line.parent for node in self.nodes if node.line.broken in ("", ENDED_OTHERWISE)}
        return (node for node in self.nodes if node.number not in inner)


def _packed(ids: Sequence[int]) -> bytes:
    """Ids in a form in which long runs of them are compared at once."""
    return array("i", ids).tobytes()


def _common(own: bytes, prompt: bytes, start: int) -> int:
    """How many of one's ids are those of the prompt from the id `start` on."""
    rest = start * _WIDTH
    low, high = 0, min(len(own), len(prompt) - rest) // _WIDTH
    if prompt.startswith(own[: high * _WIDTH], rest):
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if prompt.startswith(own[low * _WIDTH : middle * _WIDTH], rest + low * _WIDTH):
            low = middle
        else:
            high = middle - 1
    return low
