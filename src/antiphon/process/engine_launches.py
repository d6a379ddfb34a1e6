"""How to run the embedded engines: which files, and what of the machine each one gets. Fetches what is missing."""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
from pathlib import Path
from typing import NamedTuple

import msgspec

from antiphon.engines import Prefixes
from antiphon.engines.cache.prefix_store import PrefixStore
from antiphon.engines.embedded import Launch
from antiphon.engines.hardware import cache_size, machine, memory
from antiphon.engines.hardware.cache_size import CacheShape, CacheType
from antiphon.engines.models import catalogue, gguf, identity, model_store
from antiphon.engines.models.model_store import ModelUnavailable
from antiphon.process.worker_state import file_name
from antiphon.settings.fields import Settings
from antiphon.settings.model_fields import ModelSettings
from antiphon.storage import files

log = logging.getLogger("antiphon")

# Idle conversations that llama.cpp keeps aside in memory, at most, and as a share of what is free.
_MOST_CACHE_MB, _CACHE_SHARE = 8192, 0.1
# The window of a model whose file does not tell one.
_USUAL_WINDOW = 4096
# What engines have computed, on disk: of what is free, and at most.
_DISK_SHARE, _MOST_DISK = 0.1, 16_000_000_000


class Planned(NamedTuple):
    """An engine to start, a sentence when it gets less than was asked for it, where what it computes is kept, how many
    bytes its windows take, and how many it takes as a whole."""

    launch: Launch
    note: str
    prefixes: Prefixes | None
    windows_bytes: int
    needed_bytes: int

    @property
    def room(self) -> str:
        """What it was given, in words."""
        launch, mb = self.launch, self.windows_bytes / 1e6
        windows = "1 window" if launch.parallel == 1 else f"{launch.parallel} windows"
        return f"{windows} of {launch.window} tokens in {launch.cache_type}, {mb:,.0f} MB"


class _Demand(NamedTuple):
    """A model's file, and what it takes to run it: a window in tokens, the shape of its cache (and of that of the model
    that drafts for it), and the types that this may have, the first one wanted most."""

    path: Path
    name: str
    window: int
    shape: CacheShape
    draft: CacheShape | None
    cache_types: tuple[CacheType, ...]

    def slot_bytes(self, window: int, cache_type: CacheType) -> int:
        """Bytes of a slot. A draft's cache is f16 in any case."""
        return self.shape.slot_bytes(window, cache_type) + (self.draft.slot_bytes(window, "f16") if self.draft else 0)


