"""What usage says of the cache."""

from __future__ import annotations

from typing import Any

from antiphon_check.agent.context import counted
from antiphon_check.basic.messages import prompt_tokens
from antiphon_check.registry import GUIDE, SDK, check
from antiphon_check.server import Server
from antiphon_check.verdict import Unjudged, expect

_GUIDE = GUIDE + "prompt-caching"


def _long(salt: str) -> list[dict[str, Any]]:
    said = " ".join(f"Note {number} of {salt}: the ship passed the lighthouse." for number in range(60))
    return [{"type": "text", "text": said, "cache_control": {"type": "ephemeral"}}]


@check(
    "full.cache_fields",
    "`usage` has `cache_creation_input_tokens` and `cache_read_input_tokens`, as numbers or null.",
    reason="Programs add them up for the size of the context.",
    source=SDK + "types/usage.py",
)
def cache_fields(server: Server) -> None:
    used = server.message().get("usage") or {}
    for name in ("cache_creation_input_tokens", "cache_read_input_tokens"):
        value = used.get(name, "missing")
        expect(value is None or (type(value) is int and value >= 0), f"`{name}` is {value!r}")


@check(
    "full.cache_read",
    "A prompt that comes again, longer by a turn, is read from the cache as far as it is the same.",
    reason="It is what makes agents bearable on a machine of one's own.",
    source=_GUIDE,
)
def cache_read(server: Server) -> None:
    system = _long(server.target.salt)
    first: list[dict[str, Any]] = [{"role": "user", "content": "Hello."}]
    server.message(system=system, messages=first)
    longer = [*first, {"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "Well?"}]
    used = server.message(system=system, messages=longer).get("usage") or {}
    read = used.get("cache_read_input_tokens")
    if read is None:
        raise Unjudged("the server does not count what it reads from its cache")
    expect(read > prompt_tokens(used) / 2, f"{read} of {prompt_tokens(used)} tokens were read from the cache")


@check(
    "full.cache_sum",
    "What was read, what was created and the rest add up to the prompt.",
    reason="Otherwise costs and contexts are wrong by thousands.",
    source=_GUIDE,
)
def cache_sum(server: Server) -> None:
    system = _long(server.target.salt)
    whole = counted(server, system=system)
    for _ in range(2):
        found = prompt_tokens(server.message(system=system).get("usage") or {})
        expect(abs(found - whole) <= max(whole * 0.05, 4), f"the parts add up to {found}, the prompt has {whole}")
