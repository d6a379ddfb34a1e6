"""What becomes of a reply where samples are recorded: the model is asked for its tokens, and those who did not ask for
them are not told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from antiphon.api.conversation import GenerationParams
from antiphon.api.events import AnyEvent, TokensSampled
from antiphon.api.reply import Reply
from antiphon.api.tokens import TokenReport
from antiphon.observability.request_watch import Watch
from antiphon.prompt.prefix.predecessors import Continuation, missed
from antiphon.serving.model import ModelCard, Task
from antiphon.trajectories.recorder import Recorder
from antiphon.trajectories.sample import Sampled


def reported(params: GenerationParams, card: ModelCard) -> GenerationParams:
    """The same, with all that is recorded of the tokens."""
    if not card.token_ids:
        return params
    report = params.report or TokenReport()
    report = msgspec.structs.replace(report, logprobs=card.alternatives is not None)
    return msgspec.structs.replace(params, report=report)


def without_tokens(batch: list[AnyEvent]) -> list[AnyEvent]:
    """A batch for those who did not ask for tokens."""
    return [event for event in batch if type(event) is not TokensSampled]


async def record(
    recorder: Recorder,
    task: Task,
    continuation: Continuation | None,
    card: ModelCard,
    reply: Reply,
    watch: Watch,
    *,
    loaded: float | None,
    spell: Callable[[Sequence[int]], Awaitable[list[bytes]]],
) -> None:
    """Add a reply to its conversation, where all of its tokens are known. Its model was `loaded` then, in Unix seconds
    (None: with the recorder), and `spell` gives the bytes that its ids stand for."""
    job = task.job
    if job is None or job.images or not reply.tokens:
        return
    miss = missed(continuation.before, continuation.now) if continuation and continuation.before else None
    output = [token.id for token in reply.tokens]
    await recorder.record(
        Sampled(
            # Neither what one key's clients say is mixed with another's, nor one rollout with another.
            conversation="\0".join((card.name, watch.key, watch.label, job.conversation or "")),
            model=card.name,
            prompt=list(job.prompt),
            output=output,
            sampled=[token.sampled for token in reply.tokens],
            logprobs=[token.logprob for token in reply.tokens],
            sampling=job.sampling,
            stop=reply.reason,
            grammar=job.grammar is not None,
            label=watch.label,
            request=watch.request_id,
            message=watch.message,
            loaded=loaded,
            spelled=await spell([*job.prompt, *output]) if recorder.text else (),
            changed=miss.reason if miss and miss.reason != "unavailable" else "",
        )
    )
