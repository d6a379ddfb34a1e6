"""Replays agents' conversations against a Messages API, and shows what each turn had to compute.

    python -m bench.replay                    three conversations on the default model, in the embedded engine
    python -m bench.replay --workers 2        the same with two workers, each turn on a connection of its own
    python -m bench.replay --script           the same on the scripted engine, whose model thinks
    python -m bench.replay --sides 20         one main conversation, and side requests between its turns
    python -m bench.replay --beside           one conversation here and on llama.cpp's own /v1/messages, on one engine
    python -m bench.replay URL                a server that runs already

The replies are the server's own, so the conversation is made on the way. The law: from the second turn on, what was
re-used is at least the previous prompt and its reply, less one `--page`; the exit status is 1 where it is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

import aiohttp

from antiphon.engines.embedded import Launch
from antiphon.engines.models import model_store
from antiphon.process.engine_process import EngineProcess
from antiphon.settings.sources import Settings
from bench import agents
from bench.asking import Turn, ask, connected
from tests.end_to_end.conftest import serving

WINDOW = 8192


class Replay:
    """Conversations with one server. `rules` and `tools` make the system prompt long, `salt` makes it a new one;
    `forcing` says whether calls can be forced, else they are hoped for."""

    def __init__(self, url: str, arguments: argparse.Namespace, salt: str = "", *, forcing: bool = True) -> None:
        self._url = url
        self._arguments = arguments
        self._salt = salt
        self._forcing = forcing

    def body(self, agent: agents.Agent, messages: list[agents.Fields], turn: int) -> agents.Fields:
        """The request of a turn."""
        must = self._forcing and turn % agents.EVERY == 1
        return {
            "model": self._arguments.model,
            "max_tokens": 64 if must or not self._forcing else 16,
            "temperature": 0.7,
            "system": agents.system(agent, turn, self._arguments.rules, self._salt),
            "tools": agents.tools(agent, self._arguments.tools),
            "tool_choice": {"type": "any" if must else "auto"},
            "messages": agents.retold(agent, messages, turn),
            "metadata": {"user_id": f'{{"device_id":"d","session_id":"{agent.name}{self._salt}"}}'},
        }

    async def talk(self, client: aiohttp.ClientSession, agent: agents.Agent, turns: int) -> list[Turn]:
        """A whole conversation, told as it goes."""
        messages = agents.opening(agent)
        past: list[Turn] = []
        print("| turn | prompt | re-used | computed | sampled | first token, s | ended by |")
        print("| ---: | ---: | ---: | ---: | ---: | ---: | --- |")
        for number in range(1, turns + 1):
            await self.turn(client, agent, messages, past)
            print(f"| {number} | {past[-1].row()} |", flush=True)
        return past

    async def turn(
        self, client: aiohttp.ClientSession, agent: agents.Agent, messages: list[agents.Fields], past: list[Turn]
    ) -> None:
        """The next turn; messages and past grow by it."""
        number = len(past) + 1
        turn, reply = await ask(client, self._url, self.body(agent, messages, number))
        past.append(turn)
        # A client has no use for a reply without content, and the API takes none back.
        spoken = [block for block in reply if block["type"] != "text" or block["text"].strip()]
        messages.append({"role": "assistant", "content": spoken or [{"type": "text", "text": "…"}]})
        messages += agents.answer(agent, reply, number)

    async def side(self, client: aiohttp.ClientSession, agent: agents.Agent, number: int) -> Turn:
        """A side request of the same session: every other one a sub-agent with the same instructions and tools, the
        others a title, with instructions of their own."""
        messages = [{"role": "user", "content": f"Side task {number}. " + "Look into it with care. " * 20}]
        body = {**self.body(agent, messages, 2), "max_tokens": 8}
        if number % 2:
            body = {**body, "system": f"Give a title of at most five words to task {number}.", "tools": []}
            del body["tool_choice"]
        return (await ask(client, self._url, body))[0]

    async def beside(self, client: aiohttp.ClientSession, sides: int, turns: int = 6) -> list[Turn]:
        """A main conversation with side requests between its turns, four at a time. Told as it goes."""
        agent, past = agents.AGENTS[0], list[Turn]()
        messages = agents.opening(agent)
        for number in range(turns):
            if number in (2, 4):
                for start in range(0, sides, 4):
                    some = range(start, min(start + 4, sides))
                    await asyncio.gather(*(self.side(client, agent, 100 * number + each) for each in some))
                print(f"| | {sides} side requests | | | | | |")
            await self.turn(client, agent, messages, past)
            print(f"| {number + 1} | {past[-1].row()} |", flush=True)
        return past


def broken(past: list[Turn], page: int) -> list[str]:
    """Where the law does not hold, a sentence each."""
    return [
        f"turn {number}: {turn.reused} re-used, but the turn before had {before.prompt} and sampled {before.output}"
        for number, (before, turn) in enumerate(pairwise(past), 2)
        if turn.reused < before.prompt + before.output - page
    ]


def summary(past: list[Turn]) -> str:
    """What the later turns computed."""
    later = past[1:]
    computed, prompts = sum(turn.computed for turn in later), sum(turn.prompt for turn in later)
    first = median(turn.first for turn in later)
    return f"from turn 2 on: {computed} of {prompts} prompt tokens computed; first token after {first:.2f} s (median)"


def judged(name: str, past: list[Turn], page: int) -> list[str]:
    """Print what came of a conversation; gives its faults."""
    faults = broken(past, page)
    print(f"\n{name}: {summary(past)}; {'; '.join(faults) or 'the law holds'}\n", flush=True)
    return [f"{name}: {fault}" for fault in faults]


@contextmanager
def engine() -> Iterator[str]:
    """The embedded engine alone: its address."""
    model = model_store.resolve("", Path(Settings().cache_dir))
    process = EngineProcess(Launch(model=str(model), window=WINDOW, parallel=4, threads=1), lambda sentence: None)
    try:
        yield f"http://127.0.0.1:{process.start()}"
    finally:
        process.stop()


async def compared(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """The same conversation here and on llama.cpp's own surface, one after the other on the same engine."""
    with engine() as url, serving(folder, f"llama.cpp+{url}") as server:
        faults: list[str] = []
        for name, address in (("Antiphon", server.url), ("llama.cpp", url)):
            print(f"{name}:\n")
            async with connected() as client:
                past = await Replay(address, arguments, f"beside {name}").talk(
                    client, agents.AGENTS[0], arguments.turns
                )
            found = judged(name, past, arguments.page)
            faults += found if name == "Antiphon" else []
        return faults


