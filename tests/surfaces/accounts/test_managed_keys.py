"""Keys that are managed, at the gate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from antiphon.accounts.accounts import Accounts
from antiphon.accounts.key_store import KeyStore
from antiphon.accounts.keyring import Keyring
from antiphon.accounts.keys import Allowance
from antiphon.engines.scripted import Rule
from antiphon.serving.rate_limits import RateLimiter
from antiphon.serving.service import Service
from antiphon.settings.keys import hashed
from antiphon.storage.records import Records
from tests.faults.processes import eventually
from tests.observability.test_operating import over
from tests.surfaces.conftest import Running, serving
from tests.surfaces.scripted_service import ScriptedService


@asynccontextmanager
async def managed(folder: Path, service: Any = None, **options: Any) -> AsyncIterator[tuple[Running, KeyStore]]:
    """A server that follows a store of keys, and lets in `fixed` besides."""
    records = Records(f"sqlite:///{folder / 'store.sqlite'}")
    store, keys = KeyStore(records), options.pop("keys", None) or Keyring((hashed("fixed"),))
    following = asyncio.ensure_future(keys.follow(store))
    async with serving(service or ScriptedService(), accounts=Accounts(keys=keys), **options) as server:
        yield server, store
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    records.close()


async def status(server: Running, key: str) -> int:
    return (await server.post(server.ask(), x_api_key=key))[0]


async def test_a_key_is_let_in_and_refused_while_the_server_runs(tmp_path: Path) -> None:
    """Added, exchanged, revoked: each is in force without a restart, in either header, and the refusal of a key that
    was good says why. Keys of the settings are not concerned."""
    async with managed(tmp_path) as (server, store):
        _, secret = store.add("alice")

        async def answers(key: str, expected: int) -> bool:
            return await status(server, key) == expected

        await eventually(lambda: answers(secret, 200))
        assert (await server.post(server.ask(), authorization=f"Bearer {secret}"))[0] == 200
        assert (await server.post(server.ask(), x_api_key="stale", authorization=f"Bearer {secret}"))[0] == 200
        _, second = store.rotate("alice")
        await eventually(lambda: answers(secret, 401))
        assert await status(server, second) == 200
        store.revoke("alice")
        await eventually(lambda: answers(second, 401))
        _, _, told = await server.post(server.ask(), x_api_key=second)
        assert told["error"]["type"] == "authentication_error"
        assert told["error"]["message"].startswith("the API key 'alice' was revoked")
        assert await status(server, "fixed") == 200
        _, third = store.add("carol", expires=1.0)

        async def expired() -> bool:
            return "'carol' has expired" in (await server.post(server.ask(), x_api_key=third))[2]["error"]["message"]

        await eventually(expired)


async def test_a_key_sees_its_models_and_its_limits(tmp_path: Path) -> None:
    """Another model than its own does not exist for it, in any list either; its own limits win over the common ones,
    and are told in the headers."""
    _, engine = await over(Rule(text="Hello."), name="m")
    from antiphon.serving.model import Choices
    from antiphon.serving.token_model import load

    models = [await load(engine, Choices(name=name)) for name in ("one", "two")]
    keys = Keyring((hashed("fixed"),))
    bounds = RateLimiter(Allowance(requests=100), keys)
    service = Service(models, accounts=Accounts(keys=keys), rate_limiter=bounds)
    async with managed(tmp_path, service, keys=keys, rate_limiter=bounds) as (server, store):
        _, secret = store.add("alice", models=("t*",), allowance=Allowance(requests=2))
        await keys.load(store)
        code, headers, told = await server.post(server.ask(model="claude-x"), x_api_key=secret)
        assert (code, headers["anthropic-ratelimit-requests-limit"]) == (200, "2")
        code, _, told = await server.post(server.ask(model="one"), x_api_key=secret)
        assert (code, told["error"]["type"]) == (404, "not_found_error")
        sent = {"x-api-key": secret, "anthropic-version": "2023-06-01"}
        async with server.client.get(server.url + "/v1/models", headers=sent) as response:
            assert [model["id"] for model in (await response.json())["data"]] == ["two"]
        assert await status(server, secret) == 404
        assert (await server.post(server.ask(model="two"), x_api_key=secret))[0] == 200
        code, _, told = await server.post(server.ask(model="two"), x_api_key=secret)
        assert (code, told["error"]["type"]) == (429, "rate_limit_error")
        code, headers, _ = await server.post(server.ask(model="one"), x_api_key="fixed")
        assert (code, headers["anthropic-ratelimit-requests-limit"]) == (200, "100")
    bounds.close()
