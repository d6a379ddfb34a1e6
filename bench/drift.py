"""How often the ids that were sampled are not in the next prompt: here, and where chat routes tokenise the text anew.

    python -m bench.drift                       here, and llama.cpp's own chat route, on the same engine
    python -m bench.drift --vllm URL MODEL      a vLLM server's chat route, and here before it (--tokenizer)
    python -m bench.drift --agents              the agents of `bench.replay`, recorded, held to the law of trajectories

Conversations are sampled at temperature 1. A turn has drifted where its prompt does not begin with the prompt of the
turn before and with all that was sampled for it, but for the token that ended it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from antiphon.trajectories.recorder import conversations
from bench import agents
from bench.asking import connected
from bench.replay import Replay, engine, parsed
from tests.end_to_end.conftest import serving

SUBJECTS = ("the sea", "naïve cafés", "a list of {braces}", "two ships", "1,234.50 €", "def main(): …")
FOLLOW_UPS = ("Go on.", "Now as a table.", "Say it in French.")
LENGTH = 60
"""Tokens of a reply at most."""


class Turn(NamedTuple):
    """The ids of a prompt, and those that were sampled for it."""

    prompt: list[int]
    sampled: list[int]


Say = Callable[[list[dict[str, str]]], tuple[Turn, str]]
"""Asks for the next turn of a conversation; gives its ids and its text."""


def post(url: str, body: Any) -> Any:
    """The JSON answer of a POST."""
    data, headers = json.dumps(body).encode(), {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=600) as answer:
        return json.load(answer)


def ours(url: str) -> Say:
    """By this server's Messages API."""

    def say(messages: list[dict[str, str]]) -> tuple[Turn, str]:
        asked = {"model": "default", "max_tokens": LENGTH, "temperature": 1.0, "return_token_ids": True}
        reply = post(f"{url}/v1/messages", {**asked, "messages": messages})
        text = "".join(block["text"] for block in reply["content"] if block["type"] == "text")
        return Turn(reply["prompt_token_ids"], reply["output_ids"]), text

    return say


def llama_cpp(url: str) -> Say:
    """By the steps of llama.cpp's chat route, one by one, because that one tells no ids."""

    def say(messages: list[dict[str, str]]) -> tuple[Turn, str]:
        text = post(f"{url}/apply-template", {"messages": messages})["prompt"]
        prompt = post(f"{url}/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]
        asked = {"prompt": prompt, "n_predict": LENGTH, "temperature": 1.0, "return_tokens": True}
        reply = post(f"{url}/completion", asked)
        return Turn(prompt, reply["tokens"]), reply["content"]

    return say


def vllm(url: str, model: str) -> Say:
    """By vLLM's chat route, which tells ids where they are asked for."""

    def say(messages: list[dict[str, str]]) -> tuple[Turn, str]:
        asked = {"model": model, "max_tokens": LENGTH, "temperature": 1.0, "return_token_ids": True}
        reply = post(f"{url}/v1/chat/completions", {**asked, "messages": messages})
        (choice,) = reply["choices"]
        return Turn(reply["prompt_token_ids"], choice["token_ids"]), choice["message"]["content"]

    return say


def conversation(say: Say, subject: str) -> list[Turn]:
    """The turns of one conversation."""
    messages = [{"role": "user", "content": f"Tell me about {subject}."}]
    turns = []
    for follow_up in (*FOLLOW_UPS, ""):
        turn, text = say(messages)
        turns.append(turn)
        messages += [{"role": "assistant", "content": text or "…"}, {"role": "user", "content": follow_up}]
    return turns


def drifted(turns: list[Turn]) -> int:
    """How many of the turns after the first have drifted. The token that ended a turn is not in every template."""
    return sum(
        now.prompt[: len(known) - 1] != known[:-1]
        for before, now in pairwise(turns)
        for known in ([*before.prompt, *before.sampled],)
    )


def compare(routes: dict[str, Say], rounds: int) -> None:
    """Print the table."""
    print("| | prompts that did not begin with what was sampled |\n|---|---|", flush=True)
    for name, say in routes.items():
        talks = [conversation(say, subject) for _ in range(rounds) for subject in SUBJECTS]
        print(f"| {name} | {sum(map(drifted, talks))} of {sum(len(talk) - 1 for talk in talks)} |", flush=True)


async def recorded_agents(folder: Path, turns: int) -> int:
    """The agents' conversations, recorded. Prints what the records say; gives how many break the law."""
    record = folder / "record"
    with serving(folder, "--record", str(record)) as server:
        given = parsed(["--turns", str(turns), "--rules", "10", "--tools", "6"])
        async with connected() as client:
            for agent in agents.AGENTS:
                await Replay(server.url, given).talk(client, agent, turns)
    nodes = [node for tree in conversations(record).values() for node in tree.nodes]
    reasons = Counter(node.line.broken or ("begins" if node.line.parent is None else "goes on") for node in nodes)
    tokens = sum(len(node.line.output) for node in nodes)
    untold = sum(
        not node.line.broken and node.line.shared != node.parent.length
        for tree in conversations(record).values()
        for node in tree.nodes
        if node.parent
    )
    print(f"\n{len(nodes)} samples of {tokens} tokens: {dict(reasons)}; {untold} break without a reason")
    return untold


def main() -> int:
    """Compare, or hold to the law."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1, help="of six conversations of four turns")
    parser.add_argument("--vllm", nargs=2, metavar=("URL", "MODEL"))
    parser.add_argument("--tokenizer", default="", help="the folder of the tokenizer that vLLM's model has")
    parser.add_argument("--agents", action="store_true")
    parser.add_argument("--turns", type=int, default=20, help="of each agent")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if arguments.agents:
            return asyncio.run(recorded_agents(folder, arguments.turns))
        if arguments.vllm:
            url, model = arguments.vllm
            tokenizer = ["--tokenizer", arguments.tokenizer] * bool(arguments.tokenizer)
            here = stack.enter_context(serving(folder, f"vllm+{url}", *tokenizer))
            compare({"vLLM's chat route": vllm(url, model), "Antiphon before it": ours(here.url)}, arguments.rounds)
            return 0
        url = stack.enter_context(engine())
        here = stack.enter_context(serving(folder, f"llama.cpp+{url}"))
        compare({"llama.cpp's chat route": llama_cpp(url), "Antiphon": ours(here.url)}, arguments.rounds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
