"""The console: a page for people at `/`, which talks to `/v1/messages` like any other client.

The files beside this one are served as they are, from memory; nothing is built, nothing comes from another host. The
page itself is open, as there is nothing secret in it; what it asks of the API carries a key like everybody's.

`main.js` puts the page together, of `base` (elements, dialogs, requests), `conversation` (what is said, and how it is
asked), `reply` (what comes back), `library` (conversations that are kept), `panel` (the prompt, the live server) and
`accounts` (usage and keys).
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from antiphon.api.errors import NotFound
from antiphon.serving.service import Service
from antiphon.surfaces.anthropic import failures
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.surface import Operation, Options, Parameter, Route, Surface

_TYPES = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    # A server that was updated must not be looked at with yesterday's page; an unchanged file costs one 304.
    (b"cache-control", b"no-cache"),
)
# Who asks for `/` decides by what it accepts whether it gets the page.
_VARIES = (b"vary", b"accept")


class _File(NamedTuple):
    body: bytes
    media_type: bytes
    tag: bytes


class _Console:
    def __init__(self) -> None:
        self._files = dict(_read(files(__package__)))

    async def root(self, exchange: Exchange) -> None:
        """The page for browsers, a greeting for programs and probes."""
        if exchange.method == "GET" and _wants_page(exchange.header("accept") or ""):
            await self._send(exchange, self._files["index.html"])
        else:
            body = b'{"name":"antiphon","messages":"/v1/messages"}'
            await exchange.reply(200, body, headers=[_VARIES])

    async def file(self, exchange: Exchange) -> None:
        """A file that the page consists of."""
        file = self._files.get(exchange.rest)
        if file is None:
            raise NotFound(f"the console has no file {exchange.rest!r}")
        await self._send(exchange, file)

    async def _send(self, exchange: Exchange, file: _File) -> None:
        headers = [*_HEADERS, _VARIES, (b"etag", file.tag)]
        known = {tag.strip().removeprefix("W/") for tag in (exchange.header("if-none-match") or "").split(",")}
        if file.tag.decode() in known:
            await exchange.reply(304, headers=headers)
        else:
            await exchange.reply(200, file.body, headers, file.media_type)


def _read(folder: Traversable, below: str = "") -> list[tuple[str, _File]]:
    files: list[tuple[str, _File]] = []
    for entry in folder.iterdir():
        ending = entry.name.rpartition(".")[2]
        if entry.is_dir():
            files += _read(entry, f"{below}{entry.name}/")
        elif ending in _TYPES:
            body = entry.read_bytes()
            tag = b'"' + hashlib.sha256(body).hexdigest()[:20].encode() + b'"'
            files.append((below + entry.name, _File(body, _TYPES[ending], tag)))
    return files


def _wants_page(accept: str) -> bool:
    """Whether HTML is named among what is accepted. `*/*` alone is a program."""
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name in ("text/html", "application/xhtml+xml"):
            return not any(each.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000") for each in parameters)
    return False


_MATCH = Parameter("if-none-match", "header", "The `etag` of the copy that the client has.")
_ROOT = Operation(
    summary="Show the console to browsers, greet programs",
    replies={"text/html": str, "application/json": dict[str, str]},
    parameters=(Parameter("accept", "header", "Clients that name HTML get the page."), _MATCH),
    bare=(304,),
    fails=(),
)
_FILE = Operation(
    summary="Serve a file of the console",
    replies={media_type.decode().partition(";")[0]: str for media_type in _TYPES.values()},
    parameters=(Parameter("file", "path", "Its path.", required=True), _MATCH),
    bare=(304,),
    rest="file",
    fails=(404,),
)


def _routes(service: Service, options: Options) -> list[Route]:
    console = _Console()
    return [
        Route(method="GET", path="/", answer=console.root, open=True, quiet=True, operation=_ROOT),
        Route(method="GET", path="/console/*", answer=console.file, open=True, quiet=True, operation=_FILE),
    ]


SURFACE = Surface(
    name="console",
    routes=_routes,
    failures=failures.FAILURES,
    base="",
)
