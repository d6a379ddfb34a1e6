"""Conversations as agents hold them, for measuring what each turn computes: three clients with habits of their own.

All have a long system prompt, many tools, a question that brings calls, parallel calls that another model made before,
results, and system turns in the middle. A reply becomes part of the history in whatever form the client likes.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

Fields = dict[str, Any]

RULE = (
    "Rule {n}: when a file named module_{n}.py is touched, read it first, change as little as possible, keep the "
    "comments, run the tests in tests/test_module_{n}.py and say in one sentence what changed and why.\n"
)
NAMES = ("read", "write", "edit", "search", "list", "run", "status", "move", "copy", "remove", "fetch", "ask", "plan")
LATE = "deploy"
FILES = ("module_1.py", "module_2.py", "README.md")
MARK = {"cache_control": {"type": "ephemeral"}}
EVERY = 3
"""The first of so many turns must be a call, where calls can be forced."""


class Agent(NamedTuple):
    """One client. `billing` is how its system prompt begins: with a line that changes with every request, as a block or
    as part of one string, or without. `cut` is the form of texts in its history, `turned` whether it writes the keys of
    inputs the other way round every other time, `counting` how often a system turn tells the tokens left, in turns,
    `defers` whether a tool is only shown on the way."""

    name: str
    billing: str
    cut: str
    turned: bool
    counting: int
    defers: bool


AGENTS = (
    Agent("coder", "block", "block", turned=False, counting=1, defers=False),
    Agent("reviewer", "string", "string", turned=True, counting=5, defers=False),
    Agent("researcher", "", "split", turned=True, counting=4, defers=True),
)


def tools(agent: Agent, count: int) -> list[Fields]:
    """So many tools, whose input is short whatever the model would like to write."""
    names = [f"{name}_{place}" if place else name for place in ("", "remote") for name in NAMES][:count]
    found = [_tool(name) for name in names]
    found[-1] |= MARK
    return [*found, {**_tool(LATE), "defer_loading": True}] if agent.defers else found


def _tool(name: str) -> Fields:
    properties = {"path": {"type": "string", "enum": list(FILES)}, "all": {"type": "boolean"}}
    return {
        "name": name,
        "description": f"Performs {name} in the working folder and gives the outcome as text.",
        "input_schema": {
            "type": "object",
            "properties": properties,
            "required": ["path", "all"],
            "additionalProperties": False,
        },
    }


def system(agent: Agent, turn: int, rules: int, salt: str) -> Any:
    """The system prompt of this request: so many rules of about 50 tokens. The `salt` tells runs apart."""
    body = f"You are {agent.name} {salt}. Follow these rules.\n" + "".join(RULE.format(n=n) for n in range(rules))
    line = f"x-anthropic-billing-header: cc_version=2.1.0; cc_entrypoint=cli; cch={turn * 7919 % 65536:05x};"
    if agent.billing == "string":
        return f"{line}\n{body}"
    blocks = [{"type": "text", "text": body[:40]}, {"type": "text", "text": body[40:], **MARK}]
    return [{"type": "text", "text": line}, *blocks] if agent.billing else blocks


def parallel(turn: int, ask: str) -> list[Fields]:
    """A question, two calls at once that another model made, their results and the next question."""
    ids = [f"toolu_other{turn}n{n}" for n in range(2)]
    calls = [
        {"type": "tool_use", "id": id, "name": "read", "input": {"path": FILES[n], "all": True}}
        for n, id in enumerate(ids)
    ]
    results = [
        {"type": "tool_result", "tool_use_id": id, "content": f"def größe_{n}():\n    return {turn}\n"}
        for n, id in enumerate(ids)
    ]
    return [
        {"role": "user", "content": ask},
        {"role": "assistant", "content": [{"type": "text", "text": "Reading both."}, *calls]},
        {"role": "user", "content": [*reversed(results), {"type": "text", "text": "What do they have in common?"}]},
    ]


def opening(agent: Agent) -> list[Fields]:
    """How the conversation begins."""
    said = parallel(0, f"I am working with {agent.name}. Look at the first two modules.")
    return [*said, {"role": "system", "content": "# Environment\nThe folder is /srv/shop, the branch is main."}]


def answer(agent: Agent, reply: list[Fields], turn: int) -> list[Fields]:
    """What the client says to a reply: results of all calls, else a question; then perhaps a system turn."""
    calls = [block for block in reply if block["type"] == "tool_use"]
    content: list[Fields] = []
    for call in calls:
        inner = [{"type": "text", "text": f"{call['name']}: line {turn} of 40, “done”\n"}]
        if agent.defers and turn == 2 * EVERY + 1:
            inner.append({"type": "tool_reference", "tool_name": LATE})
        content.append({"type": "tool_result", "tool_use_id": call["id"], "content": inner})
    question = f"Step {turn}: go on with {FILES[turn % 3]}, please."
    if not calls and turn % 6 == 5:
        return parallel(turn, question)
    if not calls or turn % 4 == 0:
        content.append({"type": "text", "text": question})
    said: list[Fields] = [{"role": "user", "content": content}]
    if turn % agent.counting == 0:
        said.append({"role": "system", "content": f"<total_tokens>{90_000 - turn * 311} tokens left</total_tokens>"})
    return said


def retold(agent: Agent, messages: list[Fields], turn: int) -> list[Fields]:
    """The history in the form of this request, with the cache mark on the last user message alone."""
    told = [{**message, "content": _retold(agent, message["content"], turn)} for message in messages]
    last = next(message for message in reversed(told) if message["role"] == "user")
    if isinstance(last["content"], str):
        last["content"] = [{"type": "text", "text": last["content"]}]
    last["content"][-1] = {**last["content"][-1], **MARK}
    return told


def _retold(agent: Agent, content: Any, turn: int) -> Any:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    found: list[Fields] = []
    for block in blocks:
        if block["type"] == "text" and agent.cut == "split" and turn % 2 and len(block["text"]) > 1:
            half = len(block["text"]) // 2
            found += [{"type": "text", "text": part} for part in (block["text"][:half], block["text"][half:])]
        elif block["type"] == "tool_use" and agent.turned and turn % 2:
            found.append({**block, "input": dict(reversed(block["input"].items()))})
        elif block["type"] != "thinking" or turn % 3:
            found.append(block)
    if agent.cut == "string" and turn % 2 and len(found) == 1 and found[0]["type"] == "text":
        return found[0]["text"]
    return found


def script() -> str:
    """A script for the scripted engine, whose model thinks and calls its tools, two at once now and then."""
    call = '<tool_call>\n{"name":"read",  "arguments": {"path": "größe.py", "all":true}}\n</tool_call>'
    thought = "<think>\nWhat  is there to do?\n</think>\n\n"
    start = r"<\|im_end\|>\s*<\|im_start\|>assistant\s*$"
    rules = [
        {"when": r"</tool_response>" + start, "text": f"{thought}It came: “done”. \n"},
        {"when": r"Step \d*[05]:[^<]*" + start, "text": f"{thought}Both  then.\n{call}\n{call}"},
        {"text": f"{thought}Let me see.\n\n{call}"},
    ]
    return json.dumps({"rules": rules})
