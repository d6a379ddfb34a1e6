"""Formats that are held by the grammar: all that it allows is of the format, and what people write is allowed."""

from __future__ import annotations

import json
import random

import jsonschema_rs
import pytest

from antiphon.constraint.schema import formats

from .matching import Grammar

WRITTEN = {
    "date": ["2026-01-31", "2024-02-29", "2000-02-29"],
    "time": ["12:30:00Z", "23:59:60Z", "08:00:00.25+02:00"],
    "date-time": ["2026-11-28T12:30:00Z", "1990-12-31t23:59:60z", "2026-02-28T08:00:00.123-05:00"],
    "duration": ["P3D", "PT5M", "P1Y2M"],
    "email": ["jane.doe+x@example.org", "j@[10.0.0.1]"],
    "hostname": ["example.org", "a-b.c"],
    "ipv4": ["127.0.0.1"],
    "ipv6": ["::1", "2001:db8::8:800:200c:417a"],
    "uuid": ["f81d4fae-7dec-11d0-a765-00a0c91e6bf6"],
    "uri": [
        "https://user@example.org:8080/a/b%20c?d=e&f#g", "file:///etc/hosts", "mailto:a@b.c", "urn:isbn:1",
        "http://[2001:db8::7]/c", "http://[::ffff:1.2.3.4]", "x:",
    ],
    "uri-reference": ["../a?b#c", "#", "", "//example.org", "a/b:c", "https://a.b"],
    "json-pointer": ["", "/a/0", "/~0~1"],
    "relative-json-pointer": ["0", "1/a", "2#"],
}  # fmt: skip
OTHERS = {
    "date": ["2026-02-29", "1900-02-29", "2026-13-01"],
    "time": ["12:30:60Z"],
    "date-time": ["2026-11-28T12:30:60Z", "2023-02-29T00:00:00Z"],
    "email": [f"{'a' * 65}@b.c", "a@"],
    "hostname": ["ab--c", "a..b"],
    "uri": ["a b:c", "/a", "http://[1]", "a:%zz"],
    "uri-reference": [":a", "%"],
    "json-pointer": ["a", "/~2"],
}
DRAWN = 8


@pytest.mark.parametrize("name", formats.LLGUIDANCE)
def test_formats_are_held_exactly(name: str) -> None:
    """Nothing is left to check; what is written usually is allowed, and what is drawn is of the format."""
    grammar = Grammar({"type": "string", "format": name})
    assert not grammar.lowered.unheld
    assert [text for text in WRITTEN[name] if not grammar.holds(text)] == []
    assert [text for text in OTHERS.get(name, ()) if grammar.holds(text)] == []
    source, validator = random.Random(name), jsonschema_rs.Draft202012Validator({"format": name}, validate_formats=True)
    drawn = [json.loads(text) for text in (grammar.drawn(source, 60) for _ in range(DRAWN)) if text is not None]
    assert [text for text in drawn if not validator.is_valid(text)] == []
