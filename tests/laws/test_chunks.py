"""Laws over every recorded output of every format: chunks, truncation, stops."""

from __future__ import annotations

import os
import random

import pytest

from antiphon.api.reply import TextBlock, ThinkingBlock, parsed_input
from antiphon.parsing.formats import registry
from tests.outputs import content, cut, records, reply

RECORDS = records()
# `CUTTINGS=2000 make test TESTS=tests/laws` looks harder.
CUTTINGS = int(os.environ.get("CUTTINGS", "40"))


@pytest.mark.parametrize(("name", "record"), RECORDS, ids=[name for name, _ in RECORDS])
def test_an_output_means_what_its_record_says(name, record):
    """A recorded output means what its record says."""
    read = reply(name, record, [record["raw"]])
    assert content(read) == record["content"]
    assert read.reason == record["stop_reason"]


@pytest.mark.parametrize(("name", "record"), RECORDS, ids=[name for name, _ in RECORDS])
def test_cutting_an_output_changes_nothing(name, record):
    """Every way of cutting an output gives the same reply, to the last character."""
    raw = record["raw"]
    whole = reply(name, record, [raw])
    assert reply(name, record, list(raw)) == whole
    source = random.Random(name)
    for _ in range(CUTTINGS):
        places = source.sample(range(len(raw) + 1), source.randint(0, min(len(raw), 12)))
        assert reply(name, record, cut(raw, places)) == whole


@pytest.mark.parametrize(("name", "record"), RECORDS, ids=[name for name, _ in RECORDS])
@pytest.mark.parametrize("limit", [True, False])
def test_every_beginning_of_an_output_is_legal(name, record, limit):
    """Every beginning of an output gives a legal reply: no empty block, every call's input an object, no exception,
    and a call that broke off at the limit never ends the reply as a call."""
    sizes = range(len(record["raw"]))
    for size in sizes if len(sizes) < 400 else random.Random(name).sample(sizes, 400):
        read = reply(name, record, [record["raw"][:size]], limit=limit)
        for block in read.blocks:
            if isinstance(block, TextBlock | ThinkingBlock):
                assert block.text
            else:
                parsed_input(block)
        calls = [block for block in read.blocks if not isinstance(block, TextBlock | ThinkingBlock)]
        assert (read.reason == "tool_use") <= bool(calls)
        if limit:
            assert read.reason in ("max_tokens", "tool_use")
            assert read.reason != "tool_use" or calls[-1].complete
        else:
            assert read.reason == ("tool_use" if calls else "end_turn")


@pytest.mark.parametrize("name", [name for name, format in registry().items() if name != "plain"])
def test_every_format_is_under_the_laws(name):
    """Every format has recorded outputs, one of them with a call."""
    own = [record for at, record in RECORDS if at.startswith(f"{name}/")]
    assert any(record["stop_reason"] == "tool_use" for record in own)


@pytest.mark.parametrize("name", [name for name, format in registry().items() if name != "plain"])
def test_a_closing_marker_that_was_cut_is_no_text(name):
    """Of a call that is whole and the limit cut off within the markers that close it, a client sees only the call."""
    format = registry()[name]
    assert format.example
    record = {"tools": [{"name": call, "input_schema": {"type": "object"}} for call, _ in format.example.calls]}
    raw = format.example.raw
    whole = content(reply(name, record, [raw]))
    for size in range(1, len(raw)):
        read = content(reply(name, record, [raw[:size]], limit=True))
        calls = [at for at, block in enumerate(read) if block["type"] == "tool_use"]
        if calls and len(calls) == sum(block["type"] == "tool_use" for block in whole):
            said = "".join(block["text"] for block in whole[calls[-1] + 1 :])
            assert said.startswith("".join(block["text"] for block in read[calls[-1] + 1 :])), raw[:size]
