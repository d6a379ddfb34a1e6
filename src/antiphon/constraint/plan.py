"""What a request demands of its output, in the terms of the model's format."""

from __future__ import annotations

from collections.abc import Sequence as Many
from functools import lru_cache
from typing import Any
from typing import Literal as OneOf

import msgspec

from antiphon.api.citations import Source
from antiphon.api.conversation import GenerationParams, Tool
from antiphon.api.errors import BadRequest
from antiphon.constraint import Either, Free, Json, Literal, Marker, Node, Pattern, Sequence, Until, after, lead
from antiphon.constraint import schemas as json_schemas
from antiphon.constraint.schema import Unheld, lower
from antiphon.constraint.schema.capabilities import CAPABILITIES
from antiphon.parsing import citations
from antiphon.parsing.arguments import Signature
from antiphon.parsing.formats import Format, Reasoning

MOST_CALLS = 8
"""Parallel calls that a forced turn of a model trained on tools may make. One that was not (its template knows none)
does not know when to stop either, and makes one."""

_THINKING = ("enabled", "adaptive", "between_tools")
_NAME_ENDS = ('"', "'", "(", "\n", " ", ">")
_UNNAMED = "the format writes each parameter by itself, and the schema names none"
_RELEASED = "the tool is let go, and nobody forced a call"
_NO_BEGINNING = "nothing in the format tells the beginning of a call from text"
_PARAMETERS_APART = "the format writes each parameter by itself"
_TEXT_FREE = "the format writes text as it is, up to a marker"
_NOTES = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "nullable"}
)
_TOLD = _NOTES | {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "$defs",
    "definitions",
    "$schema",
    "$id",
    "id",
}

Called = tuple[str, dict[str, Any]]
"""A tool's name and its schema."""

Triggered = tuple[tuple[str, Node], ...]
"""Texts that may stand in other text, each with what must follow it."""

