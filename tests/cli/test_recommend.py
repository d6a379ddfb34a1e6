"""`antiphon recommend` and `update-models`."""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from antiphon.cli import recommend
from antiphon.cli.recommend import Machine, recommended
from antiphon.engines.hardware.accelerators import Unused
from antiphon.engines.models import catalogue
from antiphon.engines.models.catalogue import Use
from tests.cli.running import run

KNOWN = catalogue.packaged()
MODELS = KNOWN.model
PAGE = (Path(__file__).parents[2] / "docs/models.md").read_text("utf-8")


def sizes(gigabytes: int, bandwidth: float = 1e12) -> dict[str, Any]:
    here = Machine(memory=gigabytes * 10**9, bandwidth=bandwidth, cores=8)
    return {each.use: each for each in recommended(MODELS, here, parallel=4)}


@pytest.mark.parametrize("gigabytes", [4, 8, 16, 24, 48, 128])
def test_what_is_recommended_fits(gigabytes: int) -> None:
    """There is one model for each use; file and windows fit into the memory, and a coding assistant's window is
    large enough for its instructions."""
    found = sizes(gigabytes)
    assert set(found) == set(get_args(Use))
    for each in found.values():
        model = next(model for model in MODELS if each.name.startswith(model.name))
        windows = each.window * each.parallel * model.cache_bytes * 34 / 64
        assert each.bytes + windows <= gigabytes * 1e9
        assert each.command == f"antiphon serve {each.name}"
    assert found["coding"].window >= 32768


def test_more_memory_never_names_a_smaller_model() -> None:
    """With memory that is fast, more of it is used."""
    steps = [sizes(gigabytes)["coding"].bytes for gigabytes in (4, 8, 16, 24, 48)]
    assert steps == sorted(steps)


@pytest.mark.parametrize("bandwidth", [12e9, 20e9, 40e9, 80e9])
@pytest.mark.parametrize("gigabytes", [8, 16, 32])
def test_what_is_recommended_can_be_worked_with(gigabytes: int, bandwidth: float) -> None:
    """On machines as people have them, a model for each use writes twice as fast as people read; it is the first of
    those, and of what comes before it the best that fits is named, with its own speed."""
    for use, each in sizes(gigabytes, bandwidth).items():
        assert each.speed >= 8, each
        fitting = [model.name for model in MODELS if use in model.uses and model.files[0].bytes < gigabytes * 0.9e9]
        if better := each.passed_over:
            assert better.speed < 8
            assert fitting.index(better.name.partition(":")[0]) < fitting.index(each.name.partition(":")[0])


def test_more_bandwidth_never_names_a_worse_model() -> None:
    """What was passed over for its speed is named where the memory is fast enough for it, and then nothing is."""
    for use in get_args(Use):
        places = []
        for bandwidth in (10e9, 20e9, 40e9, 80e9, 400e9):
            name = sizes(48, bandwidth)[use].name.partition(":")[0]
            places.append([model.name for model in MODELS].index(name))
        assert places == sorted(places, reverse=True)
        assert sizes(48, 400e9)[use].passed_over is None


def test_where_all_are_slow_the_fastest_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """And both that it is slow and which better one would fit are said."""
    here = Machine(memory=64 * 10**9, bandwidth=1e8, cores=2)
    found = recommended(MODELS, here, parallel=4)
    for each in found:
        assert each.slow
        others = [model.bytes_a_token(file) for model in MODELS if each.use in model.uses for file in model.files]
        assert each.speed == pytest.approx(0.5 * here.bandwidth / min(others))
    recommend._tell(here, found)
    told = capsys.readouterr().out
    assert "For coding: Granite 4.0 H Tiny" in told
    assert "For chat and tools: Granite 4.0 H Tiny" in told
    assert "It is slow on this machine, but it is the fastest that fits." in told
    assert "fits too and is better, but slow, about 0.0 tokens/s (an estimate): antiphon serve" in told


def test_what_does_not_fit_is_not_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A machine without memory gets no model named, and one with little none that could not code; both are told."""
    assert sizes(0) == {}
    little = Machine(memory=3 * 10**9, bandwidth=1e9, cores=1)
    found = recommended(MODELS, little, parallel=4)
    assert [each.use for each in found] == ["chat", "tools"]
    recommend._tell(little, found)
    assert "No known model fits for coding; the small default one always does" in capsys.readouterr().out


def test_the_command_tells_machine_and_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes, windows, estimate, licence and command are told as the page shows them, before them a GPU that is not
    used; and the same as JSON."""
    here = Machine(memory=24 * 10**9, bandwidth=24e9, cores=8, unused=Unused("A GPU is not used", "pip install it"))
    assert here.unused
    monkeypatch.setattr(recommend, "look", lambda: here)
    told = run("recommend").output
    assert "24.0 GB of memory free, which gives 24 GB/s (measured just now)" in told
    assert "A GPU is not used.\n  Install the build for it: pip install it" in told
    assert "antiphon serve qwen3.6-35b-a3b" in told
    assert "tokens/s (an estimate)" in told
    assert "Apache-2.0" in told
    assert told.replace(f"{here.unused.sentence}.\n  Install the build for it: {here.unused.install}\n", "") in PAGE
    as_json = json.loads(run("recommend", "--json").output)
    assert [each["use"] for each in as_json["models"]] == list(get_args(Use))
    assert as_json["machine"] == json.loads(msgspec.json.encode(here))
    assert len(run("recommend", "--all").output.splitlines()) == sum(len(model.files) for model in MODELS)


@contextmanager
def hub(answer: bytes) -> Iterator[str]:
    """A server on loopback that gives this answer; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/catalogue.toml"
        server.shutdown()


def test_a_newer_list_is_fetched(tmp_path: Path) -> None:
    """What it knows is in force at once; where nothing is to be had, or it is no list, that is said, and the old one
    stays."""
    date = KNOWN.date + datetime.timedelta(days=1)
    text = resources("antiphon.engines.models").joinpath("catalogue.toml").read_text("utf-8")
    newer = text.replace(f"date = {KNOWN.date}", f"date = {date}").replace("qwen3-8b", "qwen9-8b")
    with hub(newer.encode()) as url:
        told = run("update-models", "--url", url)
    assert told.exit_code == 0, told.output
    assert f"of {date}" in told.output
    assert "qwen9-8b" in run("recommend", "--all").output
    with hub(b"<html>") as url:
        told = run("update-models", "--url", url)
    assert told.exit_code == 1
    assert "cannot be used: it is not a catalogue of models" in told.output
    assert "cannot be used" in run("update-models", "--url", url).output
    assert "no list is named" in run("update-models").output
    assert "qwen9-8b" in run("recommend", "--all").output
