"""What a surface is: a name, routes and an envelope for failures; and the options all surfaces share.

A module in this folder, or in one of its rooms, that exports a `SURFACE` is found and served. It must not know the
surfaces of other rooms, nor any engine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Literal, Protocol

import msgspec
from starlette.types import ASGIApp

from antiphon.accounts.accounts import Accounts
from antiphon.api.errors import Failure
from antiphon.api.seal import Seal
from antiphon.observability.model_states import ModelState
from antiphon.observability.request_watch import Watch
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.rounds import CallRules
from antiphon.serving.rate_limits import RateLimiter
from antiphon.serving.service import ModelCard, Service
from antiphon.storage.file_store import FileStore
from antiphon.storage.store import Store
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.ids import fresh_id
from antiphon.trajectories.recorder import Recorder


class Trace(Protocol):
    """Takes down a request that is over."""

    def __call__(self, watch: Watch, route: str, facts: Mapping[str, Any], headers: Mapping[str, str]) -> str:
        """`route` is the path that answered (empty: none did), `facts` the request's line in the log, `headers` those
        that came with it. Gives the id of the trace, empty when it is not kept."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the surfaces are told.

    `seal_key` seals thinking; workers that share traffic share it. `accounts` have the keys that are let in; where they
    require none everybody is, but with `local_only` nobody on another machine. `hosts` are the names by which the
    server may be asked for where no key is, besides its addresses (`*.` in front: whatever is below; `*`: all). With
    `version_optional`, requests need no `anthropic-version` header. `metrics` gives the text of GET /metrics,
    `rate_limiter` the headers that tell a key what it may still use, `crashes` a sentence when the engine dies again
    and again, `model_states` how it is with models that are loaded when they are needed. `trace` takes down a request
    that is over. `store` is where batches and other things of clients are kept (None: nowhere), and `files` are those
    in it; batches that an earlier server kept in the folder `previous_batches` are taken over. So many `workers` share
    the engines of this machine. `server_tools` are those that run here. The `recorder` keeps what was sampled, if it is
    kept. When `leaving` is done, whatever still runs ends in an error. `background` has the tasks that go on after
    their requests were answered, which a server that stops lets finish. Clock and ids come in, so that tests can fix
    them."""

    seal_key: bytes
    accounts: Accounts = msgspec.field(default_factory=Accounts)
    local_only: bool = False
    max_body: int = 32 * 1024 * 1024
    ping_interval: float = 10.0
    first_wait: float = 0.5
    version_optional: bool = False
    previous_batches: str = ""
    workers: int = 1
    store: Store | None = None
    files: FileStore | None = None
    allow_private_urls: bool = False
    hosts: tuple[str, ...] = ()
    metrics: Callable[[], bytes] | None = None
    rate_limiter: RateLimiter | None = None
    crashes: Callable[[], str] | None = None
    model_states: Callable[[], Mapping[str, ModelState]] | None = None
    trace: Trace | None = None
    server_tools: ServerTools = msgspec.field(default_factory=ServerTools)
    recorder: Recorder | None = None
    leaving: asyncio.Future[None] | None = None
    background: set[asyncio.Task[None]] = msgspec.field(default_factory=set)
    clock: Callable[[], float] = time.time
    new_id: Callable[[str], str] = fresh_id

    def call_rules(self, exchange: Exchange, seal: Seal, card: ModelCard) -> CallRules:
        """What holds for the calls of tools that run here, in a request to the model of this card. A surface has one
        `seal` for all its requests."""
        limiter, key = self.rate_limiter, exchange.watch.key
        return CallRules(
            seal=seal,
            bounds=self.server_tools.bounds,
            sees=card.vision,
            window=card.window,
            key=key,
            allow=partial(limiter.take_call, key) if limiter else None,
            note=exchange.watch.called,
        )


Answer = Callable[[Exchange], Awaitable[None]]
Work = Callable[[], Coroutine[Any, Any, None]]


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of a route besides its body. `place` is where it stands; `type` is for msgspec, as in a struct."""

    name: str
    place: Literal["query", "header", "path"]
    summary: str
    type: Any = str
    required: bool = False


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What /openapi.json tells of a route. `body` is the type of the request's JSON, none when it takes none, `form`
    the schema of a form that it takes instead; `replies` are the types of a good answer by media type, and `bare` the
    statuses of others that have no body; `rest` is the name of what stands for the `*` in the path, with `/` between
    several. `fails` lists the statuses of failures that are told here, of all that the surface knows when it is left
    out."""

    summary: str
    description: str = ""
    status: int = 200
    body: Any = None
    form: Mapping[str, Any] = {}
    replies: Mapping[str, Any] = {}
    bare: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    rest: str = ""
    fails: tuple[int, ...] | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One place a surface answers at.

    `path` is without `/v1`; a `*` in it takes whatever stands there, as one of `exchange.wildcards`. An `open` route
    asks for no key, one for the `operator` for an admin's; a `quiet` one leaves no line in the log. `operation`
    describes it.
    """

    method: str
    path: str
    answer: Answer
    operation: Operation | None = None
    open: bool = False
    operator: bool = False
    quiet: bool = False


class Rendered(msgspec.Struct, frozen=True):
    """A failure in a surface's own words."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """How an API tells failures: the `envelope` of one, for a request with an id, the type of its `body`, and the
    `statuses` that there are."""

    envelope: Callable[[Failure, str], Rendered]
    body: Any
    statuses: tuple[int, ...]


class Surface(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP API: its routes over a service, and how it tells failures.

    `tend` gives the work that goes on beside the requests, if there is any, with the application that all surfaces make
    together; it begins again when it breaks off. The rest describes it: `base` is what programs put before its paths;
    `types` are named in its structs as `{"$ref": NAME}`, where JSON is kept raw."""

    name: str
    routes: Callable[[Service, Options], list[Route]]
    failures: Failures
    tend: Callable[[Service, ASGIApp, Options], Work | None] | None = None
    base: str = "/v1"
    types: Mapping[str, Any] = {}
