"""What is deployed, from the settings alone: no cluster runs here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from antiphon.engines import Piece, Prefilled
from antiphon.process.supervisor import CannotServe
from antiphon.ray import app
from antiphon.ray.application import settings
from antiphon.ray.askers import together
from antiphon.ray.engine import alone
from antiphon.ray.memory import Memory
from antiphon.settings.sources import BadSettings

MANY = """
parallel = 6
workers = 3
grace_period = 90
api_key = ["sesame"]
default_model = "small"
[models.large]
model = "large.gguf"
threads = 8
[models.small]
[models.far]
model = "openai+http://192.0.2.1/v1"
[ray.surface]
max_replicas_per_node = 1
[ray.engine]
autoscaling_config = {max_replicas = 4}
[ray.models.large]
ray_actor_options = {num_gpus = 1}
"""


def deployed(folder: Path, text: str, **arguments: Any) -> dict[str, Any]:
    """The deployments by name."""
    file = folder / "antiphon.toml"
    file.write_text(text)
    surface = app({"config": str(file), **arguments})._bound_deployment
    _, _, engines, memory = surface.init_args
    found = [surface, memory._bound_deployment, *(engine._bound_deployment for engine in engines.values())]
    return {one.name: one for one in found}


def test_each_model_has_its_own_actors(tmp_path: Path) -> None:
    """Each model that is a file has engine actors, with Ray's options for all, its own before them, and ours for what
    nobody says; and no actor is told the keys."""
    found = deployed(tmp_path, MANY)
    assert sorted(found) == ["Engine-large", "Engine-small", "Memory", "Surface"]
    surface, large, small = found["Surface"], found["Engine-large"], found["Engine-small"]
    assert surface._deployment_config.num_replicas == 3
    assert surface._replica_config.max_replicas_per_node == 1
    assert large._replica_config.resource_dict == {"CPU": 8, "GPU": 1}
    assert small._replica_config.resource_dict == {"CPU": 1}
    for engine in (large, small):
        config = engine._deployment_config
        assert config.autoscaling_config.max_replicas == 4
        assert config.autoscaling_config.target_ongoing_requests == 6
        assert config.graceful_shutdown_timeout_s == 90
        assert "ConsistentHashRouter" in config.request_router_config.request_router_class
        assert config.max_ongoing_requests > 6 + 256
    assert "sesame" not in repr([one.init_args for one in found.values()])


def test_arguments_are_settings(tmp_path: Path) -> None:
    """An argument is worth what the environment variable would be, and more."""
    (tmp_path / "antiphon.toml").write_text("parallel = 2")
    given = {"config": str(tmp_path / "antiphon.toml"), "threads": 3, "alias": ["a", "b"], "no_auth": True}
    found = settings(given, {"ANTIPHON_THREADS": "9", "ANTIPHON_PARALLEL": "5"})
    assert (found.parallel, found.threads, found.aliases, found.no_auth) == (5, 3, ("a", "b"), True)


@pytest.mark.parametrize(
    ("text", "arguments", "kind", "said"),
    [
        ("", {"paralel": "2"}, BadSettings, "unknown argument 'paralel'"),
        ("", {"parallel": "none"}, BadSettings, "ANTIPHON_PARALLEL"),
        ("[ray.engine]\nreplicas = 2", {}, BadSettings, "[ray.engine]: "),
        ("[ray.surface]\nnum_replicas = -2", {}, BadSettings, "[ray.surface]: "),
        ("", {"model": "vlllm+http://h"}, CannotServe, "unknown engine 'vlllm'"),
    ],
)
def test_what_cannot_be(tmp_path: Path, text: str, arguments: Any, kind: type[Exception], said: str) -> None:
    """It is told before anything is deployed, by the name of the table or the argument."""
    with pytest.raises(kind, match=re.escape(said)):
        deployed(tmp_path, text, **arguments)


def test_an_actor_serves_one_model(tmp_path: Path) -> None:
    """On the cores that it was given, unless the settings say otherwise."""
    (tmp_path / "antiphon.toml").write_text(MANY)
    many = settings({"config": str(tmp_path / "antiphon.toml")}, {})
    assert {name: model.threads for name, model in alone(many, "small", 5).served.items()} == {"small": 5}
    assert {name: model.threads for name, model in alone(many, "large", 5).served.items()} == {"large": 8}
    one = settings({"config": str(tmp_path / "antiphon.toml"), "threads": "2"}, {})
    assert alone(one, "small", 5).served["small"].threads == 2


async def test_the_memory_is_bounded() -> None:
    """What was not asked for the longest goes first; of several names the first that is known is given."""
    memory = Memory(capacity=100)
    for number in range(4):
        await memory.put(bytes([number]), bytes([number]) * 30)
        await memory.first([bytes([0])])
    assert await memory.first([bytes([1]), bytes([9]), bytes([3]), bytes([0])]) == (2, bytes([3]) * 30)
    await memory.put(bytes([0]), b"anew")
    assert await memory.first([bytes([0])]) == (0, b"anew")


def test_pieces_go_together() -> None:
    """Nothing is lost, and the order kept, where neighbours become one."""
    a, b, c = (Piece(text, 1) for text in "abc")
    begun = Prefilled(3, 1)
    assert together([]) == []
    assert together([begun, [a], [b, c]]) == [begun, [a, b, c]]
    assert together([[a], begun, [b], [c]]) == [[a], begun, [b, c]]
