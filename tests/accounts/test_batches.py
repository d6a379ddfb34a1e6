"""What a request of a batch is charged."""

from __future__ import annotations

from pathlib import Path

import msgspec

from antiphon import surfaces
from antiphon.accounts.accounts import open_accounts
from antiphon.accounts.report import report
from antiphon.batches import worker
from antiphon.batches.requests import Item
from antiphon.batches.store import Batch
from antiphon.engines.scripted import Rule
from antiphon.storage.records import Records
from tests.serving.served import served

BATCH = Batch(id="msgbatch_a", owner="", created=0, total=2, headers={"anthropic-version": "2023-06-01"})


def item(id: str, text: str) -> Item:
    body = {"model": "claude-x", "max_tokens": 50, "messages": [{"role": "user", "content": text}]}
    return Item(id, msgspec.Raw(msgspec.json.encode(body)))


async def test_a_request_that_is_asked_again_is_charged_once(tmp_path: Path) -> None:
    """By a worker that died before it kept the answer, and then by another one; what broke off is not charged, and the
    same words in another request are."""
    records = Records(f"sqlite:///{tmp_path / 'store.sqlite'}")
    service, _ = await served(
        Rule(when="breaks", text="One, two, three.", fail_after=2, times=1), Rule(text="One, two, three.")
    )
    for asked in (["breaks"], ["breaks"], ["breaks", "other"]):
        accounts = await open_accounts(records, (), tmp_path / "journals")
        options = surfaces.Options(seal_key=b"k" * 32, accounts=accounts)
        application = surfaces.build(service, options)
        for id in asked:
            answer = await worker.post(application, item(id, "It breaks."), BATCH)
            assert answer.status in (200, 500)
    assert accounts.usage is not None
    assert accounts.ledger is not None
    usage = msgspec.json.decode(answer.body)["usage"]
    (line,) = report(accounts.usage.cells(tmp_path / "journals", 0, 1 << 40), ("tier",))
    prompt = usage["input_tokens"] + usage["cache_creation_input_tokens"] + usage["cache_read_input_tokens"]
    counts = line.counts
    assert line.place == ("batch",)
    assert (counts.requests, counts.broken, counts.output) == (2, 0, 2 * usage["output_tokens"])
    assert counts.input + counts.created + counts.cached == 2 * prompt
    records.close()