HoldCalls = OneOf["always", "strict", "never"]
"""Which calls that a model makes of its own accord are held to the names and schemas of the tools, from the moment that
one begins: `always` all but those of a tool that says `strict: false`, `strict` those of a tool that says `strict:
true`, `never` none. What is forced is held in any case."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A schema of a request: that of a tool's input by its `name`, or that of the output (`name` is empty). `free` says
    why nothing holds the model to it (empty: something does), `unheld` what is left to check. A `released` one is not
    checked either: the client or the operator let the model go."""

    name: str
    free: str = ""
    unheld: tuple[Unheld, ...] = ()
    released: bool = False

    @property
    def left(self) -> bool:
        """Whether something is left to check."""
        return bool(self.free or self.unheld) and not self.released


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What must be true of an output: `whole` of all of it, `answer` of what comes after the thinking (none: it is
    free). Where `begins` are given, any answer keeps it that has none of these texts in it. `parts` tells what becomes
    of each schema."""

    whole: Node | None = None
    answer: Node | None = None
    begins: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """How a model writes. `marks` are the control tokens that may stand in its text. `starts_thinking` says that the
    prompt leaves it in its thinking, `trained` that it knows tools by itself, `thinks` that it thinks unless told not
    to. `window` is the room for prompt and reply in tokens, where it is known: no value can be longer."""

    format: Format
    reasoning: Reasoning
    marks: tuple[str, ...] = ()
    starts_thinking: bool = False
    trained: bool = True
    thinks: bool = False
    window: int | None = None


def plan(
    tools: tuple[Tool, ...],
    params: GenerationParams,
    speech: Speech,
    *,
    dialect: str,
    hold: HoldCalls = "always",
    sources: tuple[Source, ...] = (),
    compiled: bool = True,
) -> Demand:
    """What the request demands. With thinking, the reasoning runs free and the demand begins after it. What is cited
    is one of the `sources`. With `compiled`, each schema is compiled by itself, too. Raises BadRequest for a schema
    that the model must keep and no value can."""
    choice, format = params.tool_choice, speech.format
    # Whatever the engine takes, a schema that no value satisfies is refused.
    dialect = dialect if dialect in CAPABILITIES else "llguidance"
    named = tuple(tool for tool in tools if choice.mode != "tool" or tool.name == choice.name)
    most = MOST_CALLS if speech.trained and choice.parallel else 1
    if choice.mode in ("any", "tool"):
        schemas, parts = _schemas(named, speech, dialect, forced=True, compiled=compiled)
        answer = format.grammar(schemas, most) if schemas and format.grammar else None
    elif params.output_schema is not None:
        lowered = lower(
            params.output_schema, dialect, path="output_config.format.schema", window=speech.window, compiled=compiled
        )
        schemas, parts = (
            _schemas(named, speech, dialect, forced=True, compiled=compiled) if choice.mode == "auto" else ([], ())
        )
        parts = (*parts, Part(name="", unheld=lowered.unheld))
        answer = Json(lowered.schema)
        if schemas and format.grammar:
            answer = Either((format.grammar(schemas, most), format.answer(answer) if format.answer else answer))
    elif choice.mode == "auto":
        return _offered(named, speech, dialect, hold, most, citations.trigger(sources), compiled)
    else:
        # The tools stay in the prompt, which keeps its prefix; the model is only kept from opening a call.
        cites, openers = citations.trigger(sources), _openers(format) if tools else ()
        free = Free(openers, then=cites, marks=speech.marks) if openers or cites else None
        return Demand(whole=free, answer=free, begins=() if cites else openers)
    return Demand(whole=answer and _after_thinking(answer, params, speech), answer=answer, parts=parts)


def _after_thinking(answer: Node, params: GenerationParams, speech: Speech) -> Node:
    format, reasoning = speech.format, speech.reasoning
    if format.answer and isinstance(answer, Json):
        return format.answer(answer)
    if not reasoning.closes:
        return answer
    think = Sequence((Until(reasoning.closes[0]), Pattern(r"\n{0,2}")))
    if speech.starts_thinking:
        return Sequence((think, answer))
    if params.thinking.mode in _THINKING or (speech.thinks and params.thinking.mode == "default"):
        opened = Sequence((Marker(reasoning.opens[0]), think)) if reasoning.opens else think
        return Sequence((Either((opened, Literal(""))), answer))
    return answer


def _offered(
    tools: tuple[Tool, ...],
    speech: Speech,
    dialect: str,
    hold: HoldCalls,
    most: int,
    cites: Triggered,
    compiled: bool,
) -> Demand:
    """The model may say what it likes; a call or a citation, once begun, must be right."""
    format, reasoning = speech.format, speech.reasoning
    held = tuple(
        tool for tool in tools if hold != "never" and (tool.strict or (hold == "always" and tool.strict is None))
    )
    schemas, parts = _schemas(held, speech, dialect, forced=False, compiled=compiled)
    known = {name for name, _ in schemas}
    released = [tool.name for tool in tools if tool.name not in known]
    parts = (*parts, *(Part(name=tool.name, free=_RELEASED, released=True) for tool in tools if tool not in held))
    calls = triggers(format, schemas, released, most) if schemas else ()
    if not calls:
        parts = tuple(msgspec.structs.replace(part, free=part.free or _NO_BEGINNING) for part in parts)
        if not cites:
            return Demand(parts=parts)
    thoughts = tuple((opener, _thought(speech)) for opener in reasoning.opens) if reasoning.closes else ()
    begun = tuple(trigger for trigger, _ in calls)
    others = tuple(opener for opener in _openers(format) if not any(trigger in opener for trigger in begun))
    answer = Free(others if calls else (), then=(*calls, *thoughts, *cites), marks=speech.marks)
    whole = _thought(speech, answer) if speech.starts_thinking and reasoning.closes else answer
    # The text of a citation is told as it comes: there is no going back behind one.
    return Demand(whole=whole, answer=answer, begins=() if cites else (*begun, *others), parts=parts)


def _thought(speech: Speech, *answer: Node) -> Node:
    """Thinking that has begun, and what follows it. It may go on to the end of the reply."""
    close = speech.reasoning.closes[0]
    return Either((Sequence((Until(close), *answer)), Free((close,))))


def _openers(format: Format) -> tuple[str, ...]:
    """What calls are opened with. Where one opener has another in it, that one tells of both."""
    openers = tuple(opener for opener in format.openers if opener not in format.asides)
    return tuple(opener for opener in openers if not any(other in opener for other in openers if other != opener))


def triggers(format: Format, tools: Many[Called], released: Many[str], most: int) -> Triggered:
    """The texts that a call begins with, each with the grammar of what follows it: the format's openers, or, where a
    call has none, its own beginning up to the name. Of `released` tools only the name is held. Empty where nothing
    tells a call from text."""
    if format.grammar is None:
        return ()
    if format.triggers:
        return format.triggers(tools)
    calls = format.grammar(tools, most)
    heads = {name: lead(format.grammar([(name, schema)], 1)) for name, schema in (*tools, *((n, {}) for n in released))}
    start = lead(calls)
    known = {opener: _rest(calls, start, opener) for opener in _openers(format) if opener in start}
    names = {opener: tuple(_named(heads[name], opener, name) for name in released) for opener in known}
    if known:
        # Another way to open a call goes on as this one does.
        usual = next(iter(known))
        ways = {opener: opener if opener in known else usual for opener in _openers(format)}
        return tuple((opener, Either((known[way], *names[way]))) for opener, way in ways.items())
    pairs = [(opener, calls) for opener in _openers(format)]
    for name, _ in tools:
        begun = _named(heads[name], "", name).text if name in heads[name] else ""
        if not begun.endswith(_NAME_ENDS):
            return ()
        pairs.append((begun, _rest(calls, begun, begun)))
    return tuple(pairs)


def _rest(calls: Node, start: str, opener: str) -> Node:
    """What follows the opener, of calls that start so."""
    rest = after(calls, start[: start.index(opener)] + opener)
    assert rest is not None
    return rest


def _named(head: str, opener: str, name: str) -> Marker:
    """From an opener on, a call's head to the end of the name, and to what ends the name if that is text."""
    start = head.index(opener) + len(opener)
    if name not in head[start:]:
        return Marker(head[start:])
    end = head.index(name, start) + len(name)
    return Marker(head[start : end + 1] if head[: end + 1].endswith(_NAME_ENDS) else head[start:end])


