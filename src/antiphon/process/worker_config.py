"""What the supervisor hands down to the workers: the settings, and where each model's engine answers."""

from __future__ import annotations

import os

import msgspec

from antiphon.engines import Prefixes
from antiphon.settings.keys import hashed
from antiphon.settings.sources import BadSettings, ModelSettings, Settings

RUNTIME_VARIABLE = "ANTIPHON_RUNTIME"


class OnDemand(msgspec.Struct, frozen=True, kw_only=True):
    """An engine that runs only while it is needed: the socket of the `loader` that is asked for it, and what it will
    say of itself when it runs, its window in tokens. One that `speculates` tells no log-probabilities."""

    loader: str
    window: int
    slots: int
    vision: bool = False
    speculates: bool = False
    adapters: tuple[str, ...] = ()


class ModelEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A model as a worker finds it. `engine` is where its engine answers (`llama.cpp+http://127.0.0.1:1234`) and
    `key` what that asks for, `name` what clients are shown (empty: what the engine calls it), `gguf` the model's file
    where it is known, `cause` the file in which its engine says why it ended. What that computes is kept in
    `prefixes`. Where the engine is `on_demand`, only its vocabulary answers at that address."""

    settings: ModelSettings
    engine: str
    key: str = ""
    name: str = ""
    gguf: str = ""
    cause: str = ""
    prefixes: Prefixes | None = None
    on_demand: OnDemand | None = None


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker process needs to know: the settings, which have no keys, and the hashes of these; the models, the
    default one first; and the folder that the supervisor and its workers share (`worker_state.py`)."""

    settings: Settings
    models: tuple[ModelEndpoint, ...]
    key_hashes: tuple[bytes, ...] = ()
    shared: str = ""

    @staticmethod
    def of(settings: Settings, models: tuple[ModelEndpoint, ...], shared: str) -> WorkerConfig:
        """What to hand down: other programs of the same user can read a process' environment, so no key is in it."""
        hashes = tuple(hashed(key) for key in settings.api_keys)
        bare = msgspec.structs.replace(settings, api_keys=())
        return WorkerConfig(settings=bare, models=models, key_hashes=hashes, shared=shared)

    def environment(self) -> dict[str, str]:
        """The environment variable that hands this to a child process."""
        return {RUNTIME_VARIABLE: msgspec.json.encode(self).decode()}

    @staticmethod
    def from_environment() -> WorkerConfig:
        """What the supervisor handed down. Raises BadSettings when it did not."""
        try:
            return msgspec.json.decode(os.environ[RUNTIME_VARIABLE], type=WorkerConfig)
        except KeyError:
            raise BadSettings(f"{RUNTIME_VARIABLE} is not set; workers are started by `antiphon serve`") from None
        except msgspec.ValidationError as error:
            raise BadSettings(f"{RUNTIME_VARIABLE} is not what this version writes: {error}") from None
