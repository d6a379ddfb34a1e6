"""`call:NAME{key:value,…}` with strings between marker tokens: Gemma 4 and FunctionGemma."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Many
from typing import Any

from antiphon.constraint import Either, Json, Literal, Marker, Node, Repeat, Sequence, Until, closed
from antiphon.parsing.arguments import Signature
from antiphon.parsing.formats import Example, Format, Grammar, Read, Reasoning
from antiphon.parsing.json.keyed_calls import HINT, KeyedCalls

_MOST_ITEMS = 64


class _Family(KeyedCalls):
    """The markers of a family, with its grammar."""

    def grammar(self, separator: str) -> Grammar:
        """The grammar of calls, a block each."""

        def grammar(tools: Many[tuple[str, dict[str, Any]]], most: int) -> Node:
            def one(name: str, schema: dict[str, Any]) -> Node:
                return Sequence((Marker(f"{self.open}call:{name}"), self._members(Signature(schema), schema, 0), end))

            end = Marker(self.close)
            body = Either(tuple(one(name, schema) for name, schema in tools))
            return Repeat(body, 1, most, Literal(separator) if separator else None)

        return grammar

    def _members(self, signature: Signature, schema: dict[str, Any], depth: int) -> Node:
        required = schema.get("required")
        needed = required if isinstance(required, list) else []
        rest: Node = Literal("}")
        fresh: Node = rest
        for name in reversed(signature.parameters()):
            member = Sequence((Literal(f"{name}:"), self._written(signature, name, depth)))
            after, before = Sequence((Literal(","), member, rest)), Sequence((member, rest))
            fresh = before if name in needed else Either((before, fresh))
            rest = after if name in needed else Either((after, rest))
        return Sequence((Literal("{"), fresh))

    def _written(self, signature: Signature, name: str, depth: int) -> Node:
        quote = Marker(self.quote)
        if choices := signature.choices(name):
            return Sequence((quote, Either(tuple(Literal(choice) for choice in choices)), quote))
        kinds, schema = signature.kinds(name), signature.standing(name)
        if not kinds or "string" in kinds:
            return Sequence((quote, Until(self.quote)))
        if kinds == {"object"} and depth < 4 and Signature(schema).parameters():
            return self._members(Signature(schema), schema, depth + 1)
        if kinds == {"array"} and depth < 4 and isinstance(schema.get("items"), dict):
            item = Signature({**schema, "type": "object", "properties": {"item": schema["items"]}})
            written = self._written(item, "item", depth + 1)
            return Sequence((Literal("["), Repeat(written, 0, _MOST_ITEMS, Literal(",")), Literal("]")))
        return Json(closed(schema), item_separator=",", key_separator=":")

    def example(self) -> Example:
        """A call."""
        return Example(
            f"{self.open}call:f{{x:{self.quote}a b{self.quote},n:1}}{self.close}", (("f", '{"x":"a b","n":1}'),)
        )


_GEMMA4 = _Family("<|tool_call>", "<tool_call|>", '<|"|>', "<turn|>")
_FUNCTION = _Family("<start_function_call>", "<end_function_call>", "<escape>", "<end_of_turn>")


def _format(family: _Family, name: str, summary: str, recognises: Callable[[str], bool], reasoning: str) -> Format:
    read: Read = family.read
    return Format(
        names=(name,),
        summary=summary,
        openers=(family.open,),
        hints=(HINT,),
        visible=(family.close, family.quote),
        read=read,
        recognises=recognises,
        rank=60,
        reasoning=reasoning,
        grammar=family.grammar(""),
        example=family.example(),
    )


FORMATS = (
    _format(
        _GEMMA4,
        "gemma4",
        "call:NAME{…} in <|tool_call> markers (Gemma 4)",
        lambda template: "<|tool_call>" in template or "<|channel>" in template,
        "gemma4",
    ),
    _format(
        _FUNCTION,
        "functiongemma",
        "call:NAME{…} in <start_function_call> markers (FunctionGemma)",
        lambda template: "<start_function_call>" in template,
        "none",
    ),
)

REASONINGS = (
    Reasoning(
        names=("gemma4",),
        summary="<|channel>thought … <channel|> (Gemma 4)",
        opens=("<|channel>thought\n", "<|channel>thought", "<|channel>"),
        closes=("<channel|>",),
        dropped=("<channel|>", "<turn|>", "<|tool_response>"),
        anywhere=True,
        recognises=lambda template: "<|channel>" in template,
        rank=50,
    ),
)
