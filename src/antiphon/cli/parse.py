"""`antiphon parse`: what the server would make of a raw model output, by the server's own code. For bug reports."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from antiphon.api.reply import Reply, TextBlock, ThinkingBlock, ToolBlock
from antiphon.cli.options import Failed, settings_options
from antiphon.parsing.formats import Format, Reasoning, format_named, reasoning_named
from antiphon.parsing.outcome import outcome
from antiphon.parsing.splitter import markers
from antiphon.settings import sources
from antiphon.storage.lines import one_line


class ToolDefinition(msgspec.Struct, frozen=True):
    """A tool in the API's shape; more members may be there."""

    name: str
    input_schema: dict[str, Any] = {}


class Output(msgspec.Struct, frozen=True):
    """A raw output: the text, the tools that were offered, the end of the prompt (None when it is not known). `limit`
    says that it was cut at the token limit."""

    raw: str
    tools: tuple[ToolDefinition, ...] = ()
    prompt_tail: str | None = None
    limit: bool = False


def parsers(tool_call_parser: str, reasoning_parser: str) -> tuple[Format, Reasoning]:
    """The parsers of these names; `auto` is hermes for calls, and for thinking what goes with the calls. ValueError
    when unknown."""
    format = format_named("hermes" if tool_call_parser in ("", "auto") else tool_call_parser)
    chosen = format.reasoning if reasoning_parser in ("", "auto") else reasoning_parser
    return format, reasoning_named(chosen)


def parsed(output: Output, format: Format, reasoning: Reasoning) -> bytes:
    """JSON: `{"content": [...], "stop_reason": ...}`, the input of calls spaced as the model wrote it."""
    numbers = count(1)
    tools = {tool.name: tool.input_schema for tool in output.tools}
    reply = outcome(
        [output.raw],
        format,
        reasoning,
        tools,
        new_id=lambda: f"toolu_{next(numbers):024}",
        prompt_tail=_likely_tail(output.raw, format, reasoning) if output.prompt_tail is None else output.prompt_tail,
        limit=output.limit,
    )
    return msgspec.json.encode({"content": _content(reply), "stop_reason": reply.reason})


def _likely_tail(raw: str, format: Format, reasoning: Reasoning) -> str:
    """What a prompt of which nothing is known ended with: an output in which thinking is closed before anything else
    is marked began inside thinking."""
    marks = markers(*reasoning.closes, *reasoning.opens, *reasoning.dropped, *format.openers, *format.hints)
    first = marks.find(raw, 0)
    return reasoning.opens[0] if first and first[0] in reasoning.closes and reasoning.opens else ""


def tools_of(text: bytes) -> tuple[ToolDefinition, ...]:
    """The tools of a JSON array in the API's shape. ValueError where it is none."""
    return msgspec.json.decode(text.removeprefix(codecs.BOM_UTF8), type=tuple[ToolDefinition, ...])


def parsed_lines(
    lines: Iterable[bytes],
    format: Format,
    reasoning: Reasoning,
    *,
    tools: tuple[ToolDefinition, ...] = (),
    prompt_tail: str | None = None,
) -> Iterator[bytes]:
    """One line of JSON for each line of JSON, on however many the model wrote; `tools` and `prompt_tail` hold for lines
    that have none of their own. ValueError names the line that is no output."""
    decoder = msgspec.json.Decoder(Output)
    for number, line in enumerate(lines, 1):
        text = line.removeprefix(codecs.BOM_UTF8)
        if text.strip():
            try:
                output = decoder.decode(text)
            except msgspec.MsgspecError as error:
                raise ValueError(f"line {number}: {error}") from None
            whole = replace(
                output,
                tools=output.tools or tools,
                prompt_tail=prompt_tail if output.prompt_tail is None else output.prompt_tail,
            )
            yield one_line(parsed(whole, format, reasoning))


def _content(reply: Reply) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    for block in reply.blocks:
        match block:
            case TextBlock(text):
                content.append({"type": "text", "text": text})
            case ThinkingBlock(text):
                content.append({"type": "thinking", "thinking": text})
            case ToolBlock():
                content.append(
                    {"type": "tool_use", "id": block.id, "name": block.name, "input": msgspec.Raw(block.input.encode())}
                )
    return content


@click.command()
@settings_options("tool_call_parser", "reasoning_parser")
@click.option("--prompt-tail", metavar="TEXT", help="The end of the prompt; where unknown, guessed from the output.")
@click.option("--tools", metavar="FILE", type=click.Path(exists=True), help="The tools that were offered, as JSON.")
@click.option("--jsonl", is_flag=True, help="Read lines of JSON: objects with raw, tools, prompt_tail.")
def parse(settings: sources.Settings, prompt_tail: str | None, tools: str | None, jsonl: bool) -> None:
    """Show what the server would make of a raw model output.

    The output is read from standard input; for each one a line of JSON is printed, with the content and the stop
    reason that a client would get.
    """
    try:
        chosen = parsers(settings.tool_call_parser, settings.reasoning_parser)
        offered = tools_of(Path(tools).read_bytes()) if tools else ()
        if jsonl:
            for line in parsed_lines(sys.stdin.buffer, *chosen, tools=offered, prompt_tail=prompt_tail):
                sys.stdout.buffer.write(line + b"\n")
        else:
            raw = sys.stdin.buffer.read().decode("utf-8", "replace")
            output = Output(raw=raw, tools=offered, prompt_tail=prompt_tail)
            sys.stdout.buffer.write(parsed(output, *chosen) + b"\n")
    except ValueError as error:
        raise Failed(str(error)) from None
