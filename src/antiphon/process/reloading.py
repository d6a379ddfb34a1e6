"""Reloading, as a worker does it: keep requests away in all workers, have the engine take its weights, begin anew.

An embedded engine is started again by the supervisor; an attached one is told to, by its own call. The other workers
see in the folder that they share that it was done, and begin anew with the model, too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from antiphon.api.errors import BadRequest, EngineFailed, Failure, NotFound
from antiphon.engines import UpdatesWeights
from antiphon.process.reload_gate import ReloadGate
from antiphon.process.worker_config import ModelEndpoint
from antiphon.process.worker_state import Reloaded, Restart, WorkerState
from antiphon.serving.reloading import Mode
from antiphon.storage.locks import until

log = logging.getLogger("antiphon")

_BETWEEN = 1.0
"""Seconds between two looks at whether another worker has reloaded a model."""


class WorkerReloader:
    """Reloads the models at these `places`, each by its name. `engine` gives the engine of a model, and `renew` makes
    the model anew. `known` is how the last reload of each went, when this worker loaded it."""

    def __init__(
        self,
        shared: WorkerState,
        places: Mapping[str, ModelEndpoint],
        engine: Callable[[str], object],
        renew: Callable[[str], Awaitable[None]],
        known: Mapping[str, Reloaded | None],
    ) -> None:
        self._shared = shared
        self._places = places
        self._engine = engine
        self._renew = renew
        self._begun = time.time()
        self._known = dict(known)
        self._failed: dict[str, Reloaded] = {}
        self._busy: set[str] = set()
        self._gates: dict[str, ReloadGate] = {
            name: gate for name in places if (gate := shared.reload_gate(name)) is not None
        }

    @asynccontextmanager
    async def using(self, model: str) -> AsyncIterator[None]:
        """Generate with a model."""
        if (gate := self._gates.get(model)) is None:
            yield
            return
        async with gate.using():
            yield

    def loaded(self, model: str) -> float:
        """When its weights were loaded: when this worker began, unless they were reloaded."""
        outcome = self._shared.reloaded(model)
        return outcome.time if outcome and not outcome.error else self._begun

    async def reload(self, model: str, mode: Mode, weights: str) -> float:
        """Have it take its weights anew."""
        if model not in self._gates:
            raise NotFound(f"model: {model} cannot be reloaded: it is an adapter, or this server has no supervisor")
        place, engine = self._places[model], self._engine(model)
        if not place.gguf and not isinstance(engine, UpdatesWeights):
            raise BadRequest(f"model: the engine of {model} cannot reload weights; restart it, and then this server")
        if place.gguf and weights:
            raise BadRequest(
                "weights: an embedded engine reads its own file again; replace that file and leave this field out"
            )
        async with self._gates[model].reloading(drain=mode == "drain"):
            self._busy.add(model)
            try:
                if isinstance(engine, UpdatesWeights):
                    last = self._shared.reloaded(model)
                    before = last.weights if last else ""
                    await engine.update_weights(weights or before, before=before, abort=mode == "abort")
                    outcome = Reloaded(time.time(), weights=weights or before)
                    self._shared.note_reloaded(model, outcome)
                else:
                    outcome = await self._restarted(Restart(model, abort=mode == "abort"))
                await self._begin_anew(model, outcome)
            finally:
                self._busy.discard(model)
        return outcome.time

    async def _restarted(self, request: Restart) -> Reloaded:
        model = request.model
        before = self._shared.reloaded(model)
        try:
            self._shared.restart(request)
        except OSError as error:
            raise EngineFailed(f"the engine of {model} cannot be started again: {error}") from None
        await until(lambda: self._shared.reloaded(model) != before)
        outcome = self._shared.reloaded(model)
        assert outcome
        if outcome.error:
            raise EngineFailed(f"the engine of {model} does not come back: {outcome.error}")
        return outcome

    async def _begin_anew(self, model: str, outcome: Reloaded) -> None:
        await self._renew(model)
        self._known[model] = outcome

    async def follow(self) -> None:
        """Begin anew with models that other workers have reloaded, until cancelled. It is tried until it is done."""
        while self._gates:
            await asyncio.sleep(_BETWEEN)
            for model in self._gates.keys() - self._busy:
                outcome = self._shared.reloaded(model)
                if outcome is None or outcome.error or outcome == self._known.get(model):
                    continue
                try:
                    await self._begin_anew(model, outcome)
                except Exception as error:
                    if self._failed.get(model) != outcome:
                        self._failed[model] = outcome
                        foreseen = isinstance(error, (Failure, OSError, ValueError))
                        cause = str(error) or type(error).__name__
                        log.error("%s was reloaded, but cannot be used: %s", model, cause, exc_info=not foreseen)
