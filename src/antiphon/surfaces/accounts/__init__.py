"""Keys and usage over HTTP: for admins, who manage keys and see everybody's usage, and for each key, which sees its
own. The pages of the console are made from it.

`managed_keys`, `current_key` and `usage` have the routes of our own. The part of the Admin API that is served is a
surface by itself, `organization`, with its `usage_report`: it can neither add a key nor say what one may use.
"""

from __future__ import annotations

from antiphon.serving.service import Service
from antiphon.surfaces.accounts.current_key import own_account
from antiphon.surfaces.accounts.managed_keys import ManagedKeys
from antiphon.surfaces.accounts.usage import used
from antiphon.surfaces.anthropic import failures
from antiphon.surfaces.surface import Options, Route, Surface


def _routes(service: Service, options: Options) -> list[Route]:
    return [own_account(options), used(options), *ManagedKeys(options).routes()]


SURFACE = Surface(
    name="accounts",
    routes=_routes,
    failures=failures.FAILURES,
)