def _schemas(
    tools: Many[Tool], speech: Speech, dialect: str, *, forced: bool, compiled: bool
) -> tuple[list[Called], tuple[Part, ...]]:
    """The schemas of tools as the dialect has them, and what becomes of them. Where no call is forced, a tool that no
    grammar can hold is let go, unless it is strict."""
    format, schemas, parts = speech.format, list[Called](), list[Part]()
    for tool in tools:
        try:
            path = f"tools.{tool.name}.input_schema"
            lowered = lower(tool.schema, dialect, path=path, window=speech.window, compiled=compiled)
        except BadRequest as reason:
            if forced or tool.strict:
                raise
            parts.append(Part(name=tool.name, free=str(reason), released=True))
            continue
        if not forced and "properties" not in tool.schema and _apart(format):
            parts.append(Part(name=tool.name, free=_UNNAMED))
            continue
        schemas.append((tool.name, lowered.schema))
        parts.append(Part(name=tool.name, unheld=(*lowered.unheld, *loose(format, tool.schema))))
    return schemas, tuple(parts)


def loose(format: Format, schema: dict[str, Any]) -> tuple[Unheld, ...]:
    """What of a tool's schema a format's grammar leaves out because it writes every parameter by itself, and text as it
    is: all that is said of several at once, and of a text more than that it is one."""
    if not _apart(format):
        return ()
    signature = Signature(schema)
    left = [Unheld(f"/{key}", key, _PARAMETERS_APART) for key in schema if key not in _TOLD]
    for name in signature.parameters():
        inner = signature.shape.schema_of(name)
        kinds = signature.kinds(name)
        if (not kinds or "string" in kinds) and not signature.choices(name):
            said = (key for key in inner if not _says_type(key, inner))
            left += [Unheld(f"/properties/{name}/{key}", key, _TEXT_FREE) for key in said]
    return tuple(left)


def _says_type(key: str, schema: dict[str, Any]) -> bool:
    """Whether a keyword says no more of a value than its type."""
    if key in ("anyOf", "oneOf"):
        # One that is no list says nothing at all.
        members = schema[key] if isinstance(schema[key], list) else []
        each = [member for member in members if isinstance(member, dict)]
        return all(_says_type(inner, member) for member in each for inner in member)
    return key in _NOTES or key == "type"


@lru_cache(maxsize=256)
def _apart(format: Format) -> bool:
    probe = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    held = json_schemas(format.grammar([("f", probe)], 1)) if format.grammar else []
    return not any("a" in schema.get("properties", ()) for schema in held)
