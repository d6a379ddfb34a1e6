"""Laws over every format's grammar: it compiles for any schema, and whatever it allows, the format's reader reads."""

from __future__ import annotations

import random
from itertools import count
from pathlib import Path

import llguidance
import msgspec
import pytest

from antiphon.api.conversation import GenerationParams, Tool
from antiphon.api.reply import TextBlock, ThinkingBlock, parsed_input
from antiphon.constraint import Free, Node, Until, lark
from antiphon.constraint.plan import Speech, plan
from antiphon.constraint.schema.lowering import lower
from antiphon.parsing.formats import reasoning_named, registry
from antiphon.parsing.outcome import outcome
from antiphon.prompt.known_tools import known

GRAMMARS = [name for name, format in registry().items() if format.grammar]
POINT = {"type": "object", "properties": {"q": {"type": "number"}}}
SCHEMAS = {
    "empty": {"type": "object"},
    "nothing": {"type": "object", "properties": {}},
    "required": {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
        "required": ["a"],
    },
    "optional": {"type": "object", "properties": {"a": {"type": "string"}, "c": {"enum": ["x", "y"]}}},
    "references": {
        "type": "object",
        "$defs": {"point": POINT},
        "properties": {
            "p": {"$ref": "#/$defs/point"},
            "l": {"type": "array", "items": {"$ref": "#/$defs/point"}},
            "n": {"type": ["string", "null"]},
        },
        "required": ["p", "l"],
    },
    **{
        kind: lower(known(kind, {})[0].schema, "llguidance", path="tool").schema
        for kind in ("text_editor_20250728", "bash_20250124", "memory_20250818")
    },
}
CHOICES = {
    "type": "object",
    "properties": {
        "kind": {"type": "string", "enum": ["a b", "<c>"]},
        "flag": {"type": "boolean"},
        "level": {"type": "integer", "enum": [1, 20]},
    },
    "required": ["kind"],
}
OUTPUTS = Path(__file__).parents[1] / "outputs"
_KINDS = {
    str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object", type(None): "null"
}  # fmt: skip
SAMPLES = 12
# Nothing tells the beginning of a call from text, or (Command R) text is written as a call too.
UNHELD = {"beam", "command_r", "functionary_v3_2"}
# Written otherwise than the family's own template would have it.
SPACED = {"cohere_command3", "apriel", "pythonic", "lfm2", "olmo3"}


@pytest.mark.parametrize("name", GRAMMARS)
def test_every_grammar_compiles(name):
    """A grammar compiles for every shape of schema, one call or several, with control tokens or without."""
    grammar = registry()[name].grammar
    for schema in SCHEMAS.values():
        for tools in ([("f", schema)], [("f", schema), ("get-it_2", schema)]):
            for most, token_id in ((1, lambda text: None), (3, lambda text: 7 if len(text) > 1 else None)):
                assert lark.problem(lark.lower(grammar(tools, most), token_id)) == ""


def _ends(node: Node) -> list[str]:
    """The markers that free text in the grammar runs to."""
    if isinstance(node, Until):
        return [node.marker]
    inner = [getattr(node, "node", None), *getattr(node, "nodes", ())]
    return [end for each in inner if each is not None for end in _ends(each)]


def _matcher(node: Node) -> llguidance.LLMatcher:
    grammar = lark.lower(node, lambda text: None).removeprefix("%llguidance {}")
    return llguidance.LLMatcher(llguidance.LLTokenizer("byte"), llguidance.grammar_from("lark", grammar))


