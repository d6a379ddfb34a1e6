"""The server tools that are set up here, and what every declaration of one may say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from antiphon.api.errors import BadRequest
from antiphon.server_tools.code.containers import Containers
from antiphon.server_tools.mcp.connector import Connector
from antiphon.server_tools.rounds import Bounds
from antiphon.server_tools.tool import Declared, Family


class ServerTools:
    """The families, the `connector` to servers that have tools of their own (none: there is none), how far one request
    may go with them, and the `containers` that requests may name (none: no code runs here). `keys` are the labels of
    the keys that may use a family, by its name; a family that is not in it is everybody's."""

    def __init__(
        self,
        families: Sequence[Family] = (),
        bounds: Bounds | None = None,
        connector: Connector | None = None,
        containers: Containers | None = None,
        keys: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        self.families = tuple(families)
        self.bounds = bounds or Bounds()
        self.connector = connector
        self.containers = containers
        self._keys = keys or {}

    def for_key(self, key: str) -> ServerTools:
        """What the client with a key may use of them."""
        if not self._keys:
            return self
        families = [each for each in self.families if self._allows(each.name, key)]
        connector = self.connector if self._allows("mcp", key) else None
        containers = self.containers if self._allows("code_execution", key) else None
        return ServerTools(families, self.bounds, connector, containers)

    def _allows(self, family: str, key: str) -> bool:
        return family not in self._keys or key in self._keys[family]

    def declare(self, kind: str, settings: Mapping[str, Any], where: str) -> list[Declared] | None:
        """The tools behind a declaration of a type; None when no family that is set up takes it, or when only code may
        call them. Raises BadRequest."""
        family = next((each for each in self.families if each.takes(kind)), None)
        if family is None or not direct(settings.get("allowed_callers")):
            return None
        most = settings.get("max_uses")
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
            raise BadRequest(f"{where}.max_uses: Input should be greater than or equal to 1")
        return [
            msgspec.structs.replace(
                each,
                tool=msgspec.structs.replace(each.tool, strict=settings.get("strict") is True),
                max_uses=most,
                deferred=settings.get("defer_loading") is True,
            )
            for each in family.declare(kind, settings, where)
        ]

    def asks(self, kind: str) -> bool:
        """Whether somebody has to be asked which tools are behind a declaration of a type."""
        return self.connector is not None and self.connector.takes(kind)

    async def close(self) -> None:
        """Let go of what the families hold."""
        for family in self.families:
            await family.close()
        if self.connector is not None:
            await self.connector.close()


def direct(callers: Any) -> bool:
    """Whether the model itself may call a tool with these `allowed_callers`. Code that runs here calls none."""
    return not isinstance(callers, list) or "direct" in callers
