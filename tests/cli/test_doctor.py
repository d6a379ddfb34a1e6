"""`antiphon doctor`: what is well is found well, and what is not is found out, each with a remedy."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from antiphon.cli import main
from antiphon.cli.doctor import requests
from antiphon.cli.doctor.machine import machine
from antiphon.engines.hardware import accelerators
from antiphon.engines.hardware.accelerators import Unused
from antiphon.engines.models import model_store
from antiphon.settings import sources
from tests.end_to_end.conftest import free_port, serving

SCRIPT = {
    "rules": [
        {
            "when": "report",
            "text": '<tool_call>\n{"name": "report", "arguments": {"status": "well", "level": 3}}\n</tool_call>',
        }
    ]
}


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings or the state of whoever runs it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for option in sources.options():
        monkeypatch.delenv(option.variable, raising=False)


def examined(*arguments: str, port: int = 0) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit status, and the findings by what was looked at."""
    result = CliRunner().invoke(main, ["doctor", "--json", "--port", str(port or free_port()), *arguments])
    told: dict[str, Any] = json.loads(result.stdout)
    assert told["sound"] is (result.exit_code == 0)
    findings = {finding["check"]: finding for finding in told["findings"]}
    for finding in findings.values():
        assert finding["detail"]
        assert finding["status"] == "fine" or finding["remedy"] or finding["status"] == "skipped", finding
    return result.exit_code, findings


def script(tmp_path: Path, text: dict[str, Any] | None = None) -> str:
    path = tmp_path / "script.json"
    path.write_text(json.dumps(text or SCRIPT))
    return f"scripted+{path}"


@pytest.mark.xdist_group("engine")
def test_the_default_model_is_sound() -> None:
    """With nothing said, the default model is looked at, started and asked; it calls the tool."""
    model_store.resolve("", Path(sources.Settings().cache_dir))
    status, findings = examined()
    assert status == 0, findings
    assert {
        "processor",
        "memory",
        "disk",
        "embedded engine",
        "state folder",
        "keys",
        "port",
        "model",
        "formats",
    } <= set(findings)
    # A machine that is busy with other things is noted, and is no fault of the model's.
    assert findings["calls by SmolLM2-135M-Instruct"]["status"] == "fine"
    asked = findings["a request to SmolLM2-135M-Instruct"]
    assert asked["status"] in ("fine", "note")
    assert "streamed a call of a tool" in asked["detail"]
    assert "coding assistants need" in findings["model"]["remedy"]


def test_a_running_server_is_asked(tmp_path: Path) -> None:
    """The server that runs with these settings is asked, with its key; without it, the finding says so."""
    with serving(tmp_path, script(tmp_path), "--api-key", "sesame") as server:
        port = int(server.url.rpartition(":")[2])
        status, findings = examined(script(tmp_path), "--api-key", "sesame", port=port)
        assert status == 0, findings
        assert "a server runs at" in findings["port"]["detail"]
        assert findings["a request to scripted"]["status"] == "fine"
        # The scripted engine takes no grammar.
        assert findings["calls by scripted"]["status"] == "note"
        status, findings = examined(script(tmp_path), port=port)
        assert status == 1
        assert findings["a request"]["remedy"] == "give the server's key with --api-key"


def test_a_model_that_does_not_do_what_it_must_is_found_out(tmp_path: Path) -> None:
    """A stream without the demanded call is a failure."""
    status, findings = examined(script(tmp_path, {"rules": [{"text": "I would rather not."}]}))
    assert status == 1
    assert findings["a request to scripted"]["status"] == "fail"


def test_wrong_settings_are_a_finding(tmp_path: Path) -> None:
    """A broken antiphon.toml is told, and the machine is looked at all the same."""
    (tmp_path / "antiphon.toml").write_text("prot = 1")
    status, findings = examined()
    assert status == 1
    assert "did you mean 'port'?" in findings["settings"]["detail"]
    assert "memory" in findings


