"""Commands that talk to a running server, or start a program that does: chat, env, launch."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from antiphon.cli.programs import PROGRAMS, Target
from antiphon.process import banner
from antiphon.settings import sources
from tests.cli.running import run


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


REPLY = sse(
    {"type": "message_start", "message": {}},
    {"type": "ping"},
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Hm, grüßen."},
        {"type": "signature_delta", "signature": "seal"},
    ),
    *block(
        1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Grüß "}, {"type": "text_delta", "text": "Gott"}
    ),
    *block(
        2,
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"place": '},
        {"type": "input_json_delta", "partial_json": '"Graz"}'},
    ),
    {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {}},
    {"type": "message_stop"},
)


class StandIn(BaseHTTPRequestHandler):
    """A server that answers every message alike, and notes what it was asked."""

    asked: list[dict[str, Any]]
    reply: bytes

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.asked.append({"key": self.headers["x-api-key"]})
        models = [
            {"id": "a model", "max_input_tokens": 8192, "max_tokens": 8192},
            {"id": "another", "max_input_tokens": 4096, "max_tokens": 4096},
        ]
        one = self.path.rpartition("/models/")[2]
        named = next((model for model in models if model["id"] == unquote(one)), models[0])
        if "missing" in one:
            self._answer(404, b'{"type":"error","error":{"type":"not_found_error","message":"served here: a model"}}')
        else:
            several = {"data": models, "models": [{"slug": model["id"]} for model in models]}
            self._answer(200, json.dumps(named if "/models/" in self.path else several).encode())

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(request)
        if request["messages"][-1]["content"] == "fail":
            self._answer(529, b'{"type":"error","error":{"type":"overloaded_error","message":"too busy"}}')
        else:
            self._answer(200, self.reply)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a stand-in server, and the list of what it was asked."""
    kind = type("Handler", (StandIn,), {"asked": [], "reply": REPLY})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", kind.asked
        http.shutdown()
        thread.join()


def test_chat_from_a_pipe(server: tuple[str, list[dict[str, Any]]]) -> None:
    """Each line is a turn; thinking, text and calls are shown; the next request repeats text and sealed thinking."""
    url, asked = server
    result = run("chat", "--url", url, "--key", "k", "--system", "Be kind.", input="Hello\n\nAgain\n/new\nFresh\n")
    assert result.exit_code == 0, result.output
    for part in ("Hm, grüßen.", "Grüß Gott", "[weather]", '{"place": "Graz"}', "[max_tokens]"):
        assert result.output.count(part) == 3
    assert asked[0] == {"key": "k"}
    first, second, third = asked[1:]
    assert (first["model"], first["stream"], first["system"]) == ("a model", True, "Be kind.")
    assert first["messages"] == [{"role": "user", "content": "Hello"}]
    assert second["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm, grüßen.", "signature": "seal"},
        {"type": "text", "text": "Grüß Gott"},
    ]
    assert [turn["role"] for turn in second["messages"]] == ["user", "assistant", "user"]
    assert third["messages"] == [{"role": "user", "content": "Fresh"}]


def test_a_failed_reply_is_told_and_forgotten(server: tuple[str, list[dict[str, Any]]]) -> None:
    """An error is shown in the server's words, the turn does not stay in the conversation, the exit status is 1."""
    url, asked = server
    result = run("chat", "--url", url, input="fail\nHello\n/exit\nnever sent\n")
    assert result.exit_code == 1
    assert "529: too busy" in result.output
    assert asked[-1]["messages"] == [{"role": "user", "content": "Hello"}]


def test_env_asks_for_the_true_window(server: tuple[str, list[dict[str, Any]]]) -> None:
    """The printed environment names the server, its model (the first, or the one asked for) and its window, as lines
    that a shell can read; other models are comments."""
    url, _ = server
    for options, expected, other in (
        ([], "a model|8192", "another (4096 tokens)"),
        (["--model", "another"], "another|4096", "a model (8192 tokens)"),
    ):
        result = run("env", "--url", url + "/", *options)
        assert result.output.splitlines()[-1] == f"# also served: {other}"
        script = result.output + 'echo "$ANTHROPIC_BASE_URL|$ANTHROPIC_MODEL|$CLAUDE_CODE_MAX_CONTEXT_TOKENS"'
        for shell in (["sh", "-c", script], ["sh", "-c", f"eval {shlex.quote(script)}"]):
            assert subprocess.check_output(shell, text=True) == f"{url}|{expected}\n"


