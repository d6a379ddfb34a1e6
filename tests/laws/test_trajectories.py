"""Trajectory law, over every bundled chat template: what is recorded is what the engine was given and what it gave, and
each sampled run stands unchanged in the next prompt, or the record says why not."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.api.reply import ToolBlock
from antiphon.engines.scripted import Scripted
from antiphon.serving.model import Choices
from antiphon.serving.service import Service
from antiphon.serving.token_model import load
from antiphon.trajectories.recorder import Recorder, conversations
from antiphon.trajectories.shapes import rows
from antiphon.trajectories.tree import Tree
from tests.laws.growing import Style, Talk, text, tool
from tests.laws.test_prefix_templates import FORGETFUL, NAMES, REPLIES, UNTOLD, script, written


async def recorded(name: str, choices: Choices, folder: Path, styles: list[Style]) -> tuple[Talk, Tree]:
    """A conversation of every kind of reply, its history written in these ways, and its record."""
    engine = Scripted(script(name))
    model = await load(engine, choices)
    talk = Talk(Service([model], recorder=Recorder(folder, 1 << 30)), engine, [tool("look"), tool("other")])
    got = None
    for said, style in zip(REPLIES, styles, strict=True):
        calls = got is not None and any(isinstance(block, ToolBlock) for block in got.blocks)
        replying = {"model": written(model, *said), "style": style}
        got = await (talk.answer(got, **replying) if calls else talk.say(text("go on"), **replying))
    (tree,) = conversations(folder).values()
    return talk, tree


def check(talk: Talk, tree: Tree) -> None:
    """The record is what passed between here and the engine, and tells of every break."""
    assert len(tree.nodes) == len(talk.past)
    for node, (job, sampled, _) in zip(tree.nodes, talk.past, strict=True):
        assert list(node.ids) == [*job.prompt, *sampled]
        assert list(node.line.output) == sampled
        assert node.line.logprobs == [-(id % 1000) / 1000 for id in sampled]
        assert node.prompt == len(job.prompt)
    for before, node in pairwise(tree.nodes):
        goes_on = list(node.ids[: len(before.ids)]) == list(before.ids)
        assert goes_on == (not node.line.broken)
        assert not goes_on or list(node.sampled[: len(before.ids)]) == list(before.sampled)


STYLES = st.builds(
    Style,
    cut=st.sampled_from(["block", "string", "split"]),
    turned=st.booleans(),
    spaced=st.booleans(),
    thinking=st.booleans(),
    stripped=st.booleans(),
    system_as_string=st.booleans(),
)


@pytest.mark.parametrize("name", NAMES)
async def test_every_template_gives_one_trajectory(name: str, tmp_path: Path) -> None:
    """However a client writes its history, the record of a conversation is one trajectory that holds all that was
    sampled, each of it once; of the families whose templates allow none, it says where it breaks."""
    styles = [Style(), Style("string", turned=True), Style(), Style("split", spaced=True), Style(stripped=True)]
    talk, tree = await recorded(name, Choices(), tmp_path, styles)
    check(talk, tree)
    if name not in UNTOLD:
        (row,) = rows({"c": tree}, {}, "verl")
        ids = [id for id, own in zip(row["response_ids"], row["response_mask"], strict=True) if own]
        assert ids == [id for _, sampled, _ in talk.past for id in sampled]
        assert row["prompt_ids"] == list(talk.past[0][0].prompt)


@pytest.mark.parametrize("name", FORGETFUL)
async def test_what_a_template_forgets_is_told(name: str, tmp_path: Path) -> None:
    """Where the template's own way with old thoughts is asked for, a run that no longer stands is a break."""
    talk, tree = await recorded(name, Choices(history_thinking="template"), tmp_path, [Style()] * len(REPLIES))
    check(talk, tree)
    assert any(node.line.broken for node in tree.nodes)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(NAMES), styles=st.lists(STYLES, min_size=len(REPLIES), max_size=len(REPLIES)))
async def test_however_history_is_written(
    name: str, styles: list[Style], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Over templates and ways of writing drawn at will."""
    check(*await recorded(name, Choices(), tmp_path_factory.mktemp("record"), styles))
