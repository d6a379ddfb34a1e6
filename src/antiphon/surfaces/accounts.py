"""Keys and usage over HTTP: for admins, who manage keys and see what all use, and for each key, which sees its own. The
console's pages are made from it.

The Admin API's part of this is `organization`; it can neither add a key nor say what one may use.
"""

from __future__ import annotations

from antiphon.serving.service import Service
from antiphon.surfaces.account_routes.managed_keys import ManagedKeys
from antiphon.surfaces.account_routes.own import own_account
from antiphon.surfaces.account_routes.used import used
from antiphon.surfaces.messages import failures, sent
from antiphon.surfaces.surface import Options, Route, Surface


def _routes(service: Service, options: Options) -> list[Route]:
    return [own_account(options), used(options), *ManagedKeys(options).routes()]


SURFACE = Surface(
    name="accounts",
    routes=_routes,
    envelope=failures.envelope,
    failure=sent.Error,
    statuses=failures.STATUSES,
)