async def run(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """What the arguments ask for; gives what was wrong."""
    if arguments.beside:
        return await compared(arguments, folder)
    with ExitStack() as stack:
        url = arguments.url
        if not url:
            (folder / "script.json").write_text(agents.script(), "utf-8")
            model = [f"scripted+{folder / 'script.json'}"] if arguments.script else []
            url = stack.enter_context(serving(folder, *model, "--workers", str(arguments.workers))).url
        faults: list[str] = []
        async with connected() as client:
            replay = Replay(url.rstrip("/"), arguments, forcing=not arguments.script)
            if arguments.sides:
                return judged("the main conversation", await replay.beside(client, arguments.sides), arguments.page)
            for agent in agents.AGENTS[: arguments.agents]:
                print(f"{agent.name}:\n")
                faults += judged(agent.name, await replay.talk(client, agent, arguments.turns), arguments.page)
        return faults


def parsed(given: list[str] | None = None) -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="")
    parser.add_argument("--turns", type=int, default=22)
    parser.add_argument("--agents", type=int, default=len(agents.AGENTS), help="how many of the conversations")
    parser.add_argument("--rules", type=int, default=50, help="length of the system prompt, about 50 tokens each")
    parser.add_argument("--tools", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--script", action="store_true")
    parser.add_argument("--sides", type=int, default=0)
    parser.add_argument("--beside", action="store_true")
    parser.add_argument("--page", type=int, default=1, help="tokens the engine may compute again")
    parser.add_argument("--model", default="claude-replay")
    return parser.parse_args(given)


def main() -> int:
    """Replay, and judge."""
    with tempfile.TemporaryDirectory() as folder:
        faults = asyncio.run(run(parsed(), Path(folder)))
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