def test_the_file_that_is_read_is_told(tmp_path: Path) -> None:
    """Also where it is not the one in this folder."""
    (tmp_path / "other.toml").write_text("max_queue = 7")
    _, findings = examined("none.gguf", "--config", str(tmp_path / "other.toml"))
    assert str(tmp_path / "other.toml") in findings["settings"]["detail"]


def gguf(path: Path, architecture: str) -> str:
    """The smallest file that says what it is."""
    key, value = b"general.architecture", architecture.encode()
    header = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q", len(key)) + key + struct.pack("<I", 8)
    path.write_bytes(header + struct.pack("<Q", len(value)) + value)
    return str(path)


def test_files_are_looked_at_before_anything_starts(tmp_path: Path) -> None:
    """What is no model, is not there, is not fetched, or is no projector is told, with nothing started for it."""
    (tmp_path / "notes.gguf").write_text("notes")
    for model, sentence in (("notes.gguf", "is not a usable GGUF file"), ("none.gguf", "there is no file none.gguf")):
        status, findings = examined(model)
        assert status == 1
        assert sentence in findings["model"]["detail"]
        assert findings["a request"]["status"] == "skipped"
    status, findings = examined("hf:org/repo:file.gguf", "--cache-dir", str(tmp_path / "cache"))
    assert findings["model"]["remedy"] == "antiphon pull hf:org/repo:file.gguf"
    model = gguf(tmp_path / "model.gguf", "llama")
    status, findings = examined(model, "--mmproj", model)
    assert status == 1
    assert "is a model (llama), not a projector" in findings["projector"]["detail"]
    assert "the file has none" in findings["chat template"]["detail"]


def test_a_template_that_fails_is_told(tmp_path: Path) -> None:
    """A chat template that refuses conversations, or is none, is a finding."""
    model = gguf(tmp_path / "model.gguf", "llama")
    (tmp_path / "strict.jinja").write_text(
        "{% if messages|length > 1 %}{{ raise_exception('too many') }}{% endif %}{{ messages[0].content }}"
    )
    _, findings = examined(model, "--chat-template", "strict.jinja")
    assert findings["chat template"]["status"] == "note"
    assert "cannot render" in findings["chat template"]["detail"]
    (tmp_path / "strict.jinja").write_text("{% if %}")
    status, findings = examined(model, "--chat-template", "strict.jinja")
    assert status == 1


def test_what_others_could_read_is_told(tmp_path: Path) -> None:
    """A secret that everybody on the machine can read is noted, and how to close it."""
    state = tmp_path / "state" / "antiphon"
    state.mkdir(parents=True)
    (state / "seal.key").write_bytes(b"k" * 32)
    (state / "seal.key").chmod(0o644)
    _, findings = examined("none.gguf")
    assert findings["key that seals thinking"]["remedy"] == f"chmod 600 {state / 'seal.key'}"


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    """So is a state folder that cannot be had."""
    (tmp_path / "file").write_text("")
    status, findings = examined("none.gguf", "--state-dir", str(tmp_path / "file" / "state"))
    assert status == 1
    assert "--state-dir" in findings["state folder"]["remedy"]


@pytest.mark.parametrize(
    ("names", "blocks", "reason", "sentence"),
    [
        (["message_start"], [], None, "ended with"),
        (["message_start", "message_stop"], [], "end_turn", "no call of the tool"),
        (
            ["message_start", "message_stop"],
            [{"type": "tool_use", "name": "report", "input": {}}],
            "tool_use",
            "schema",
        ),
    ],
)
def test_a_bad_stream_is_recognised(names: list[str], blocks: list[Any], reason: str | None, sentence: str) -> None:
    """What a stream lacks is said."""
    told = requests.TimedReply()
    told.names, told.blocks, told.reason = names, blocks, reason
    assert sentence in told.wrong()


def test_a_gpu_that_is_not_used_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its remedy is the command that installs the engine's build for it."""
    missing = Unused("NVIDIA L4 is in this machine and is not used", "pip install the build")
    monkeypatch.setattr(accelerators, "look", lambda: ([], missing))
    (finding,) = (each for each in machine(tmp_path) if each.check == "GPU")
    assert (finding.status, finding.detail, finding.remedy) == ("note", missing.sentence, missing.install)
