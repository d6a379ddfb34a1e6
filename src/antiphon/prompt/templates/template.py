"""Chat templates: from messages to text, through the model's own template, in a sandbox.

The environment is the one that Hugging Face templates expect. What a template can and cannot do is found out by
rendering small probes at load, so that no request is the first to learn it.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from antiphon.api.errors import BadRequest

Message = dict[str, Any]
"""A message as templates know it: `role`, `content`, perhaps `tool_calls`, `reasoning_content`, `name`, …"""

_SWITCHES = (
    "enable_thinking",
    "thinking",
    "reasoning_effort",
    "thinking_budget",
    "thinking_mode",
    "reasoning",
    "preserve_thinking",
    "clear_thinking",
    "truncate_history_thinking",
)


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Templates may build lists of their own (several families' do), and change nothing else."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return (type(obj) is list and attr == "append") or super().is_safe_attribute(obj, attr, value)


class _Generation(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}` marks the assistant's text for training; for a prompt it means nothing."""

    tags = {"generation"}  # noqa: RUF012 - the base class says so

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)


def _now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _environment() -> jinja2.Environment:
    environment = _Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols], auto_reload=False
    )
    environment.filters["tojson"] = _to_json
    environment.globals.update(raise_exception=_raise, strftime_now=_now)
    return environment


class Template:
    """One chat template. `source` is its text; `tokens` the texts it may name (`bos_token`, `eos_token`).

    Raises ValueError when the source is no template, or renders not even one user turn."""

    def __init__(self, source: str, **tokens: str) -> None:
        self.source = source
        self._tokens = tokens
        environment = _environment()
        try:
            self._template = environment.from_string(source)
            named = jinja2.meta.find_undeclared_variables(environment.parse(source))
        except jinja2.TemplateError as error:
            raise ValueError(f"the chat template cannot be compiled: {error}") from error
        self._takes_text = named >= {"functions", "datetime"}
        self.switches = tuple(name for name in _SWITCHES if name in source)
        probe: Message = {"role": "user", "content": "probe"}
        self._no_tools: list[Message] | None = None
        if (problem := self._problem([probe])) is not None:
            # A template that is made for tools goes through their list without asking whether there is one.
            self._no_tools = []
            if self._problem([probe]) is not None:
                raise ValueError(f"the chat template cannot render a single user turn: {problem}")
        self.takes_system = self._shows("needle", [{"role": "system", "content": "needle"}, probe])
        self.takes_tools = self._shows("needle", [probe], tools=[_PROBE_TOOL])
        self.takes_calls = self._calls_shown({"value": "needle"}) or self._calls_shown('{"value": "needle"}')
        self.takes_arguments_as_text = not self._calls_shown({"value": "needle"})
        two = _call({"value": "needle"})
        two["tool_calls"] *= 2
        self.takes_parallel_calls = self._shows("needle", [probe, two, _result("x"), _result("x")])
        self.takes_results = self._shows("needle", [probe, _call({"value": 1}), _result("needle")])
        self.takes_reasoning = any(
            self._shows("needle", [probe, _thought(key), _result("x")]) for key in ("reasoning_content", "thinking")
        )

    def _problem(self, messages: list[Message]) -> str | None:
        try:
            self.render(messages)
        except BadRequest as error:
            return error.message
        return None

    def _shows(self, needle: str, messages: list[Message], **variables: Any) -> bool:
        try:
            return needle in self.render(messages, **variables)
        except BadRequest:
            return False

    def _calls_shown(self, arguments: Any) -> bool:
        probe: Message = {"role": "user", "content": "probe"}
        shown = self._shows("needle", [probe, _call(arguments), _result("x")])
        if not shown or isinstance(arguments, str):
            return shown
        # A mapping put into text as it is shows Python's quotes: such a template wants text.
        return "{'value'" not in self.render([probe, _call(arguments), _result("x")])

    def render(
        self, messages: list[Message], *, tools: list[Message] | None = None, generate: bool = True, **variables: Any
    ) -> str:
        """The prompt's text. BadRequest tells what the template refused."""
        if self._takes_text:
            # Firefunction's template wants its tools and the day as text. No hour: a prompt is to stay what it was.
            functions = _to_json(tools, indent=2) if tools else ""
            variables |= {"functions": functions, "datetime": _now("%b %d %Y")}
        try:
            return self._template.render(
                messages=messages,
                tools=self._no_tools if tools is None else tools,
                add_generation_prompt=generate,
                **self._tokens,
                **variables,
            )
        except (jinja2.TemplateError, TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
            raise BadRequest(f"the model's chat template cannot render this conversation: {error}") from error


_PROBE_TOOL: Message = {
    "type": "function",
    "function": {
        "name": "needle",
        "description": "probe",
        "parameters": {"type": "object", "properties": {"value": {"type": "string", "description": "probe"}}},
    },
}


def _call(arguments: Any) -> Message:
    function = {"name": "probe", "arguments": arguments}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "abcdefghi", "type": "function", "function": function}],
    }


def _result(content: str) -> Message:
    return {"role": "tool", "content": content, "tool_call_id": "abcdefghi", "name": "probe"}


def _thought(key: str) -> Message:
    return {**_call({"value": 1}), key: "needle"}
