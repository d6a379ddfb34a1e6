"""What is kept of keys and usage, read and written off the event loop, whatever goes wrong told as a failure."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

from antiphon.accounts.accounts import Accounts
from antiphon.accounts.key_store import KeyStore, NameTaken, UnknownKey
from antiphon.accounts.usage import Cell, Counts
from antiphon.api.errors import BadRequest, NotFound, NotKept

T = TypeVar("T")


async def with_keys(accounts: Accounts, work: Callable[[KeyStore], T], *, called: str) -> T:
    """What the work on the keys gives. A key is `called` as the API does in what is told of one that is not there."""
    store = accounts.key_store
    if store is None:
        raise NotFound("this server manages no keys")
    try:
        return await asyncio.to_thread(work, store)
    except UnknownKey as unknown:
        raise NotFound(f"{called}: {unknown}") from None
    except NameTaken as taken:
        raise BadRequest(f"name: there is a key called {str(taken)!r} already") from None
    except OSError as error:
        raise NotKept(f"the keys cannot be read or written: {error}") from None


async def change_keys(accounts: Accounts, work: Callable[[KeyStore], T], *, called: str) -> T:
    """What the work gives that changes keys. The change is in force in this worker with the answer, elsewhere within
    the second."""
    outcome = await with_keys(accounts, work, called=called)
    if accounts.key_store is not None:
        # It was written, and may have given a secret: a store that cannot be read now is what `follow` tells of.
        with contextlib.suppress(OSError):
            await accounts.keys.load(accounts.key_store)
    return outcome


async def usage_cells(accounts: Accounts, since: int, until: int) -> dict[Cell, Counts]:
    """What was used in `[since, until)`, in Unix seconds."""
    usage, ledger = accounts.usage, accounts.ledger
    if usage is None or ledger is None:
        raise NotFound("this server keeps no usage")
    try:
        return await asyncio.to_thread(usage.cells, ledger.folder, since, until)
    except OSError as error:
        raise NotKept(f"the usage cannot be read: {error}") from None
