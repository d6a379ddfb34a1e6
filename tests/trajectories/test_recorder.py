"""What is recorded of rollouts: trees of samples on disk, bounded, for the owner alone; what trainers read of them."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from antiphon.api.conversation import Sampling
from antiphon.cli import main
from antiphon.trajectories.recorder import Recorder, conversations, rewards
from antiphon.trajectories.sample import Sampled
from antiphon.trajectories.shapes import NAMES, rows

IDS = st.lists(st.integers(0, 3), min_size=1, max_size=6)


def sample(prompt: Sequence[int], output: Sequence[int], **fields: Any) -> Sampled:
    given = {"conversation": "c", "model": "m", "sampling": Sampling(), "stop": "end_turn", **fields}
    logprobs = given.pop("logprobs", [-0.5] * len(output))
    sampled = given.pop("sampled", [True] * len(output))
    return Sampled(prompt=prompt, output=output, logprobs=logprobs, sampled=sampled, **given)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    """A recorder of up to a megabyte."""
    return Recorder(tmp_path / "record", 1 << 20)


async def test_a_growing_conversation_is_one_trajectory(recorder: Recorder, tmp_path: Path) -> None:
    """Turns that go on from one another are a single row; only what was sampled, and is known, is in its mask."""
    await recorder.record(sample([1, 2], [3, 4], message="msg_1", label="l"))
    more = sample([1, 2, 3, 4, 5], [6, 7, 8], sampled=[True, False, True], logprobs=[-1, None, None], label="l")
    await recorder.record(more)
    recorder.reward("l", 0.25)
    recorder.reward("l", 1.5)
    folder = tmp_path / "record"
    (row,) = rows(conversations(folder), rewards(folder), "verl")
    assert row["prompt_ids"] == [1, 2]
    assert row["response_ids"] == [3, 4, 5, 6, 7, 8]
    assert row["response_mask"] == [1, 1, 0, 1, 0, 0]
    assert row["response_logprobs"] == [-0.5, -0.5, 0.0, -1, 0.0, 0.0]
    assert (row["reward_score"], row["label"], row["message_ids"]) == (1.5, "l", ["msg_1", ""])
    assert row["broken"] == ["", ""]


@pytest.mark.parametrize(
    ("prompt", "changed", "broken"),
    [
        ([1, 2], "", "retry"),
        ([1, 2, 3, 9], "", "ended_otherwise"),
        ([1, 2, 9], "", "rendered_anew"),
        ([1, 9, 3, 4], "", "messages_changed"),
        ([1, 9, 3, 4], "tools_changed", "tools_changed"),
        ([1, 2, 3, 4, 5], "", ""),
        ([1, 2, 3, 4, 5], "tools_changed", ""),
    ],
)
async def test_a_branch_says_why(
    recorder: Recorder, tmp_path: Path, prompt: list[int], changed: str, broken: str
) -> None:
    """What does not go on from all of the sample before it begins a branch, with the reason; both are trajectories, but
    where the token that ended the turn is the only one that is another."""
    await recorder.record(sample([1, 2], [3, 4]))
    await recorder.record(sample(prompt, [7], changed=changed))
    (tree,) = conversations(tmp_path / "record").values()
    assert tree.nodes[1].line.broken == broken
    assert list(tree.nodes[1].ids) == [*prompt, 7]
    assert len(list(tree.leaves())) == (2 if broken not in ("", "ended_otherwise") else 1)


async def test_a_turn_that_ended_otherwise(recorder: Recorder, tmp_path: Path) -> None:
    """Its row goes on with the token that the prompt has, which nobody sampled."""
    await recorder.record(sample([1, 2], [3, 4]))
    await recorder.record(sample([1, 2, 3, 9, 5], [7]))
    (row,) = rows(conversations(tmp_path / "record"), {}, "verl")
    assert (row["response_ids"], row["response_mask"]) == ([3, 9, 5, 7], [1, 0, 0, 1])
    assert row["broken"] == ["", "ended_otherwise"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(samples=st.lists(st.tuples(IDS, IDS), min_size=1, max_size=8))
async def test_ids_come_back(samples: list[tuple[list[int], list[int]]], tmp_path_factory: Any) -> None:
    """Whatever the samples have in common, each sequence is read back as it was, with its own output behind its
    prompt; and a sample is a part of at least one trajectory."""
    folder = tmp_path_factory.mktemp("record")
    recorder = Recorder(folder, 1 << 20)
    for prompt, output in samples:
        await recorder.record(sample(prompt, output))
    (tree,) = conversations(folder).values()
    for node, (prompt, output) in zip(tree.nodes, samples, strict=True):
        assert list(node.ids) == prompt + output
        assert list(node.sampled[len(prompt) :]) == [True] * len(output)
    told = [row["prompt_ids"] + row["response_ids"] for row in rows({"c": tree}, {}, "verl")]
    assert all(any(ids[: len(p + o)] == p + o for ids in told) for p, o in samples)


async def test_workers_write_to_one_conversation(tmp_path: Path) -> None:
    """What one worker recorded, another one's sample goes on from; none of many at once is lost."""
    one, other = Recorder(tmp_path, 1 << 20), Recorder(tmp_path, 1 << 20)
    await one.record(sample([1], [2]))
    await other.record(sample([1, 2, 3], [4]))
    await one.record(sample([1, 2, 3, 4, 5], [6]))
    (tree,) = conversations(tmp_path).values()
    assert [node.line.parent for node in tree.nodes] == [None, 0, 1]
    assert not any(node.line.broken for node in tree.nodes)
    await asyncio.gather(*(recorder.record(sample([1, 9], [n])) for n in range(10) for recorder in (one, other)))
    (tree,) = conversations(tmp_path).values()
    assert len(tree.nodes) == 23


