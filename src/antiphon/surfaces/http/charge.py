"""What a request is charged: the figures of its reply, before the end of that is told, so that what a client has seen
the end of is entered whatever happens next."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import msgspec

from antiphon.accounts.ledger import Ledger
from antiphon.accounts.usage import Counts, Entry
from antiphon.api.events import AnyEvent, Emit, Finished, Run, Usage
from antiphon.observability.request_watch import Watch


class Charge:
    """The charge of one request; nothing where there is no ledger. One that is `postponed` is for a reply that is made
    after the request was answered. A request of a batch has an id, `batched`: it may be asked again, and is charged for
    one reply that is whole. So many replies are made `per_prompt`, which is charged once for them."""

    def __init__(
        self, ledger: Ledger | None, watch: Watch, batched: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        self.postponed = False
        self.per_prompt = 1
        self._ledger = ledger
        self._watch = watch
        self._batched = batched
        self._clock = clock
        self._charged = False

    def make(self, usage: Usage) -> None:
        """Charge a reply that is whole."""
        if not self._charged:
            self._enter(_counts(usage, requests=1))

    def end(self, *, client_gone: bool = False) -> None:
        """The request is over: if its reply broke off, charge what it had used by then. Of one that had not begun that
        is the prompt, as far as it was read before its client left; one that was refused or failed costs nothing."""
        watch = self._watch
        begun = watch.output or watch.first is not None
        left = client_gone and watch.cut and self.per_prompt == 1
        if self._charged or self._batched or not (begun or left):
            return
        usage = Usage(
            prompt=(watch.earlier_prompt + watch.prompt) // self.per_prompt,
            cached=watch.earlier_cached + watch.cached,
            output=watch.output,
        )
        self._enter(_counts(usage, broken=1))

    def making(self, run: Run) -> Run:
        """The same run, charged when it has come to its end and before that is told."""

        async def charged(emit: Emit) -> None:
            def passing(batch: list[AnyEvent]) -> Awaitable[None]:
                if batch and isinstance(end := batch[-1], Finished):
                    self.make(end.usage)
                return emit(batch)

            try:
                await run(passing)
            finally:
                if self.postponed:
                    self.end()

        return charged if self._ledger is not None else run

    def _enter(self, counts: Counts) -> None:
        self._charged = True
        if self._ledger is None:
            return
        watch = self._watch
        counts = msgspec.structs.replace(
            counts, milliseconds=round((watch.clock() - watch.began) * 1000), tool_calls=len(watch.tools)
        )
        tier = "batch" if self._batched else "standard"
        self._ledger.enter(Entry(int(self._clock()), watch.key, watch.model, tier, counts, self._batched))


def _counts(usage: Usage, *, requests: int = 0, broken: int = 0) -> Counts:
    """The figures as the API tells them, with those of a summary that the reply begins with."""
    counts = Counts(
        requests=requests,
        broken=broken,
        input=usage.prompt - usage.cached - usage.created,
        created=usage.created,
        cached=usage.cached,
        output=usage.output,
        thinking=usage.thinking,
        web_searches=usage.server_tools.get("web_search_requests", 0),
        web_fetches=usage.server_tools.get("web_fetch_requests", 0),
    )
    return counts.plus(_counts(usage.compaction)) if usage.compaction else counts
