"""The Admin API's keys and usage reports, as the official SDK asks for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic

from antiphon.accounts.accounts import Accounts, open_accounts
from antiphon.accounts.usage import HOUR, Counts, Entry
from antiphon.settings.keys import hashed
from antiphon.storage.store import open_store
from tests.surfaces.conftest import Running, serving
from tests.surfaces.scripted_service import ScriptedService

BEGIN = 1_800_057_600
"""2027-01-16T00:00:00Z."""
REPORT = "/v1/organizations/usage_report/messages"


class Organized:
    """A server with keys: one of an admin, one of nobody in particular, and one of the settings."""

    def __init__(self, server: Running, accounts: Accounts, admin: str, alice: str) -> None:
        self.server, self.accounts, self.admin, self.alice = server, accounts, admin, alice

    async def get(self, path: str, key: str, *query: tuple[str, str]) -> tuple[int, Any]:
        """Status and JSON."""
        headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
        async with self.server.client.get(self.server.url + path, params=query, headers=headers) as response:
            return response.status, await response.json()


@asynccontextmanager
async def organized(folder: Path) -> AsyncIterator[Organized]:
    store = open_store(f"sqlite:///{folder / 'store.sqlite'}", str(folder / "contents"))
    accounts = await open_accounts(store.records, [hashed("fixed")], folder / "journals")
    assert accounts.key_store
    _, admin = accounts.key_store.add("boss", admin=True)
    _, alice = accounts.key_store.add("alice")
    await accounts.keys.load(accounts.key_store)
    async with serving(ScriptedService(), accounts=accounts, clock=lambda: BEGIN + 50 * HOUR) as server:
        yield Organized(server, accounts, admin, alice)
    await accounts.close()
    store.close()


async def test_it_is_for_the_operator_alone(tmp_path: Path) -> None:
    """Neither a member's key nor one of the settings is let in, nor is anybody without one."""
    async with organized(tmp_path) as here:
        for path in ("/v1/organizations/me", "/v1/organizations/api_keys", f"{REPORT}?starting_at=2027-01-16"):
            assert (await here.get(path, here.admin))[0] == 200
            for key in (here.alice, "fixed"):
                status, told = await here.get(path, key)
                assert (status, told["error"]["type"]) == (403, "permission_error")
            assert (await here.get(path, "wrong"))[0] == 401


async def test_keys_as_the_sdk_asks_for_them(tmp_path: Path) -> None:
    """Listed in pages and by status, found, renamed, archived, which is in force with the answer; never with a
    secret."""
    async with organized(tmp_path) as here:
        sdk = AsyncAnthropic(base_url=here.server.url, api_key=here.admin, max_retries=0)
        assert (await sdk.organization.retrieve()).type == "organization"
        keys = [key async for key in sdk.organization.api_keys.list(limit=1)]
        assert [key.name for key in keys] == ["boss", "alice"]
        assert here.alice not in keys[1].model_dump_json()
        assert (await sdk.organization.api_keys.update(keys[1].id, name="alina")).name == "alina"
        assert (await here.get("/v1/keys/me", here.alice))[1]["key"]["name"] == "alina"
        archived = await sdk.organization.api_keys.update(keys[1].id, status="archived")
        assert archived.status == "archived"
        assert (await here.get("/v1/keys/me", here.alice))[0] == 401
        assert await sdk.organization.api_keys.retrieve(keys[1].id) == archived
        assert [key.name async for key in sdk.organization.api_keys.list(status="active")] == ["boss"]
        assert (await sdk.organization.api_keys.list(workspace_id="wrkspc_1")).data == []
        assert (await sdk.organization.api_keys.list(created_by_user_id="user_1")).data == []
        with pytest.raises(anthropic.BadRequestError, match="stays archived"):
            await sdk.organization.api_keys.update(keys[1].id, status="active")
        with pytest.raises(anthropic.NotFoundError):
            await sdk.organization.api_keys.retrieve("apikey_none")
        await sdk.close()