def plan(settings: Settings) -> dict[str, Planned]:
    """The engines of those models that are files, by the model's name in the settings. Raises ModelUnavailable."""
    models = {name: model for name, model in settings.served.items() if not model.attached}
    demands = {name: _demand(name, model, Path(settings.cache_dir)) for name, model in models.items()}
    free = memory_budget(settings)
    sizes = [each.path.stat().st_size for each in demands.values()]
    together = memory.together(sizes, free, settings.max_loaded) if settings.on_demand else len(models)
    # Models of the same file share its pages.
    distinct = [path.stat().st_size for path in {each.path for each in demands.values()}]
    weights = sum(sorted(distinct)[-together:])
    bytes_wanted = [_windows_bytes(demands[name], demands[name].window, models[name].parallel) for name in models]
    budgets = memory.budgets(bytes_wanted, max(0, free - weights), together)
    kept = prefixes(settings) if models else None
    planned = {
        name: _planned(settings, models[name], demands[name], budget, free // together, kept, together)
        for name, budget in zip(models, budgets, strict=True)
    }
    needed = [each.needed_bytes for each in planned.values()]
    for (name, model), ceiling in zip(models.items(), memory.ceilings(needed, free, together), strict=True):
        limit = model.memory_limit_mb or ceiling >> 20
        launch = msgspec.structs.replace(planned[name].launch, memory_mb=limit)
        planned[name] = planned[name]._replace(launch=launch)
    return planned


def memory_budget(settings: Settings) -> int:
    """Bytes of memory for all embedded models together."""
    free = machine.free_bytes()
    return min(free, settings.loaded_memory_mb << 20) if settings.loaded_memory_mb else free


def _files_bytes(launch: Launch) -> int:
    """Bytes of an engine's files: some machines keep the weights in an order of their own, beside the file's."""
    files = [launch.model, *filter(None, [launch.mmproj, launch.draft_model]), *launch.lora]
    return sum(Path(file).stat().st_size for file in files)


def _windows_bytes(demand: _Demand, window: int, parallel: int, cache_type: CacheType | None = None) -> int:
    return parallel * demand.slot_bytes(window, cache_type or demand.cache_types[0])


def _demand(name: str, model: ModelSettings, cache: Path) -> _Demand:
    path = model_store.resolve(model.model, cache)
    try:
        file = gguf.read(path)
        draft = cache_size.of_model(gguf.read(model.draft_model)) if model.speculation == "draft" else None
    except ValueError as error:
        raise ModelUnavailable(str(error)) from None
    return _Demand(
        path=path,
        name=name or _usual_name(model, path),
        window=model.context_length or file.window or _USUAL_WINDOW,
        shape=cache_size.of_model(file),
        draft=draft,
        cache_types=_cache_types(model, file),
    )


def _usual_name(model: ModelSettings, path: Path) -> str:
    """What a model is called that nobody gave a name: a short name stays what it is."""
    if not model.model:
        return model_store.DEFAULT.name
    return model.model if catalogue.is_short(model.model) and not Path(model.model).exists() else path.stem


def _cache_types(model: ModelSettings, file: gguf.ModelFile) -> tuple[CacheType, ...]:
    if model.cache_type != "auto":
        return (model.cache_type,)
    return ("f16", "q8_0") if cache_size.can_be_smaller(file.values) else ("f16",)


def _planned(
    settings: Settings,
    model: ModelSettings,
    demand: _Demand,
    budget: int,
    free: int,
    store: Prefixes | None,
    together: int,
) -> Planned:
    room = memory.fit(
        window=demand.window,
        fixed=model.context_length > 0,
        parallel=model.parallel,
        slot_bytes=demand.slot_bytes,
        budget=budget,
        cache_types=demand.cache_types,
    )
    own = Path(settings.state_dir) / f"engine-{settings.port}-{file_name(demand.name)}"
    launch = Launch(
        model=str(demand.path),
        # Other users of the machine reach the engine's port too, and ours is not the only key that must hold.
        key=secrets.token_urlsafe(24),
        name=demand.name,
        window=room.window,
        parallel=room.parallel,
        cache_type=room.cache_type,
        checkpoints=demand.shape.checkpoints(room.window, room.cache_type),
        speculate=model.speculation,
        draft_model=model.draft_model if model.speculation == "draft" else "",
        threads=model.threads or machine.threads(together),
        prefill_threads=model.threads or machine.prefill_threads(together),
        mmproj=model.mmproj,
        lora=tuple(model.adapters.values()),
        gpu_layers=model.gpu_layers,
        # What is on disk is in the system's own cache, too.
        cache_mb=0 if store else min(_MOST_CACHE_MB, int(free * _CACHE_SHARE) >> 20),
        prefixes=store.folder if store else "",
        log="" if settings.log_level == "debug" else f"{own}.log",
        cause=f"{own}.cause",
    )
    here = store and msgspec.structs.replace(store, engine=identity.of_engine(launch))
    windows = _windows_bytes(demand, room.window, room.parallel, room.cache_type)
    return Planned(launch, room.note, here, windows, windows + _files_bytes(launch) + (launch.cache_mb << 20))


def prefixes(settings: Settings) -> Prefixes | None:
    """Where engines keep what they compute, the same for all that share a state folder; None where nothing is kept, or
    can be."""
    folder = Path(settings.state_dir) / "prefixes"
    capacity = settings.cache_disk * 1_000_000
    if capacity:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            log.warning("%s", files.refusal("what engines compute", error, folder, "--state-dir"))
            return None
    if capacity < 0:
        with contextlib.closing(PrefixStore(folder, 0)) as store:
            free = shutil.disk_usage(folder).free + store.held()
        capacity = min(_MOST_DISK, int(free * _DISK_SHARE))
    return Prefixes(folder=str(folder), capacity=capacity, engine=b"") if capacity else None
