"""Weights that change under a model: what a service must know of it, and what it asks for."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

Mode = Literal["drain", "abort"]


class Reloader(Protocol):
    """Has models take their weights anew, and keeps requests away meanwhile."""

    def using(self, model: str) -> AbstractAsyncContextManager[None]:
        """Generate with a model. Waits while its weights change."""

    def loaded(self, model: str) -> float:
        """When a model's weights were loaded, in Unix seconds."""

    async def reload(self, model: str, mode: Mode, weights: str) -> float:
        """Have a model take its weights anew, from the place called `weights` where its engine can be told one (empty:
        from where it has them), once what runs has come to its end (`drain`) or at once. What was computed and
        remembered with the old ones is forgotten. Gives when they were loaded, in Unix seconds. Raises BadRequest where
        the engine cannot do it, Overloaded where it is being done already, and EngineFailed."""
