"""The `llm` command with llm-anthropic: prompts, streams, tools, schemas, conversations and the list of models."""

from __future__ import annotations

import json
import os
import subprocess

from checks import STEADY, URL, check, requests, run

SCRIPTED = "scripted"
ENVIRONMENT = {**os.environ, "ANTHROPIC_BASE_URL": URL, "ANTHROPIC_API_KEY": "dummy"}
MODEL = ("-m", "claude-haiku-4.5", "-o", "max_tokens", "100", *(("-o", "temperature", "0") if STEADY else ()))
WEATHER = """
def get_weather(city: str) -> str:
    "Get the weather"
    return f"21 degrees in {city}"
"""


def llm(*arguments: str) -> str:
    done = subprocess.run(
        ["llm", *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@check()
def prompt() -> None:
    for more in ((), ("--no-stream",)):
        since = len(requests())
        assert llm(*MODEL, "Count to ten", *more)
        (entry,) = requests(since)
        assert entry["status"] == 200


@check(SCRIPTED)
def prompt_says_what_was_said() -> None:
    assert llm(*MODEL, "-s", "Be brief.", "Hello").endswith("Hello from the script. 😀")


@check(SCRIPTED)
def tool_loop() -> None:
    since = len(requests())
    said = llm(*MODEL, "--functions", WEATHER, "What is the weather in Zürich?")
    assert said.endswith("It is 21 degrees there."), said
    assert [entry["status"] for entry in requests(since)] == [200, 200]


@check()
def schema() -> None:
    wanted = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 40},
            "population": {"type": "integer", "maximum": 10**8},
        },
        "required": ["name", "population"],
        "additionalProperties": False,
    }
    said = json.loads(llm(*MODEL, "--schema", json.dumps(wanted), "Name a city"))
    assert isinstance(said["name"], str)
    assert isinstance(said["population"], int)


@check()
def conversation() -> None:
    llm(*MODEL, "Hello there")
    since = len(requests())
    llm("-c", "-o", "max_tokens", "20", "And again")
    (entry,) = requests(since)
    assert len(entry["body"]["messages"]) == 3
    assert entry["status"] == 200


@check()
def models() -> None:
    assert "local-model" in llm("anthropic", "models")


if __name__ == "__main__":
    run()
