"""State that older versions wrote is taken over.

`older/` has what they left: of the first version that had batches one that was over, one that a crash broke off, and a
sealed reply; of the first that had files and responses one of each. They were made by requests to those versions.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Server, free_port, serving

OLDER = Path(__file__).parent / "older"
_OVER = "msgbatch_VncK8cc60rBJlbZ4uCd69rbM"
_BROKEN_OFF = "msgbatch_RUyHGt3jNUpjD764YIu6g623"
_RESPONSE = "resp_q2W6PJs8NtrLf8uzPJXeQsWb"
_FILE = "file_3iXOmeVoru0oTwdD0aAi5wbs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of today in a state folder of old, as if it had been left a moment ago: what is kept has an end."""
    state, port, now = tmp_path_factory.mktemp("state"), free_port(), time.time()
    shutil.copy(OLDER / "seal.key", state)
    shutil.copytree(OLDER / "batches", state / f"batches-{port}")
    for about in state.glob("batches-*/*/about.json"):
        about.write_text(json.dumps({**json.loads(about.read_text()), "created": now}))
    shutil.copytree(OLDER / "contents", state / f"contents-{port}")
    with sqlite3.connect(state / f"store-{port}.sqlite") as store:
        store.executescript((OLDER / "store.sql").read_text())
        for table in ("files", "responses", "response_items"):
            store.execute(f"UPDATE {table} SET created = ?", (now,))
    with serving(state, f"scripted+{OLDER / 'script.json'}", "--files-downloadable", port=port) as server:
        yield server


def asked(server: Server, path: str, body: dict[str, Any] | None = None) -> Any:
    """What the server answers: JSON, or lines of it."""
    headers = {"anthropic-version": "2023-06-01", "content-type": "application/json"}
    request = urllib.request.Request(server.url + path, json.dumps(body).encode() if body else None, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read().decode()
    return json.loads(text) if answer.headers["content-type"].startswith("application/json") else text


def results(server: Server, batch: str) -> dict[str, dict[str, Any]]:
    lines = asked(server, f"/v1/messages/batches/{batch}/results").splitlines()
    return {line["custom_id"]: line["result"] for line in map(json.loads, lines)}


def kept(batch: str) -> dict[str, dict[str, Any]]:
    lines = (OLDER / "batches" / batch / "results.jsonl").read_text("utf-8").splitlines()
    return {line["custom_id"]: line["result"] for line in map(json.loads, lines)}


def test_a_batch_that_was_over_has_its_results(server: Server) -> None:
    """All of them, as they were."""
    assert asked(server, f"/v1/messages/batches/{_OVER}")["processing_status"] == "ended"
    assert results(server, _OVER) == kept(_OVER)


def test_a_batch_that_was_broken_off_goes_on(server: Server) -> None:
    """What was answered stays, the rest is answered now."""
    deadline = time.monotonic() + 60
    while asked(server, f"/v1/messages/batches/{_BROKEN_OFF}")["processing_status"] != "ended":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    found = results(server, _BROKEN_OFF)
    assert found["quick"] == kept(_BROKEN_OFF)["quick"]
    assert found["slow"]["type"] == "succeeded"


def test_thinking_that_was_sealed_opens(server: Server) -> None:
    """It is in the prompt again when it comes back; with another seal it is refused."""
    content = json.loads((OLDER / "reply.json").read_text("utf-8"))["content"]
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sea"}
    body = {
        "model": "default",
        "max_tokens": 2000,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [*content, call]},
            {"role": "user", "content": [result]},
        ],
    }
    assert "What to say?" in asked(server, "/v1/messages/render", body)["text"]
    content[0]["signature"] = content[0]["signature"][:-8] + "AAAAAA=="
    with pytest.raises(urllib.request.HTTPError, match="400"):
        asked(server, "/v1/messages", body)


def test_responses_and_files_are_found(server: Server) -> None:
    """A response is retrieved and gone on from; a file is read, and named in a request."""
    assert asked(server, f"/v1/responses/{_RESPONSE}")["status"] == "completed"
    further = asked(server, "/v1/responses", {"model": "default", "input": "And?", "previous_response_id": _RESPONSE})
    assert further["status"] == "completed"
    assert asked(server, f"/v1/files/{_FILE}")["filename"] == "notes.txt"
    document = {"type": "document", "source": {"type": "file", "file_id": _FILE}}
    body = {"model": "default", "max_tokens": 9, "messages": [{"role": "user", "content": [document]}]}
    assert "The sea is wide." in asked(server, "/v1/messages/render", body)["text"]