async def test_reports_add_up_in_any_buckets_and_groups(tmp_path: Path) -> None:
    """Days and hours, page by page, grouped or not, add up to what was entered; filters leave only what they name, or
    nothing, where they name what there is not here."""
    async with organized(tmp_path) as here:
        assert here.accounts.ledger
        keys = [key.label for key in here.accounts.key_store.all()] if here.accounts.key_store else []
        for number in range(48):
            counts = Counts(requests=1, input=number, created=2, cached=3, output=5, web_searches=1)
            entry = Entry(BEGIN + number * HOUR, keys[number % 2], f"m{number % 3}", "standard", counts)
            here.accounts.ledger.enter(entry)

        async def results(*query: tuple[str, str]) -> tuple[list[Any], int]:
            found, page, pages = [], None, 0
            while page or not pages:
                more = [("page", page)] if page else []
                status, told = await here.get(
                    REPORT, here.admin, ("starting_at", "2027-01-16T00:00:00Z"), *query, *more
                )
                assert status == 200, told
                assert told["has_more"] == (told["next_page"] is not None)
                found += [(bucket["starting_at"], each) for bucket in told["data"] for each in bucket["results"]]
                page, pages = told["next_page"], pages + 1
            return found, pages

        whole = sum(range(48))
        for query, rows in (
            ((), 2),
            ((("bucket_width", "1h"), ("limit", "7")), 48),
            ((("group_by[]", "api_key_id"), ("group_by[]", "model")), 12),
            ((("group_by[]", "workspace_id"), ("limit", "1")), 2),
        ):
            found, _ = await results(*query)
            assert len(found) == rows
            assert sum(each["uncached_input_tokens"] for _, each in found) == whole
            assert sum(each["cache_creation"]["ephemeral_5m_input_tokens"] for _, each in found) == 2 * 48
            assert sum(each["server_tool_use"]["web_search_requests"] for _, each in found) == 48
        found, _ = await results(("api_key_ids[]", f"apikey_{keys[1]}"), ("group_by[]", "api_key_id"))
        assert {each["api_key_id"] for _, each in found} == {f"apikey_{keys[1]}"}
        assert sum(each["uncached_input_tokens"] for _, each in found) == sum(range(1, 48, 2))
        found, _ = await results(("models[]", "m0"), ("ending_at", "2027-01-17T00:00:00Z"))
        assert sum(each["uncached_input_tokens"] for _, each in found) == sum(range(0, 24, 3))
        for name, value, count in (
            ("workspace_ids[]", "wrkspc_1", 0),
            ("account_ids[]", "user_1", 0),
            ("speeds[]", "fast", 0),
            ("speeds[]", "standard", 2),
            ("inference_geos[]", "not_available", 2),
        ):
            assert len((await results((name, value)))[0]) == count


REFUSED = (
    ({}, "starting_at: Field required"),
    ({"starting_at": "soon"}, "starting_at: Input should be a valid RFC 3339 timestamp"),
    ({"starting_at": "2027-01-16", "bucket_width": "1m"}, "bucket_width: usage is kept by the hour"),
    ({"starting_at": "2027-01-16", "limit": "32"}, "limit: Input should be a valid integer between 1 and 31"),
    ({"starting_at": "2027-01-16", "page": "page_x"}, "page: "),
    ({"starting_at": "2027-01-16", "group_by[]": "colour"}, "group_by: 'colour' is not one of"),
)


async def test_what_cannot_be_asked_is_said_by_its_name(tmp_path: Path) -> None:
    """A bad parameter is a 400 that begins with it."""
    async with organized(tmp_path) as here:
        for query, field in REFUSED:
            status, told = await here.get(REPORT, here.admin, *query.items())
            assert (status, told["error"]["message"].startswith(field)) == (400, True), told


async def test_times_that_no_date_can_be_made_of_are_asked_for(tmp_path: Path) -> None:
    """Before the year 1 and after the year 9999, as an offset makes them: nothing was used then."""
    async with organized(tmp_path) as here:
        for query in (
            (("starting_at", "0001-01-01T00:00:00+23:59"),),
            (("starting_at", "9999-12-31"), ("ending_at", "9999-12-31T23:59:59-23:59")),
        ):
            status, told = await here.get(REPORT, here.admin, *query)
            assert (status, [each for bucket in told["data"] for each in bucket["results"]]) == (200, [])