def _sampled(node: Node, ends: list[str], source: random.Random, begin: str = "") -> str:
    """A text that the grammar allows, drawn byte by byte after its beginning. Free text is ended at once."""
    matcher = _matcher(node)
    assert matcher.consume_tokens(list(begin.encode())), matcher.get_error()
    written = bytearray(begin.encode())
    while not matcher.is_stopped() and len(written) < 5000:
        mask = matcher.compute_bitmask()
        allowed = [id for id in range(256) if mask[id // 8] >> (id % 8) & 1]
        if matcher.is_accepting() and (not 0 < len(allowed) <= 64 or source.random() < 0.3):
            return written.decode()
        drawn = source.choice(ends).encode() if len(allowed) > 64 else bytes([source.choice(allowed)])
        assert matcher.consume_tokens(list(drawn)), matcher.get_error()
        written += drawn
    return written.decode()


@pytest.mark.parametrize("name", GRAMMARS)
def test_reader_reads_what_the_grammar_allows(name):
    """An output drawn from the grammar is calls and nothing else, each with an input that the schema allows."""
    format = registry()[name]
    schema = msgspec.json.decode(msgspec.json.encode(CHOICES))
    tools = {"f": schema, "get-it_2": schema}
    node = format.grammar(list(tools.items()), 3)
    source = random.Random(name)
    for _ in range(SAMPLES):
        raw = _sampled(node, _ends(node), source)
        numbers = count()
        reply = outcome(
            [raw], format, reasoning_named("none"), tools, new_id=lambda numbers=numbers: str(next(numbers))
        )
        assert reply.blocks, raw
        assert reply.reason == "tool_use", raw
        for block in reply.blocks:
            if isinstance(block, ThinkingBlock):
                continue
            assert not isinstance(block, TextBlock), raw
            assert block.name in tools, raw
            given = parsed_input(block)
            assert given.keys() <= CHOICES["properties"].keys(), raw
            assert given["kind"] in ("a b", "<c>"), raw
            assert given.get("flag", True) in (True, False), raw
            assert given.get("level", 1) in (1, 20), raw


def _amid(name: str, tools: dict[str, object], **more: object) -> Node | None:
    """The grammar of a reply that may call, or not."""
    format = registry()[name]
    speech = Speech(format=format, reasoning=reasoning_named(format.reasoning), **more)
    offered = tuple(Tool(name=name, schema=schema) for name, schema in tools.items())
    return plan(offered, GenerationParams(), speech, dialect="llguidance").whole


@pytest.mark.parametrize("name", GRAMMARS)
def test_calls_in_the_midst_of_text(name):
    """Where no call is forced, text stays free; a call that begins in it is one of a declared tool, with an input that
    the schema allows."""
    node = _amid(name, tools := {"f": CHOICES, "get-it_2": CHOICES})
    assert (node is None) == (name in UNHELD)
    if node is None:
        return
    assert isinstance(node, Free) or registry()[name].reasoning == "apriel"
    free = node if isinstance(node, Free) else _amid(name, tools, starts_thinking=False)
    source = random.Random(name)
    for text in ("<|channel|>commentary ",) if name == "gpt-oss" else ("", "Well < 3, {ok} [so] 'it' is.", "Ça\n\n"):
        assert _matcher(free).try_consume_tokens(list(text.encode())) == len(text.encode())
        for trigger, rest in free.then[:4]:
            if trigger in reasoning_named(registry()[name].reasoning).opens:
                continue
            raw = _sampled(free, _ends(rest), source, begin=text + trigger)
            numbers = count()
            reply = outcome(
                [raw],
                registry()[name],
                reasoning_named("none"),
                tools,
                new_id=lambda numbers=numbers: str(next(numbers)),
            )
            calls = [block for block in reply.blocks if not isinstance(block, TextBlock | ThinkingBlock)]
            assert calls, raw
            for block in calls:
                assert block.name in tools, raw
                assert parsed_input(block)["kind"] in ("a b", "<c>"), raw


@pytest.mark.parametrize("name", sorted(set(GRAMMARS) - UNHELD))
def test_grows_with_its_tools(name):
    """Twice as many tools make twice as much of a grammar, and not four times: coding assistants have many."""
    few, many = (_amid(name, {f"tool_{index}": CHOICES for index in range(10, 10 + count)}) for count in (15, 30))
    assert len(lark.lower(many, lambda text: None)) < 2.5 * len(lark.lower(few, lambda text: None))


@pytest.mark.parametrize("name", sorted(set(GRAMMARS) - UNHELD - SPACED))
def test_what_a_model_writes_well_is_allowed(name):
    """The recorded replies that are written as the family's template does, calls in text and thinking before them, are
    replies that the held model can give."""
    for case in ("one_call", "parallel", "prose_before", "prose_after", "answer", "sample", "thinking_then_call"):
        file = OUTPUTS / name / f"{case}.json"
        if not file.exists():
            continue
        recorded = msgspec.json.decode(file.read_bytes())
        given = {block["name"]: block["input"] for block in recorded["content"] if block["type"] == "tool_use"}
        tools = {}
        for tool in recorded["tools"]:
            properties = {key: {"type": _KINDS[type(value)]} for key, value in given.get(tool["name"], {}).items()}
            tools[tool["name"]] = {"properties": properties, **tool["input_schema"]}
        tail = recorded.get("prompt_tail", "")
        opened = reasoning_named(recorded.get("reasoning", registry()[name].reasoning)).opened_by(tail)
        node = _amid(name, tools, starts_thinking=opened)
        raw = recorded["raw"].encode()
        matcher = _matcher(node)
        assert matcher.try_consume_tokens(list(raw)) == len(raw), raw
        assert matcher.is_accepting()


@pytest.mark.parametrize("name", sorted(set(GRAMMARS) - UNHELD))
def test_tools_that_are_let_go(name):
    """Beside a tool that is held there may be one that is not: of that one the name is held and the rest is free."""
    format = registry()[name]
    speech = Speech(format=format, reasoning=reasoning_named(format.reasoning))
    tools = (Tool(name="f", schema=CHOICES), Tool(name="free", schema={"type": "object"}, strict=False))
    demand = plan(tools, GenerationParams(), speech, dialect="llguidance")
    assert demand.whole is not None
    assert not _matcher(demand.whole).is_error()
    assert {part.name: bool(part.free) for part in demand.parts} == {"f": False, "free": True}
