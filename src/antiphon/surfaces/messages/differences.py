"""Where the Messages API as served here differs from the original, and why: the one list, which the page of the API is
made from and every row of which a test of the same name shows."""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """One difference: its key, what it is about, what the original does, what is done here, and the reason."""

    key: str
    about: str
    original: str
    here: str
    why: str


DIFFERENCES = (
    Difference(
        "model_names",
        "`model`",
        "Its own models; anything else is a 404.",
        "The served names and aliases. `default`, and any name with `claude` in it that is no alias, mean the first "
        "model. Anything else is a 404 that lists what is served.",
        "Programs ask for the original's models by name, even if they are not configured to.",
    ),
    Difference(
        "keys",
        "Keys",
        "Always required.",
        "Required if one is configured, in `x-api-key` or as a bearer token; a valid key next to an invalid one is "
        "enough.",
        "A server on loopback needs none, and programs send stale keys along with valid ones.",
    ),
    Difference(
        "paths",
        "Paths",
        "`/v1/messages`.",
        "The same; also `/messages`, `/v1/v1/messages` and `/anthropic/v1/messages`.",
        "Base URLs are given with and without `/v1`, and programs add their own.",
    ),
    Difference(
        "unknown_fields",
        "Unknown fields",
        "400, “Extra inputs are not permitted”.",
        "Accepted everywhere; those of the body are named in the header `antiphon-ignored`.",
        "A program may be newer than the server, and should still work.",
    ),
    Difference(
        "betas",
        "`anthropic-beta`",
        "Unknown values are a 400.",
        "Any value is accepted.",
        "The same.",
    ),
    Difference(
        "unknown_blocks",
        "Blocks of an unknown type",
        "400.",
        "Replaced by a short text; 400 only in `system`.",
        "A conversation that began elsewhere can go on here.",
    ),
    Difference(
        "system_turns",
        "`role: system` within `messages`",
        "With a beta header, after a user message.",
        "Anywhere; rendered in place, within the neighbouring user turn. `developer` means the same.",
        "Moving it to the front would change the whole prompt, and most chat templates allow it nowhere else.",
    ),
    Difference(
        "sampling",
        "`temperature`, `top_p`, `top_k`",
        "400 under version 2026-10-21; `temperature` up to 1.",
        "Accepted under every version, and with thinking; `temperature` up to 2.",
        "Open models are tuned for their own values. Without them, neutral ones are used.",
    ),
    Difference(
        "clamped",
        "`max_tokens`",
        "400 when prompt and reply together exceed the window.",
        "Reduced to the rest of the window; a reply that reaches the end of it stops with "
        "`model_context_window_exceeded`.",
        "Programs ask for as much as large models allow. Only a prompt that does not fit is an error.",
    ),
    Difference(
        "budgets",
        "`thinking.budget_tokens`",
        "At least 1024, and below `max_tokens`.",
        "Any value below `max_tokens`, and any at all where thinking is interleaved; thinking is limited to it, and to "
        "three quarters of `max_tokens`.",
        "Small models have small windows, and there must be room for an answer.",
    ),
    Difference(
        "prefill",
        "An assistant message at the end",
        "400 for newer models; no white space at its end.",
        "The reply continues it.",
        "Open models can, and it is useful.",
    ),
    Difference(
        "schemas",
        "`output_config.format`, `strict`",
        "A part of JSON Schema: every object closed, no bounds of numbers, no recursion.",
        "Any schema. If the engine cannot be constrained to it and the output does not match, the request fails.",
        "Nothing that works needs to be refused, and output that does not match must not pass as a reply.",
    ),
    Difference(
        "cache_marks",
        "`cache_control`",
        "At most four; marks decide what is cached.",
        "Any number; everything is cached, marked or not, and marks only decide what is reported as created.",
        "The engine keeps its prompts in any case.",
    ),
    Difference(
        "server_tools",
        "Server tools",
        "Run on the server.",
        "Those that the operator set up run; of the others none is shown to the model, and a request that has nothing "
        "else gets their error `unavailable`; `advisor` is never set up. See [Server tools](server-tools.md).",
        "They reach out of the server, so somebody must have said where to; and a model told to search would make up "
        "what it found.",
    ),
    Difference(
        "blind_models",
        "Pictures for a model without vision",
        "Every model sees.",
        "400 in the last user turn; a placeholder further back and in tool results.",
        "A missing picture must not go unnoticed, but must not end a conversation either.",
    ),
    Difference(
        "context_triggers",
        "`context_management`: triggers",
        "Of any size, 100,000 tokens by default; compared with the whole prompt, for each request anew.",
        "At most three quarters of the window. What earlier requests of the conversation cleared is cleared first, in "
        "the same places, and does not count; sizes are sums over the parts, a few tokens off.",
        "A request must not fail for a trigger above the window, and a place that moved with every turn would have the "
        "prompt computed anew each time. See [Long conversations](context.md).",
    ),
    Difference(
        "compaction",
        "`compact_20260112`, `compaction`",
        "Triggers from 50,000 tokens; a block that comes back must be the only one, unchanged, and the first.",
        "Triggers of any size. Of several blocks that come back the last counts, wherever it stands; its summary may "
        "have been changed. `tool_changes` are not told: tools that came up before the block are told of again.",
        "A summary is text that the client could as well have written, and small models have small windows.",
    ),
    Difference(
        "counting",
        "`count_tokens`",
        "An estimate; refuses `max_tokens` and the like.",
        "Exact; accepts the whole body of a message.",
        "The same code tokenises both.",
    ),
    Difference(
        "constants",
        "`service_tier`, `inference_geo`, `speed`",
        "How the request was served.",
        "`standard` (in a batch `batch`), `not_available`, `standard`.",
        "Programs expect these fields.",
    ),
    Difference(
        "rendering",
        "`POST /v1/messages/render`",
        "Does not exist.",
        "Shows the prompt, token by token.",
        "It shows why a reply came out as it did.",
    ),
)
