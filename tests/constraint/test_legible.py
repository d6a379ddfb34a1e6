"""What the engine's older reader of expressions needs."""

from __future__ import annotations

import re

import pytest

from antiphon.constraint import Json, json_rules
from antiphon.constraint.legible import accompanied


def test_what_json_escapes_has_company() -> None:
    """A character that JSON escapes never stands alone; classes of several, and what only looks like it, stay."""
    told = accompanied(r'a\n["]\\x[\n\t]\.[^"]\\n"\x0a\u0022\x41')
    assert told == (
        'a[\\n\ue000]["\ue000][\\\\\ue000]x[\\n\\t]\\.[^"][\\\\\ue000]n["\ue000][\\x0a\ue000][\\u0022\ue000]\\x41'
    )


@pytest.mark.parametrize("text", ['a\n"bc', 'a\n"bbbc', "a\n", 'a\n"c', 'a"bc'])
def test_company_changes_no_verdict(text: str) -> None:
    """What nobody writes aside, the same texts match."""
    pattern = '^a\\n"b+c$'
    assert bool(re.search(accompanied(pattern), text)) == bool(re.search(pattern, text))


def test_every_expression_of_a_schema_has_company() -> None:
    """Wherever it stands in the schema; a member that is called `pattern` is none."""
    lone = {"type": "string", "pattern": "^\\n$"}
    schema = {
        "type": "object",
        "properties": {"pattern": lone, "b": {"type": "array", "items": {"anyOf": [lone, {"$ref": "#/$defs/c"}]}}},
        "$defs": {"c": lone},
    }
    rules: list[str] = []

    def rule(body: str) -> str:
        rules.append(body)
        return f"r{len(rules)}"

    json_rules.JsonRules(Json(schema), rule, lambda name, body: rules.append(body), "j").whole()
    written = "".join(rules)
    assert written.count("\ue000") == 3
    assert '"pattern": "^\\\\n$"' not in written
