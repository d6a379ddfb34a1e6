"""The settings → the parts of a worker: what each is made with. (`app.py` puts them together.)"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from antiphon import surfaces
from antiphon.accounts.keyring import Keyring
from antiphon.accounts.keys import Allowance
from antiphon.engines import Engine, Reach, connect
from antiphon.engines.chat import ChatServer
from antiphon.engines.hardware.machine import threads
from antiphon.process.on_demand import OnDemandEngine
from antiphon.process.worker_config import ModelEndpoint
from antiphon.process.worker_state import WorkerState
from antiphon.server_tools.mcp.client import Server
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.rounds import Bounds
from antiphon.server_tools.set_up import Allowed, set_up
from antiphon.serving.model import Choices
from antiphon.serving.rate_limits import RateLimiter
from antiphon.settings.sources import Settings
from antiphon.storage import files
from antiphon.storage.file_store import FileStore
from antiphon.storage.store import Store, open_store
from antiphon.trajectories.recorder import Recorder


def choices(place: ModelEndpoint) -> Choices:
    """What the settings say of a model."""
    settings = place.settings
    template = Path(settings.chat_template).read_text("utf-8") if settings.chat_template else ""
    return Choices(
        name=place.name,
        aliases=settings.aliases,
        tool_call_parser=settings.tool_call_parser,
        reasoning_parser=settings.reasoning_parser,
        chat_template=template,
        window=settings.context_length,
        history_thinking=settings.history_thinking,
        hold_calls=settings.hold_calls,
    )


def rate_limiter(settings: Settings, keys: Keyring, shared: WorkerState) -> RateLimiter:
    """What bounds the use of each key, as far as anything does."""
    allowance = Allowance(
        requests=settings.requests_per_minute,
        input_tokens=settings.input_tokens_per_minute,
        output_tokens=settings.output_tokens_per_minute,
        tool_calls=settings.tool_calls_per_minute,
    )
    return RateLimiter(allowance, keys, file=shared.limits)


def server_tools(settings: Settings, files: FileStore | None = None) -> ServerTools:
    """The tools that run here, as far as the settings allow any; what code makes is kept among `files`. Raises
    ValueError."""
    return set_up(
        Allowed(
            search=settings.web_search,
            search_key=settings.web_search_key,
            fetch=settings.web_fetch,
            private=settings.allow_private_urls,
            mcp=settings.mcp_connector,
            mcp_servers=tuple(
                Server(name=name, url=each.url, token=each.token, command=each.command, trusted=True)
                for name, each in settings.mcp.items()
            ),
            code=str(Path(settings.state_dir) / f"containers-{settings.port}") if settings.code_execution else "",
            code_memory=settings.code_memory_mb << 20,
            code_disk=settings.code_disk_mb << 20,
            code_runs=settings.code_runs or min(threads(), 4),
            keys=settings.tool_keys,
            bounds=Bounds(rounds=settings.tool_rounds, seconds=settings.tool_timeout),
        ),
        files,
    )


def store(settings: Settings, *, alone: bool) -> Store | None:
    """Where things are kept: as the settings say, or else in the state folder of a machine that is `alone`. Raises
    ValueError."""
    if not alone and not (settings.store and settings.contents):
        return None
    folder = Path(settings.state_dir) / f"contents-{settings.port}"
    return open_store(settings.records, settings.contents or str(folder))


def file_store(settings: Settings, store: Store | None) -> FileStore | None:
    """The files of clients, within the bounds of the settings."""
    if store is None:
        return None
    return FileStore(
        store=store,
        largest=settings.files_largest_mb * 1_000_000,
        quota=settings.files_quota_mb * 1_000_000,
        keep=settings.files_keep_days * 24 * 3600,
        downloadable=settings.files_downloadable,
    )


def options(settings: Settings, **more: Any) -> surfaces.Options:
    """What the settings say of the surfaces, and more."""
    return surfaces.Options(
        local_only=not settings.no_auth,
        hosts=(settings.host, *settings.allowed_hosts),
        max_body=int(settings.max_body_mb * 1024 * 1024),
        ping_interval=settings.ping_interval,
        version_optional=settings.version_optional,
        allow_private_urls=settings.allow_private_urls,
        **more,
    )


def attach(place: ModelEndpoint, reach: Reach) -> Engine | ChatServer:
    """The engine of a model, by its address."""
    if place.on_demand is None:
        return connect(place.engine, reach)
    vocabulary = _token_engine(place.engine, Reach(key=reach.key, patience=reach.patience))
    return OnDemandEngine(place.name, place.on_demand, vocabulary, partial(_token_engine, reach=reach))


def _token_engine(target: str, reach: Reach) -> Engine:
    engine = connect(target, reach)
    assert not isinstance(engine, ChatServer)
    return engine


def recorder(settings: Settings) -> Recorder | None:
    """What keeps all that is sampled. Raises ValueError where its folder cannot be made."""
    if not settings.record:
        return None
    folder = Path(settings.record)
    try:
        return Recorder(folder, settings.record_disk * 1024 * 1024, text=settings.record_text)
    except OSError as error:
        raise ValueError(files.refusal("what is sampled", error, folder, "--record")) from None
