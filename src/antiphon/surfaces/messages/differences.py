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
        "Programs ask for the original's models by name, some without being told to.",
    ),
    Difference(
        "keys",
        "Keys",
        "Always asked for.",
        "Asked for where one is configured, in `x-api-key` or as a bearer token; one right key beside a wrong one "
        "will do.",
        "A server on loopback needs none, and programs send stale keys beside right ones.",
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
        "Programs are updated before servers are.",
    ),
    Difference(
        "betas",
        "`anthropic-beta`",
        "Unknown values are a 400.",
        "Any value is accepted.",
        "As above.",
    ),
    Difference(
        "unknown_blocks",
        "Blocks of an unknown type",
        "400.",
        "A short text in their place; only in `system`, 400 too.",
        "A conversation that began elsewhere can go on here.",
    ),
    Difference(
        "system_turns",
        "`role: system` within `messages`",
        "With a beta header, after a user message.",
        "Anywhere; told in its place, within the neighbouring user turn. `developer` means the same.",
        "Moving it to the front would have the whole prompt computed again; most chat templates allow it nowhere else.",
    ),
    Difference(
        "sampling",
        "`temperature`, `top_p`, `top_k`",
        "400 under version 2026-10-21; `temperature` up to 1.",
        "Accepted under every version, and with thinking; `temperature` up to 2.",
        "Open models are tuned for values of their own; left out, the engine's neutral ones are used.",
    ),
    Difference(
        "clamped",
        "`max_tokens`",
        "400 when prompt and reply together exceed the window.",
        "Cut to what is left of the window; a reply that reaches it ends with `model_context_window_exceeded`.",
        "Programs ask for what large models can do; only a prompt that does not fit is an error.",
    ),
    Difference(
        "budgets",
        "`thinking.budget_tokens`",
        "At least 1024, and below `max_tokens`.",
        "Any below `max_tokens`; thinking keeps to it, and to three quarters of `max_tokens`.",
        "Small models have small windows, and an answer must always follow.",
    ),
    Difference(
        "prefill",
        "An assistant message at the end",
        "400 for newer models; no white space at its end.",
        "The reply goes on from it.",
        "Open models can, and it is useful.",
    ),
    Difference(
        "schemas",
        "`output_config.format`, `strict`",
        "A part of JSON Schema: every object closed, no bounds of numbers, no recursion.",
        "Any schema. Where the engine cannot be held to it and the output does not match, the request fails.",
        "There is no reason to refuse what can be done; and what does not match must not pass for a reply.",
    ),
    Difference(
        "cache_marks",
        "`cache_control`",
        "At most four; marks decide what is cached.",
        "Any number; everything is kept, marked or not, and marks decide only what is reported as created.",
        "The engine keeps its prompts anyway.",
    ),
    Difference(
        "server_tools",
        "Server tools",
        "Run on the server.",
        "Those that the operator set up run; of the others none is shown to the model, and a request that has nothing "
        "else gets their error `unavailable`. See [Server tools](server-tools.md).",
        "They reach out of the server, so somebody must have said where to; and a model told to search would make up "
        "what it found.",
    ),
    Difference(
        "threads",
        "`thread`",
        "The conversation is kept on the server.",
        "400 with `error_code` `thread_unsupported_request`.",
        "The SDKs then send the whole conversation, as for any other server.",
    ),
    Difference(
        "blind_models",
        "Pictures for a model without vision",
        "Every model sees.",
        "400 in the last user turn; a placeholder further back and in tool results.",
        "A gap that nobody is told of would be taken for an answer, but must not end a conversation.",
    ),
    Difference(
        "counting",
        "`count_tokens`",
        "An estimate; refuses `max_tokens` and the like.",
        "Exact, for the whole body of a message.",
        "The same code tokenises both.",
    ),
    Difference(
        "constants",
        "`service_tier`, `inference_geo`, `speed`",
        "What served the request.",
        "`standard` (in a batch `batch`), `not_available`, `standard`.",
        "Programs read them without asking.",
    ),
    Difference(
        "rendering",
        "`POST /v1/messages/render`",
        "Is not there.",
        "Shows the prompt, token by token.",
        "To see why a reply came out as it did.",
    ),
)
