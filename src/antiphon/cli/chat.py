"""`antiphon chat`: a conversation in the terminal with a running server."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
import click

from antiphon.cli.client import Reply, Server, Unreachable, checked, events, model_named
from antiphon.cli.options import model_option, server_options


@click.command()
@server_options()
@model_option
@click.option("--system", metavar="TEXT", default="", help="Instructions for the model.")
@click.option("--max-tokens", type=click.IntRange(1), default=1024, show_default=True, help="Longest reply, in tokens.")
def chat(server: Server, name: str | None, system: str, max_tokens: int) -> None:
    """Talk to a running server in the terminal.

    /exit or the end of input quits, /new starts a new conversation, Ctrl-C interrupts a reply. Lines may also come
    from a pipe: each one is a turn.
    """
    sys.exit(talk(server, model=name, system=system, max_tokens=max_tokens))


async def _ask(server: Server, request: dict[str, Any], reply: Reply) -> None:
    url, headers = f"{server.base}/v1/messages", {"antiphon-progress": "1"}
    async with server.session() as session, session.post(url, json=request, headers=headers) as response:
        if response.status != 200:
            await checked(response)
        async for event in events(response):
            reply.take(event)


def talk(server: Server, *, model: str | None, system: str, max_tokens: int) -> int:
    """Read lines, show replies, until the input ends; gives the exit status (1 when a reply failed)."""
    interactive = sys.stdin.isatty()
    try:
        model = model or model_named(server, None).name
    except Unreachable as error:
        click.echo(f"antiphon: {error}", err=True)
        return 1
    if interactive:
        import readline  # noqa: F401  (gives input() line editing and a history)

        click.secho(f"{model} at {server.base}; /new forgets, /exit leaves", dim=True)
    turns: list[dict[str, Any]] = []
    failed = False
    while True:
        try:
            line = input("\n> " if interactive else "").strip()
        except (EOFError, KeyboardInterrupt):
            return int(failed)
        if line == "/exit":
            return int(failed)
        if line == "/new":
            turns = []
        elif line:
            request = {"model": model, "max_tokens": max_tokens, "stream": True, "system": system}
            turns, fine = _turn(server, request, [*turns, {"role": "user", "content": line}])
            failed = failed or not fine


def _turn(server: Server, request: dict[str, Any], turns: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """Show the reply to the turns; gives the turns that the next request builds on, and whether all went well."""
    reply, fine = Reply(progress=sys.stdout.isatty()), True
    if not request["system"]:
        del request["system"]
    try:
        asyncio.run(_ask(server, {**request, "messages": turns}, reply))
    except KeyboardInterrupt:
        click.secho(" [broken off]", nl=False, dim=True)
    except (Unreachable, aiohttp.ClientError, OSError) as error:
        click.echo(f"antiphon: {error}", err=True)
        fine = False
    click.echo()
    said = reply.turn()
    return ([*turns, {"role": "assistant", "content": said}] if said else turns[:-1]), fine
