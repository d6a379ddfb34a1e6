"""A client of the Messages API whose conversation grows, and who writes its history otherwise each time."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from antiphon.api.reply import Reply, TextBlock, ThinkingBlock, fold, parsed_input
from antiphon.api.seal import Seal
from antiphon.engines import Job
from antiphon.engines.scripted import Rule, Scripted
from antiphon.server_tools.registry import ServerTools
from antiphon.serving.service import Service
from antiphon.surfaces.messages.request import decode
from antiphon.surfaces.messages.request.draft import read_draft
from tests.serving.served import emitted

Fields = dict[str, Any]

SEAL = Seal(b"a key for tests")
MARK = {"cache_control": {"type": "ephemeral"}}
SYSTEM = "You are a careful agent. Größe zählt.\n\nKeep to the rules."


class Style(NamedTuple):
    """One way of writing a history: texts as strings, as one block or cut in two; keys of inputs turned round; JSON
    spaced and escaped otherwise; thinking sent back or left out; white space around texts left out; the system prompt
    as a string or as blocks; a billing line of its own."""

    cut: str = "block"
    turned: bool = False
    spaced: bool = False
    thinking: bool = True
    stripped: bool = False
    system_as_string: bool = False
    billing: int | None = None


PLAIN = Style()


class Talk:
    """The conversation. `past` has the job of each request, the ids sampled for it and the reply."""

    def __init__(
        self,
        service: Service,
        engine: Scripted,
        tools: Sequence[Fields] = (),
        offered: ServerTools | None = None,
    ) -> None:
        self.service, self.engine, self.tools = service, engine, list(tools)
        self.offered = offered or ServerTools()
        self.messages: list[Fields] = []
        self.past: list[tuple[Job, list[int], Reply]] = []

    async def say(self, *content: Fields, model: str, style: Style = PLAIN, system: str = "", **fields: Any) -> Reply:
        """Send these blocks, and perhaps a system turn behind them. The model answers with this output, and the reply
        becomes part of the history."""
        rule = Rule(pieces=tokens(model, self.engine.script.control_tokens))
        self.engine.script = msgspec.structs.replace(self.engine.script, rules=(rule,))
        self.messages.append({"role": "user", "content": list(content)})
        if system:
            self.messages.append({"role": "system", "content": [{"type": "text", "text": system}]})
        body = {"model": "claude-test", "max_tokens": 1000, "system": _system(style), "tools": self.tools, **fields}
        body["messages"] = [_told(message, style) for message in self.messages]
        # The mark moves to the end of what is said now.
        last = body["messages"][-1 - bool(system)]
        if isinstance(last["content"], list):
            last["content"][-1] = {**last["content"][-1], **MARK}
        text = json.dumps(body, ensure_ascii=style.spaced, indent=1 if style.spaced else None)
        asked = decode.decode(read_draft(text.encode(), self.offered), self.service.card("claude-test"), SEAL, {})
        prepared = await self.service.prepare("claude-test", asked.conversation, asked.generation, session="s")
        reply = fold(await emitted(self.service, prepared))
        job = self.engine.jobs[-1]
        self.past.append((job, self.engine.sampled[-1], reply))
        self.messages.append({"role": "assistant", "content": [_block(block) for block in reply.blocks]})
        return reply

    async def answer(self, reply: Reply, *more: Fields, inside: Sequence[Fields] = (), **given: Any) -> Reply:
        """Send the results of all calls of a reply, the last first, with more `inside` the first and beside them."""
        calls = [block for block in reply.blocks if not isinstance(block, TextBlock | ThinkingBlock)]
        results: list[Fields] = [
            {"type": "tool_result", "tool_use_id": call.id, "content": [text(f"{call.name}: “ok” {at}")]}
            for at, call in enumerate(calls)
        ]
        results[0]["content"] += inside
        return await self.say(*reversed(results), *more, **given)

    def broken(self, *, engine: bool = True) -> list[str]:
        """Where a prompt does not begin with the one before it and what was sampled for it, or where the `engine`
        re-used less than that; a sentence each."""
        found = []
        for number, ((job, sampled, _), (later, _, reply)) in enumerate(pairwise(self.past), 2):
            known = [*job.prompt, *sampled]
            if list(later.prompt[: len(known)]) != known:
                found.append(f"turn {number} does not go on: {job.text!r} became {later.text!r}")
            elif engine and reply.usage.cached < len(known) - 1:
                found.append(f"turn {number}: {reply.usage.cached} of {len(known)} were re-used")
        return found


def tokens(raw: str, control: Sequence[str]) -> tuple[str, ...]:
    """The tokens of an output: control tokens, and words with the space before them."""
    marks = "|".join(map(re.escape, sorted(control, key=len, reverse=True)))
    return tuple(re.findall(rf"{marks}|\s*(?:(?!{marks})\S)+|\s+", raw))


def text(words: str) -> Fields:
    """A block of text."""
    return {"type": "text", "text": words}


def _system(style: Style) -> Any:
    line = f"x-anthropic-billing-header: cc_version=2.1; cch={style.billing:05x};" if style.billing is not None else ""
    if style.system_as_string:
        return f"{line}\n{SYSTEM}" if line else SYSTEM
    at = SYSTEM.index("\n")
    return [*([text(line)] if line else []), text(SYSTEM[:at]), {**text(SYSTEM[at:]), **MARK}]


def _told(message: Fields, style: Style) -> Fields:
    blocks = [told for block in message["content"] for told in _rewritten(block, style, message["role"])]
    if style.cut == "string" and len(blocks) == 1 and blocks[0]["type"] == "text":
        return {**message, "content": blocks[0]["text"]}
    return {**message, "content": blocks}


def _rewritten(block: Fields, style: Style, role: str) -> list[Fields]:
    match block["type"]:
        case "thinking":
            return [block] if style.thinking else []
        case "text":
            words = block["text"].strip() if style.stripped and role == "assistant" else block["text"]
            half = len(words) // 2
            return [text(words[:half]), text(words[half:])] if style.cut == "split" and half else [text(words)]
        case "tool_use" if style.turned:
            return [{**block, "input": dict(reversed(block["input"].items()))}]
        case "tool_result" if style.cut == "string" and all(inner["type"] == "text" for inner in block["content"]):
            return [{**block, "content": "".join(inner["text"] for inner in block["content"]), "is_error": False}]
        case _:
            return [block]


def _block(block: Any) -> Fields:
    if isinstance(block, TextBlock):
        return text(block.text)
    if isinstance(block, ThinkingBlock):
        signature = SEAL.sign(block.text, withheld=False)
        return {"type": "thinking", "thinking": block.text, "signature": signature}
    return {"type": "tool_use", "id": block.id, "name": block.name, "input": parsed_input(block)}


def tool(name: str, **more: Any) -> Fields:
    """A tool as clients describe it."""
    properties = {"a": {}, "path": {"type": "string"}, "days": {"type": "integer"}}
    schema = {"type": "object", "properties": properties}
    return {"name": name, "description": f"Does {name}.", "input_schema": schema, **more}
