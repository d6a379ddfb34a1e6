"""Keys and usage over HTTP, as the console asks for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from antiphon.accounts.accounts import Accounts
from antiphon.accounts.budgets import Budgets
from antiphon.accounts.usage import HOUR, Counts, Entry
from tests.surfaces.accounts.test_organization import BEGIN, Organized, organized


async def post(here: Organized, path: str, body: Any, key: str = "") -> tuple[int, Any]:
    """Status and JSON."""
    headers = {"x-api-key": key or here.admin, "content-type": "application/json"}
    async with here.server.client.post(here.server.url + path, data=json.dumps(body), headers=headers) as response:
        return response.status, await response.json()


async def test_a_key_is_added_changed_exchanged_and_revoked(tmp_path: Path) -> None:
    """By an admin, in force with the answer; the secret is in the answers that make one, and in no other."""
    async with organized(tmp_path) as here:
        rights = {
            "models": ["qwen*"],
            "limits": {"requests": 5, "input_tokens": 0, "output_tokens": 9, "tool_calls": 0},
            "budget": 1000,
            "expires_at": "2030-01-01T00:00:00Z",
            "admin": False,
        }
        status, added = await post(here, "/v1/keys", {"name": "carol", **rights})
        assert status == 200
        label, secret = added["key"]["label"], added["secret"]
        assert {name: added["key"][name] for name in rights} == rights
        status, me = await here.get("/v1/keys/me", secret)
        assert (status, me["key"], me["manages_keys"]) == (200, added["key"], False)
        status, changed = await post(here, f"/v1/keys/{label}", {"name": "caro", "expires_at": None})
        assert (status, changed["name"], changed["expires_at"]) == (200, "caro", None)
        assert (changed["budget"], changed["models"]) == (1000, ["qwen*"])
        status, second = await post(here, f"/v1/keys/{label}/rotate", {})
        assert status == 200
        assert (await here.get("/v1/keys/me", secret))[0] == 401
        assert (await here.get("/v1/keys/me", second["secret"]))[1]["key"] == second["key"]
        assert (await post(here, f"/v1/keys/{label}/revoke", {}))[1]["status"] == "revoked"
        assert (await here.get("/v1/keys/me", second["secret"]))[0] == 401
        _, listed = await here.get("/v1/keys", here.admin)
        assert [key["name"] for key in listed["data"]] == ["boss", "alice", "caro"]
        assert not any(each in json.dumps([listed, changed, me]) for each in (secret, second["secret"]))


async def test_a_secret_is_told_whatever_comes_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the store can be written and then no longer be read: the key is there, and nobody else knows it."""
    async with organized(tmp_path) as here:
        store = here.accounts.key_store
        assert store

        def unreadable(revision: int) -> Any:
            raise OSError("the disk is gone")

        with monkeypatch.context() as patch:
            patch.setattr(store, "changes", unreadable)
            status, added = await post(here, "/v1/keys", {"name": "carol"})
        assert status == 200
        await here.accounts.keys.load(store)
        assert (await here.get("/v1/keys/me", added["secret"]))[1]["key"]["name"] == "carol"


async def test_only_an_admin_manages_keys(tmp_path: Path) -> None:
    """Not a member's key, not one of the settings; and where no key is asked for, nobody makes himself an admin."""
    async with organized(tmp_path) as here:
        for path in ("/v1/keys", "/v1/keys/any", "/v1/keys/any/rotate", "/v1/keys/any/revoke"):
            for key in (here.alice, "fixed"):
                status, told = await post(here, path, {"name": "mallory", "admin": True}, key)
                assert (status, told["error"]["type"]) == (403, "permission_error")
        assert (await here.get("/v1/keys", here.alice))[0] == 403
        here.accounts.keys._open = True
        for path in ("/v1/keys", "/v1/keys/any/revoke", "/v1/organizations/api_keys/any"):
            assert (await post(here, path, {"name": "mallory", "admin": True}, "none of ours"))[0] == 403