def program(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for a program on the path: prints its arguments and environment, and ends with 7."""
    script = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)])); sys.exit(7)"
    path = folder / "bin" / name
    path.parent.mkdir()
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent))


def launched(*arguments: str) -> tuple[list[str], dict[str, str], str]:
    """What the stand-in was given, and what was said of it."""
    command = [sys.executable, "-m", "antiphon", "launch", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    given, environment = json.loads(done.stdout)
    return given, environment, done.stderr


def test_claude_is_launched_with_what_it_needs(
    server: tuple[str, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program gets the server, the key, the models, the true window and its own arguments; what would lead it
    elsewhere is taken away; all is said but the key; its exit status is ours."""
    url, asked = server
    program(tmp_path, "claude", monkeypatch)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "stale")
    given, environment, told = launched("claude", "--url", url + "/", "--key", "sesame", "--", "-p", "hi", "--list")
    assert given == ["-p", "hi", "--list"]
    assert asked == [{"key": "sesame"}]
    wanted = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": "sesame",
        "ANTHROPIC_MODEL": "a model",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": "a model",
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "8192",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "2048",
    }
    assert {name: environment.get(name) for name in wanted} == wanted
    assert "ANTHROPIC_API_KEY" not in environment
    assert "without ANTHROPIC_API_KEY" in told
    assert "the window is 8192 tokens" in told
    assert "sesame" not in told
    told_of = {line.strip().partition("=")[0] for line in told.splitlines() if line.startswith("  ")}
    assert set(wanted) <= told_of


def test_models_and_reply_can_be_chosen(
    server: tuple[str, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--model, --small-model and --max-tokens are what the program is told; a name that it would take for another
    window is warned of."""
    program(tmp_path, "claude", monkeypatch)
    arguments = ("claude", "--url", server[0], "--model", "claude-big", "--small-model", "tiny", "--max-tokens", "9")
    _, environment, told = launched(*arguments)
    assert environment["ANTHROPIC_MODEL"] == environment["ANTHROPIC_DEFAULT_OPUS_MODEL"] == "claude-big"
    assert environment["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == "tiny"
    assert environment["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "9"
    assert "begins with claude-" in told
    assert "served here: a model" in run("env", "--url", server[0], "--model", "missing").output


def test_opencode_is_launched_without_a_file(
    server: tuple[str, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """opencode gets a provider in a variable: address, key, model, window."""
    program(tmp_path, "opencode", monkeypatch)
    given, environment, _ = launched("opencode", "--url", server[0], "--", "run", "hi")
    assert given == ["run", "hi"]
    settings = json.loads(environment["OPENCODE_CONFIG_CONTENT"])
    provider = settings["provider"]["antiphon"]
    assert provider["options"] == {"baseURL": server[0] + "/v1", "apiKey": "any"}
    assert provider["models"]["a model"]["limit"] == {"context": 8192, "output": 2048}
    assert settings["model"] == settings["small_model"] == "antiphon/a model"


def test_codex_is_launched_without_a_file(
    server: tuple[str, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Codex gets its provider, model and window on its command line, with the place of a file in the cache folder that
    describes the server's models, and the key in a variable."""
    program(tmp_path, "codex", monkeypatch)
    config = tmp_path / "its.toml"
    config.write_text('cache_dir = "cache"\n')
    options = ("--config", str(config), "--url", server[0], "--key", "sesame")
    given, environment, told = launched("codex", *options, "--", "exec", "hi")
    assert given[-2:] == ["exec", "hi"]
    assert given[:-2:2] == ["-c"] * (len(given) // 2 - 1)
    settings = dict(setting.split("=", 1) for setting in given[1:-2:2])
    assert settings["model"] == '"a model"'
    assert settings["model_context_window"] == "8192"
    assert settings["model_providers.antiphon.base_url"] == f'"{server[0]}/v1"'
    catalogue = Path(json.loads(settings["model_catalog_json"]))
    assert catalogue.is_relative_to(tmp_path / "cache")
    assert json.loads(catalogue.read_text()) == {"models": [{"slug": "a model"}, {"slug": "another"}]}
    assert environment[json.loads(settings["model_providers.antiphon.env_key"])] == "sesame"
    assert "sesame" not in told
    assert "also needs these arguments: codex -c " in run("env", "codex", "--url", server[0]).output


def test_every_variable_has_its_reason() -> None:
    """What a program is given is what its record explains, no less and no more."""
    model = banner.Served(name="m", window=8192)
    for each in PROGRAMS.values():
        target = Target(base="http://x", key="k", model=model, small=model, catalogue="/models.json")
        assert {*each.variables(target), *each.overrides(target)} == set(each.why)


def test_launch_says_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """--list names each program and how to get it; an option of the program's before -- is told where it goes."""
    monkeypatch.setenv("PATH", "/nowhere")
    listed = run("launch", "--list").output
    for name, each in PROGRAMS.items():
        assert name in listed
        assert each.install in listed
    assert "antiphon launch claude -- -p hi" in run("launch", "claude", "-p", "hi").output


def test_a_key_is_never_printed() -> None:
    """Neither the banner nor the environment shows a configured key."""
    settings = sources.Settings(api_keys=("sesame",))
    shown = banner.banner(settings, [banner.Served(name="it's")], sources={"it's": "m.gguf"}, notes=["a note"])
    assert "sesame" not in shown
    assert "x-api-key: your-key" in shown
    assert "a note" in shown
