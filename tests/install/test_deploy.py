"""The files of deploy/ agree with the program. `make install-check` runs and lints them."""

from __future__ import annotations

import plistlib
import re
from pathlib import Path

from antiphon.settings import sources
from antiphon.settings.sources import Settings
from tests.install.dockerfile import steps

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_every_variable_is_a_setting() -> None:
    """Each ANTIPHON_… variable of these files is one that the server reads."""
    read = {f"ANTIPHON_{option.name.upper()}" for option in sources.options()} | {"ANTIPHON_CONFIG"}
    for path in (path for path in DEPLOY.rglob("*") if path.is_file()):
        assert set(re.findall(r"ANTIPHON_[A-Z_]+", path.read_text("utf-8"))) <= read, path


def test_all_wait_longer_than_the_server_lets_replies_run() -> None:
    """Whoever stops the server leaves it its grace period, and some seconds."""
    grace = Settings().grace_period
    texts = {path.name: path.read_text("utf-8") for path in DEPLOY.rglob("*") if path.is_file()}
    stops = (
        ("antiphon.service", r"TimeoutStopSec=(\d+)"),
        ("compose.yaml", r"stop_grace_period: (\d+)s"),
        ("statefulset.yaml", r"terminationGracePeriodSeconds: (\d+)"),
        ("antiphon.plist", r"ExitTimeOut</key>\s*<integer>(\d+)"),
    )
    for name, pattern in stops:
        found = re.search(pattern, texts[name])
        assert found, name
        assert int(found[1]) >= grace + 5, name


def test_the_build_is_given_what_it_copies_and_nothing_else() -> None:
    """The ignore file of the build lets exactly those through."""
    copied = {
        word
        for instruction, rest in steps((DEPLOY / "Dockerfile").read_text("utf-8"))
        if instruction == "COPY" and not rest.startswith("--from")
        for word in rest.split()[:-1]
    }
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").split()
    assert ignored[0] == "*"
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied


def test_the_container_is_not_root() -> None:
    """The user of the image is a number, which Kubernetes can tell from root, and the same in its manifest."""
    (user,) = (rest for instruction, rest in steps((DEPLOY / "Dockerfile").read_text("utf-8")) if instruction == "USER")
    uid = user.partition(":")[0]
    assert uid.isdigit()
    assert int(uid) > 0
    assert f"runAsUser: {uid}" in (DEPLOY / "kubernetes/statefulset.yaml").read_text("utf-8")


def test_the_launch_agent_is_a_property_list() -> None:
    """launchd can read it, and it starts the server."""
    agent = plistlib.loads((DEPLOY / "antiphon.plist").read_bytes())
    assert "antiphon serve" in agent["ProgramArguments"][-1]
