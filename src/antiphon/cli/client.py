"""A client of a running server, for the commands that talk to one: over the same HTTP API as everybody else's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import click
import msgspec

from antiphon.process.banner import Served

_Taken = TypeVar("_Taken")


class Unreachable(Exception):
    """The server does not answer, or answers with an error. The message is for people."""


class Server(msgspec.Struct, frozen=True):
    """A server's address (`http://host:port`, no slash at the end) and the key to show it, if any."""

    base: str
    key: str = ""

    def session(self) -> aiohttp.ClientSession:
        """A client for a few requests. A model may think for long, so only connecting has a time limit."""
        headers = {"anthropic-version": "2023-06-01", **({"x-api-key": self.key} if self.key else {})}
        return aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=None, sock_connect=5))


def listed(server: Server) -> list[Served]:
    """The models that the server lists, the default one first, at least one. Raises Unreachable."""
    models = _fetch(server, "/v1/models?limit=1000", lambda page: [_described(model) for model in page["data"]])
    if not models:
        raise Unreachable(f"the server at {server.base} lists no models")
    return models


def _fetch(server: Server, path: str, take: Callable[[Any], _Taken]) -> _Taken:
    """What is taken out of the server's answer. Raises Unreachable."""

    async def ask() -> Any:
        async with server.session() as session, session.get(server.base + path) as response:
            return await checked(response)

    try:
        return take(asyncio.run(ask()))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unreachable(
            f"no server answers at {server.base} ({_reason(error)}); start one with `antiphon serve`, "
            "or say where one runs with --url"
        ) from None
    except (LookupError, TypeError, AttributeError):
        raise Unreachable(f"what answers at {server.base} does not list models as Antiphon does") from None


def _reason(error: Exception) -> str:
    """A few words on why a connection failed."""
    system = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(system, OSError) and system.errno is not None and system.errno > 0:
        return os.strerror(system.errno).lower()
    return str(system) or type(system).__name__


def model_named(server: Server, name: str | None) -> Served:
    """The model that the server means by this name, or its first one. Raises Unreachable."""
    if name is None:
        return listed(server)[0]
    # An alias is not listed, but the server knows which model it is for.
    model = _fetch(server, f"/v1/models/{quote(name)}", _described)
    return msgspec.structs.replace(model, name=name)


def _described(listed: dict[str, Any]) -> Served:
    """A model out of the list of the Messages API."""

    def can(what: str) -> bool:
        return bool(((listed.get("capabilities") or {}).get(what) or {}).get("supported"))

    return Served(
        name=listed["id"],
        window=listed.get("max_input_tokens") or 0,
        max_output=listed.get("max_tokens") or 0,
        thinks=can("thinking"),
        sees=can("image_input"),
    )


async def checked(response: aiohttp.ClientResponse) -> Any:
    """The JSON body of a good answer. Raises Unreachable with the server's own words for a bad one."""
    body = await response.read()
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise Unreachable(f"what answers at {response.url.origin()} is no Antiphon ({response.status})") from None
    if response.status == 200:
        return value
    error = value.get("error") if isinstance(value, dict) else value
    message = error.get("message") if isinstance(error, dict) else error
    raise Unreachable(f"the server at {response.url.origin()} answered {response.status}: {message}")


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """The data of each server-sent event."""
    rest = b""
    async for data in response.content.iter_any():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield msgspec.json.decode(line[5:])


class Reply:
    """A reply as it comes: shows it, unless told not to, and keeps its blocks for the next request. With `progress`, it
    shows how far the prompt is read as long as there is nothing else, on a line that is written over."""

    def __init__(self, *, show: bool = True, progress: bool = False) -> None:
        self.blocks: list[dict[str, Any]] = []
        self._json = ""
        self._shown = show
        self._progress = progress
        self._line = 0

    def _show(self, text: str, **style: Any) -> None:
        if self._shown:
            self._clear()
            click.secho(text, nl=False, **style)

    def _clear(self) -> None:
        if self._line:
            click.echo("\r" + " " * self._line + "\r", nl=False)
            self._line = 0

    def _prompt_read(self, progress: dict[str, int]) -> None:
        self._clear()
        read = f"[reading the prompt: {progress['read_tokens']:,} of {progress['prompt_tokens']:,} tokens]"
        click.secho(read, nl=False, dim=True)
        self._line = len(read)

    def take(self, event: dict[str, Any]) -> None:
        """Take the next event in. Raises Unreachable when it is an error."""
        match event["type"]:
            case "ping" if self._progress and not self.blocks and event.get("progress"):
                self._prompt_read(event["progress"])
            case "content_block_start":
                self.blocks.append(dict(event["content_block"]))
                if self.blocks[-1]["type"] == "tool_use":
                    self._json = ""
                    self._show(f"\n[{self.blocks[-1]['name']}] ", bold=True)
            case "content_block_delta":
                self._delta(event["delta"])
            case "content_block_stop":
                if self.blocks[-1]["type"] == "tool_use":
                    self.blocks[-1]["input"] = msgspec.json.decode(self._json or "{}")
                if self.blocks[-1]["type"] != "text":
                    self._show("\n")
            case "message_delta":
                reason = event["delta"].get("stop_reason")
                if reason not in ("end_turn", "tool_use", "stop_sequence", None):
                    self._show(f"\n[{reason}]", dim=True)
            case "error":
                self._clear()
                raise Unreachable(event["error"]["message"])

    def _delta(self, delta: dict[str, Any]) -> None:
        block = self.blocks[-1]
        match delta["type"]:
            case "text_delta":
                block["text"] += delta["text"]
                self._show(delta["text"])
            case "thinking_delta":
                block["thinking"] += delta["thinking"]
                self._show(delta["thinking"], dim=True)
            case "signature_delta":
                block["signature"] = delta["signature"]
            case "input_json_delta":
                self._json += delta["partial_json"]
                self._show(delta["partial_json"], dim=True)

    def turn(self) -> list[dict[str, Any]]:
        """What the next request may repeat of it: no call without its result, no thinking without its seal."""
        return [
            block
            for block in self.blocks
            if (block["type"] == "text" and block["text"].strip())
            or (block["type"] == "thinking" and block.get("signature"))
        ]
