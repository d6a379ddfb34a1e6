"""Tool search: `tool_search_tool_bm25` and `tool_search_tool_regex`, among the tools that a request defers.

What is found is told of in the result, where the conversation stands, so that what the prompt begins with never
changes; from there on the model may call it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs

from antiphon.api.conversation import Tool
from antiphon.server_tools.tool import Call, Declared, Fields, ToolFailed, server_use

RESULT = "tool_search_tool_result"
MOST = 5
LONGEST = 200
_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_STEEP, _BALANCE = 1.2, 0.75
"""The usual constants of BM25: how soon a word has been said often enough, and how much length counts."""


class ToolSearch:
    """The family. It reaches nothing outside the request."""

    name = "tool_search"

    def takes(self, kind: str) -> bool:
        """Both kinds, dated or not."""
        return re.fullmatch(r"tool_search_tool_(bm25|regex)(_\d+)?", kind) is not None

    def declare(self, kind: str, settings: Mapping[str, Any], where: str) -> list[Declared]:
        """The one tool of the declaration."""
        by_regex = kind.startswith("tool_search_tool_regex")
        name = "tool_search_tool_regex" if by_regex else "tool_search_tool_bm25"
        what = "a regular expression" if by_regex else "a few words"

        async def run(call: Call) -> Fields:
            query = call.input.get("query")
            if not isinstance(query, str) or not query.strip() or len(query) > LONGEST:
                raise ToolFailed("invalid_tool_input", f"query: a string of at most {LONGEST} characters is required")
            found = matching(query, call.searchable) if by_regex else ranked(query, call.searchable)
            listed = [{"type": "tool_reference", "tool_name": name} for name in found[:MOST]]
            return {"content": {"type": "tool_search_tool_search_result", "tool_references": listed}}

        return [
            Declared(
                tool=Tool(
                    name=name,
                    description="Finds more tools that can be called. They are not shown until they are searched for, "
                    f"so search whenever the task may need one. The query is {what}, looked for in the tools' names, "
                    "descriptions and arguments.",
                    schema={
                        "type": "object",
                        "properties": {"query": {"type": "string", "description": f"What to look for: {what}."}},
                        "required": ["query"],
                    },
                ),
                family=self.name,
                use=server_use(name),
                result=RESULT,
                run=run,
                failed=_failed,
                late="execution_time_exceeded",
            )
        ]

    async def trial(self) -> str:
        """Nothing can be wrong with it."""
        return "needs nothing"

    async def close(self) -> None:
        """Nothing is held."""


def _failed(code: str, message: str) -> Fields:
    return {"content": {"type": f"{RESULT}_error", "error_code": code, "error_message": message}}


def matching(pattern: str, tools: Mapping[str, Tool]) -> list[str]:
    """The tools in whose text the expression is found, in their order. The engine takes linear time, whatever a model
    writes. Raises ToolFailed for what is no expression."""
    options = jsonschema_rs.RegexOptions(size_limit=1 << 20)
    try:
        validator = jsonschema_rs.validator_for({"pattern": pattern}, pattern_options=options)
    except (jsonschema_rs.ValidationError, ValueError):
        raise ToolFailed("invalid_tool_input", "query: it is not a regular expression, or is too large") from None
    return [name for name, tool in tools.items() if validator.is_valid("\n".join(_texts(tool)))]


def ranked(query: str, tools: Mapping[str, Tool]) -> list[str]:
    """The tools that say something of the query, by Okapi BM25, the best first."""
    words = {name: Counter(_words(" ".join(_texts(tool)))) for name, tool in tools.items()}
    lengths = {name: sum(counted.values()) for name, counted in words.items()}
    mean = sum(lengths.values()) / max(len(lengths), 1) or 1.0
    scores = dict.fromkeys(words, 0.0)
    for word in dict.fromkeys(_words(query)):
        having = [name for name, counted in words.items() if word in counted]
        rarity = math.log(1 + (len(words) - len(having) + 0.5) / (len(having) + 0.5))
        for name in having:
            often = words[name][word]
            weight = often + _STEEP * (1 - _BALANCE + _BALANCE * lengths[name] / mean)
            scores[name] += rarity * often * (_STEEP + 1) / weight
    return sorted((name for name, score in scores.items() if score), key=lambda name: -scores[name])


def _texts(tool: Tool) -> Iterator[str]:
    yield tool.name
    yield tool.description
    properties = tool.schema.get("properties")
    for name, schema in properties.items() if isinstance(properties, dict) else ():
        yield str(name)
        description = schema.get("description") if isinstance(schema, dict) else None
        yield description if isinstance(description, str) else ""


def _words(text: str) -> list[str]:
    """The words in a text; `getWeather` and `get_weather` are two."""
    return [word.lower() for word in _WORD.findall(_HUMP.sub(" ", text))]
