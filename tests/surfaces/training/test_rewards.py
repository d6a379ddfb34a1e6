"""Recording rollouts over HTTP: labels, rewards, and replies that are what they are without."""

from __future__ import annotations

from pathlib import Path

from antiphon.engines.scripted import Rule, Script, Scripted
from antiphon.serving.model import Choices
from antiphon.serving.service import Service
from antiphon.serving.token_model import load
from antiphon.trajectories.recorder import Recorder, conversations, rewards
from antiphon.trajectories.shapes import rows
from tests.serving.served import Seeing
from tests.surfaces.conftest import serving

# A picture of one pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
REWARD = "/v1/trajectories/roll%20out/reward"


async def test_a_rollout_is_recorded_and_rewarded(tmp_path: Path) -> None:
    """Whatever the API, a reply is recorded with its label and its ids, and a reward finds it; the client sees nothing
    of this unless it asks for tokens itself."""
    engine = Scripted(Script(rules=(Rule(pieces=("Well", ".")),)))
    recorder = Recorder(tmp_path, 1 << 20)
    service = Service([await load(engine, Choices())], recorder=recorder)
    async with serving(service, recorder=recorder) as server:
        asked = server.ask(model="default")
        status, headers, whole = await server.post(asked, x_antiphon_label="roll out")
        assert status == 200
        assert not whole.keys() & {"output_ids", "prompt_token_ids", "output_token_logprobs"}
        assert b"output_ids" not in (await server.stream(asked))[2]
        told = (await server.post({**asked, "return_token_ids": True}))[2]
        assert told["output_ids"] == engine.sampled[-1]
        assert "output_token_logprobs" not in told
        for path, body in {
            "/v1/chat/completions": asked,
            "/v1/completions": {"model": "default", "prompt": "Once"},
            "/v1/responses": {"model": "default", "input": "Hi"},
        }.items():
            status, _, reply = await server.post(body, path, x_antiphon_label="other")
            assert status == 200, reply
        status, _, error = await server.post({"reward": "much"}, REWARD)
        assert (status, error["error"]["type"]) == (400, "invalid_request_error")
        assert (await server.post({"reward": 0.5}, REWARD))[0] == 200
    assert rewards(tmp_path) == {"roll out": 0.5}
    lines = [node.line for tree in conversations(tmp_path).values() for node in tree.nodes]
    assert len(lines) == 6
    first = next(line for line in lines if line.message == whole["id"])
    assert (first.label, first.request, first.stop) == ("roll out", headers["request-id"], "end_turn")
    assert sum(line.label == "other" for line in lines) == 3
    labelled = [row for row in rows(conversations(tmp_path), rewards(tmp_path), "verl") if row["label"] == "roll out"]
    assert [row["reward_score"] for row in labelled] == [0.5]


async def test_labels_in_metadata(tmp_path: Path) -> None:
    """Of every API's metadata a label is read as it is from the header, which goes before; it must be a string."""
    recorder = Recorder(tmp_path, 1 << 20)
    service = Service([await load(Scripted(Script()), Choices())], recorder=recorder)
    async with serving(service, recorder=recorder) as server:
        for path, body in {
            "/v1/messages": server.ask(model="default"),
            "/v1/chat/completions": server.ask(model="default"),
            "/v1/completions": {"model": "default", "prompt": "Once"},
            "/v1/responses": {"model": "default", "input": "Hi"},
        }.items():
            labelled = {**body, "metadata": {"x-antiphon-label": path}}
            assert (await server.post(labelled, path))[0] == 200
            assert (await server.post(labelled, path, x_antiphon_label="header"))[0] == 200
            status, _, error = await server.post({**body, "metadata": {"x-antiphon-label": 7}}, path)
            assert (status, "metadata" in error["error"]["message"]) == (400, True)
    lines = [node.line for tree in conversations(tmp_path).values() for node in tree.nodes]
    labels = [line.label for line in lines]
    assert labels.count("header") == 4
    assert len(set(labels)) == 5
    assert all(line.message for line in lines)


async def test_text_is_kept_where_it_is_wanted(tmp_path: Path) -> None:
    """Of a conversation, once: that of each prompt which was not in the one before, and that of each reply."""
    recorder = Recorder(tmp_path, 1 << 20, text=True)
    service = Service([await load(Scripted(Script(rules=(Rule(text="Aye aye."),))), Choices())], recorder=recorder)
    async with serving(service, recorder=recorder) as server:
        asked = server.ask(model="default", messages=[{"role": "user", "content": "Ahoy"}])
        reply = (await server.post(asked))[2]
        said = [{"role": "assistant", "content": reply["content"]}, {"role": "user", "content": "Belay"}]
        await server.post({**asked, "messages": [*asked["messages"], *said]})
    (row,) = rows(conversations(tmp_path), {}, "trl")
    assert row["output_texts"] == ["Aye aye."] * 2
    assert ["Ahoy" in text for text in row["prompt_texts"]] == [True, False]
    assert ["Belay" in text for text in row["prompt_texts"]] == [False, True]


async def test_nothing_is_recorded_unasked() -> None:
    """Without a folder a reward is nowhere to be put."""
    async with serving(Service([await load(Scripted(Script()), Choices())])) as server:
        status, _, error = await server.post({"reward": 1}, REWARD)
        assert status == 404
        assert "--record" in error["error"]["message"]


async def test_a_prompt_with_pictures_is_not_recorded(tmp_path: Path) -> None:
    """Only the engine knows its ids: none are told, and the sample is left out, while the next one is not."""
    recorder = Recorder(tmp_path, 1 << 20)
    service = Service([await load(Seeing(Script()), Choices())], recorder=recorder)
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    seen = [{"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": "?"}]}]
    async with serving(service, recorder=recorder) as server:
        asked = server.ask(model="default", messages=seen, return_token_ids=True)
        status, _, reply = await server.post(asked)
        assert status == 200, reply
        assert reply["prompt_token_ids"] == []
        assert reply["output_ids"]
        assert not conversations(tmp_path)
        await server.post(server.ask(model="default"))
        assert len(conversations(tmp_path)) == 1