REFUSED = (
    ({}, "name: Field required"),
    ({"name": " x"}, "name: it may not"),
    ({"name": "alice"}, "name: there is a key called 'alice' already"),
    ({"name": "x", "budget": -1}, "budget: "),
    ({"name": "x", "limits": {"requests": "many"}}, "limits.requests: "),
    ({"name": "x", "models": [""]}, "models.0: "),
    ({"name": "x", "expires_at": "soon"}, "expires_at: "),
    ({"name": "x", "expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at: "),
)


async def test_a_key_that_cannot_be_is_refused_by_the_field(tmp_path: Path) -> None:
    """A 400 that begins with what is wrong; nothing is added."""
    async with organized(tmp_path) as here:
        for body, said in REFUSED:
            status, told = await post(here, "/v1/keys", body)
            assert (status, told["error"]["message"].startswith(said)) == (400, True), told
        assert len((await here.get("/v1/keys", here.admin))[1]["data"]) == 2


def entered(accounts: Accounts, entries: int = 48) -> list[str]:
    """An entry every hour, of alice and the admin in turn and of three models; gives their labels."""
    assert accounts.key_store
    assert accounts.ledger
    keys = [key.label for key in accounts.key_store.all()]
    for number in range(entries):
        counts = Counts(requests=1, input=number, cached=3, output=5, milliseconds=1500, tool_calls=1)
        accounts.ledger.enter(Entry(BEGIN + number * HOUR, keys[number % 2], f"m{number % 3}", "standard", counts))
    return keys


async def test_usage_adds_up_however_it_is_told_apart(tmp_path: Path) -> None:
    """By any dimensions the sums are those of all entries; an admin sees all, a key its own; filters leave only what
    they name."""
    async with organized(tmp_path) as here:
        boss, alice = entered(here.accounts)
        period = (("starting_at", "2027-01-16"), ("ending_at", "2027-01-18T00:00:00Z"))
        for by, rows in (("", 1), ("day", 2), ("hour", 48), ("key", 2), ("day,key,model", 12)):
            status, told = await here.get("/v1/usage", here.admin, *period, ("by", by))
            assert (status, len(told["data"])) == (200, rows)
            assert sum(row["input_tokens"] for row in told["data"]) == sum(range(48))
            assert sum(row["seconds"] for row in told["data"]) == 48 * 1.5
            own = (await here.get("/v1/usage", here.alice, *period, ("by", by)))[1]["data"]
            assert sum(row["input_tokens"] for row in own) == sum(range(1, 48, 2))
        _, told = await here.get("/v1/usage", here.admin, *period, ("by", "key"))
        assert [(row["key"], row["name"]) for row in told["data"]] == sorted([(boss, "boss"), (alice, "alice")])
        _, told = await here.get("/v1/usage", here.admin, *period, ("key", alice), ("model", "m1"), ("model", "m2"))
        assert sum(row["requests"] for row in told["data"]) == 16
        assert (await here.get("/v1/usage", here.alice, *period, ("key", boss)))[1]["data"] == []
        assert (await here.get("/v1/usage", "fixed", *period))[1]["data"] == []
        for query, said in ((("by", "colour"), "by: 'colour' is not one of"), (("ending_at", "soon"), "ending_at: ")):
            status, told = await here.get("/v1/usage", here.admin, query)
            assert (status, told["error"]["message"].startswith(said)) == (400, True)
        assert (await here.get("/v1/usage", here.admin, ("ending_at", "9999-12-31T23:59:59Z")))[0] == 200


async def test_a_key_sees_what_is_left_of_its_budget(tmp_path: Path) -> None:
    """What is spent of it this month, and when it begins anew."""
    async with organized(tmp_path) as here:
        assert here.accounts.key_store
        here.accounts.key_store.change("alice", budget=5000)
        await here.accounts.keys.load(here.accounts.key_store)
        assert isinstance(here.accounts.budgets, Budgets)
        here.accounts.budgets._clock = lambda: BEGIN + 50 * HOUR
        entered(here.accounts)
        _, me = await here.get("/v1/keys/me", here.alice)
        spent = sum(number + 5 for number in range(1, 48, 2))
        assert me["budget"] == {"tokens": 5000, "spent": spent, "resets_at": "2027-02-01T00:00:00Z"}
        assert (await here.get("/v1/keys/me", "fixed"))[1]["budget"] is None