async def test_the_folder_is_the_owners_and_bounded(tmp_path: Path) -> None:
    """Nobody else reads it; the conversations that were quiet longest go when it is full, and never the latest."""
    folder = tmp_path / "deep" / "record"
    recorder = Recorder(folder, 2000)
    for number in range(600):
        await recorder.record(sample([1] * 50, [2] * 10, conversation=str(number)))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    # It is looked at once in 256 samples.
    assert len(conversations(folder)) < 256


async def test_a_conversation_that_is_too_large_begins_anew(tmp_path: Path) -> None:
    """Prompts of ids and of text alone, without labels, are one conversation however many there are: that, too, is
    bounded."""
    recorder = Recorder(tmp_path, 2000)
    for number in range(600):
        await recorder.record(sample([number] * 50, [2] * 10))
    (tree,) = conversations(tmp_path).values()
    assert len(tree.nodes) < 256
    await recorder.record(sample([599] * 50 + [2] * 10, [3]))
    (tree,) = conversations(tmp_path).values()
    assert tree.nodes[-1].parent is tree.nodes[-2]


def test_turns_do_not_hold_the_conversation_again(tmp_path: Path) -> None:
    """What is held of a conversation grows as its file does, and not with the square of it."""
    recorder, prompt = Recorder(tmp_path, 1 << 30), list[int]()
    for turn in range(150):
        prompt = [*prompt, *range(turn, turn + 100)]
        asyncio.run(recorder.record(sample(prompt, [turn])))
        prompt.append(turn)
    (file,) = tmp_path.glob("*.jsonl")
    tracemalloc.start()
    (tree,) = conversations(tmp_path).values()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tree.nodes[-1].ids == prompt
    assert held < 30 * file.stat().st_size


async def test_a_full_disk_costs_the_record_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be written is said in the log, and raises nothing."""
    recorder = Recorder(tmp_path / "record", 1 << 20)
    (tmp_path / "record" / "lock").mkdir()
    await recorder.record(sample([1], [2]))
    assert "--record" in caplog.text


async def test_the_command_lists_shows_and_exports(recorder: Recorder, tmp_path: Path) -> None:
    """It lists, shows and exports, as JSON lines and as Parquet, in either trainer's names."""
    folder = str(tmp_path / "record")
    await recorder.record(sample([1, 2], [3], label="a"))
    await recorder.record(sample([1, 2], [4], label="a"))
    await recorder.record(sample([5], [6], conversation="d", label="b"))
    recorder.reward("a", 2)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(main, ["trajectories", *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    listed = run("list", folder).splitlines()
    assert len(listed) == 2
    assert "samples 2" in listed[0]
    assert "reward 2" in listed[0]
    assert "broken: retry" in run("show", folder, listed[0].split("\t")[0][:8])
    for shape, (prompt, response, *_) in NAMES.items():
        file = tmp_path / f"{shape}.jsonl"
        run("export", folder, str(file), "--shape", shape)
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert [(line[prompt], line[response]) for line in lines] == [([1, 2], [3]), ([1, 2], [4]), ([5], [6])]
        run("export", folder, str(tmp_path / "t.parquet"), "--shape", shape, "--label", "a")
        assert parquet.read_table(tmp_path / "t.parquet").to_pylist() == [
            each for each in lines if each["label"] == "a"
        ]
        run("export", folder, str(tmp_path / "none.parquet"), "--shape", shape, "--label", "c")
        none, some = (parquet.read_schema(tmp_path / name) for name in ("none.parquet", "t.parquet"))
        assert none.equals(some)
