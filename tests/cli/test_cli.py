"""The command line, the store of models behind it, and the conversation in the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import pytest

from antiphon.cli import COMMANDS, main
from antiphon.process import banner
from antiphon.settings import sources
from tests.cli.running import run
from tests.end_to_end.conftest import free_port


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
    [
        (["serve", "--prot", "9"], "'--port'"),
        (["serv"], "'serve'"),
        (["launch", "clade"], "'claude', 'codex', 'opencode'"),
    ],
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


@pytest.mark.parametrize(
    ("host", "base"),
    [("0.0.0.0", "http://127.0.0.1:8000"), ("::", "http://[::1]:8000"), ("example.org", "http://example.org:8000")],
)
def test_addresses_can_be_used_as_they_are_printed(host: str, base: str) -> None:
    """An address that means "all" is told as one that a program can call."""
    assert banner.address(sources.Settings(host=host)) == base
