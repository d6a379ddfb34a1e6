"""Every recorded output, streamed, through the official TypeScript SDK: its message is the unstreamed reply."""

from __future__ import annotations

import json
import shutil
import subprocess
from itertools import chain

import pytest

from antiphon.api.reply import fold
from antiphon.surfaces.messages import encode, message
from tests.end_to_end.conftest import CLIENTS
from tests.laws.test_surfaces import MESSAGES, RECORDS, batches
from tests.surfaces.order import check, frames


def line(name, record):
    """One stream and the reply it must amount to, after the stream has passed the independent state table."""
    told = batches(name, record, list(record["raw"]))
    encoder = encode.Encoder(MESSAGES)
    events = frames(b"".join(encoder.batch(batch) for batch in told))
    assert check(events) == "message_stop"
    reply = json.loads(message.whole(MESSAGES, fold(chain.from_iterable(told))))
    return json.dumps({"name": name, "events": events, "reply": reply})


def test_the_typescript_sdk_reads_the_same_reply():
    """No recorded output makes a stream that the TypeScript SDK refuses or reads otherwise than the reply."""
    node = shutil.which("node")
    folder = CLIENTS / "node"
    if node is None or not (folder / "node_modules").exists():
        pytest.skip("`make clients` has not installed the TypeScript SDK, or there is no node")
    program = folder / "accumulate.mjs"
    program.write_text((CLIENTS.parent / "tests/laws/accumulate.mjs").read_text("utf-8"))
    given = "\n".join(line(name, record) for name, record in RECORDS)
    done = subprocess.run([node, str(program)], input=given, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    assert done.stdout.strip() == f"{len(RECORDS)} streams"
