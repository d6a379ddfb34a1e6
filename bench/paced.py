"""What the surface itself costs, over an engine that is only a clock: beside a bare relay, beside LiteLLM's proxy."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path

from bench import servers
from bench.measuring import IDEAL, Row, cost, keeps_pace, load, median, most, paced, rounds

MESSAGES, CHAT, RESPONSES = "/v1/messages", "/v1/chat/completions", "/v1/responses"
_WHY = (
    "The target for LiteLLM's processor time was set when it took 680 µs for a token and a bare relay 31 µs (1.80, 64 "
    "streams). A paced token is mostly system calls, which nobody is spared: fifteen times less than LiteLLM takes now "
    "can be less than the bare relay, which parses nothing, takes itself."
)
PARTS = frozenset({"relay", "streams", "bursts", "scored", "length", "litellm"})
TOKENS = 200
"""Of a reply, where a whole one is measured at the ideal pace."""


def measured(folder: Path, parts: set[str]) -> list[Row]:
    """The rows of those of `PARTS` that are wanted."""
    rows: list[Row] = []
    with (
        servers.upstream(folder) as clock,
        servers.relay(folder, clock.url) as floor,
        servers.antiphon(folder, f"llama.cpp+{clock.url}") as ours,
    ):
        if "relay" in parts:
            rows += _relay(floor, ours)
        if "streams" in parts:
            rows += _streams(floor, ours)
        if "bursts" in parts:
            rows += _bursts(clock, floor, ours)
        if "scored" in parts:
            rows += _scored(clock, ours)
        if "length" in parts:
            rows += _length(clock, ours)
        if "litellm" in parts:
            with servers.litellm(folder, clock.url) as proxy:
                for path in (MESSAGES, CHAT) if proxy else ():
                    rows += _litellm(clock, floor, ours, proxy, path)
                rows += [] if proxy else [Row("LiteLLM's proxy", "could not be had")]
    return rows


def _relay(floor: servers.Running, ours: servers.Running) -> list[Row]:
    at_64 = ["--streams", "64", "--seconds", "5"]
    found = rounds(
        {
            "relay": lambda: load(floor.url + "/", floor.pids, *at_64),
            "messages": lambda: load(ours.url + MESSAGES, ours.pids, *at_64),
            "chat": lambda: load(ours.url + CHAT, ours.pids, *at_64),
            "responses": lambda: load(ours.url + RESPONSES, ours.pids, *at_64, input="hi", max_output_tokens=100_000),
        }
    )
    each = {name: median(told, cost) for name, told in found.items()}
    ratio, beside = each["messages"] / each["relay"], each["messages"] / each["chat"]
    third = each["responses"] / each["messages"]
    rows = [
        Row("processor time for a token, bare relay, 64 streams at 20 ms", f"{each['relay']:.0f} µs"),
        Row("the same, `/v1/messages`", f"{each['messages']:.0f} µs, {ratio:.2f}× the relay", "≤ 1.4×", ratio <= 1.4),
        Row("the same, against our `/v1/chat/completions`", f"{beside:.2f}×", "≤ 1.05×", beside <= 1.05),
        Row("our `/v1/responses`, against `/v1/messages`", f"{third:.2f}×", "≤ 1.05×", third <= 1.05),
    ]
    for streams in (64, 256, 512):
        told = load(ours.url + MESSAGES, ours.pids, "--streams", str(streams), "--seconds", "4")
        gap = 1e3 * told["gap_p99"]
        rows.append(Row(f"p99 between tokens (ideal 20 ms), {streams} streams", f"{gap:.0f} ms"))
    return rows


def _streams(floor: servers.Running, ours: servers.Running) -> list[Row]:
    """What a token costs beside the bare relay, from one stream to very many."""
    rows = []
    for streams in (1, 16, 64, 256, 512):
        found = rounds(
            {
                "relay": lambda streams=streams: paced(floor.url + "/", floor.pids, streams),
                "ours": lambda streams=streams: paced(ours.url + MESSAGES, ours.pids, streams),
            }
        )
        relay, mine = (median(found[name], cost) for name in ("relay", "ours"))
        gap = 1e3 * median(found["ours"], lambda told: float(told["gap_p99"]))
        figure = f"{mine:.0f} µs, {mine / relay:.2f}× the relay's {relay:.0f} µs; p99 between tokens {gap:.0f} ms"
        rows.append(Row(f"processor time for a token at 20 ms, `/v1/messages`, {streams} streams", figure))
    return rows


def _rate(server: servers.Running, path: str, tokens: int) -> float:
    told = load(server.url + path, server.pids, "--streams", "32", "--whole", tokens=tokens)
    return float(told["tokens"] / told["wall"])


def _bursts(clock: servers.Running, floor: servers.Running, ours: servers.Running) -> list[Row]:
    with servers.without_pace(clock.url):
        found = rounds(
            {
                "relay": lambda: {"rate": _rate(floor, "/", 4000)},
                "ours": lambda: {"rate": _rate(ours, MESSAGES, 4000)},
            }
        )
    rates = {name: median(told, lambda t: t["rate"]) for name, told in found.items()}
    return [Row("tokens a second in bursts, 32 streams", f"{rates['ours']:,.0f} (relay {rates['relay']:,.0f})")]


def _scored(clock: servers.Running, ours: servers.Running) -> list[Row]:
    """Tokens with ids and log-probabilities beside tokens without: one at a time, and as many as a read brings."""
    at_64, bursts = ("--streams", "64", "--seconds", "4"), ("--streams", "32", "--whole")
    rows = []
    for how, more, tokens in (("64 streams at 20 ms", at_64, 100_000), ("in bursts", bursts, 4000)):
        with servers.without_pace(clock.url) if more == bursts else nullcontext():
            measure = partial(load, ours.url + MESSAGES, ours.pids, *more, tokens=tokens)
            found = rounds({"plain": measure, "scored": partial(measure, return_token_ids=True, return_logprob=True)})
        plain, scored = (median(found[name], cost) for name in ("plain", "scored"))
        ratio = scored / plain
        what = f"processor time for a token with its id and log-probability, {how}"
        rows.append(Row(what, f"{scored:.1f} µs, {ratio:.2f}× {plain:.1f} µs without", "≤ 1.25×", ratio <= 1.25))
    return rows


def _length(clock: servers.Running, ours: servers.Running) -> list[Row]:
    one = partial(load, ours.url + MESSAGES, ours.pids, "--streams", "1", "--whole")
    with servers.without_pace(clock.url):
        found = rounds({"short": lambda: one(tokens=20_000), "long": lambda: one(tokens=80_000)})
    # What the last 60,000 tokens of a long reply cost beyond its first 20,000.
    first, whole = (median(found[name], lambda t: t["cpu"]) for name in ("short", "long"))
    ratio = ((whole - first) / 60_000) / (first / 20_000)
    return [Row("a token after 60,000, against one of the first 20,000", f"{ratio:.2f}×", "≤ 1.1×", ratio <= 1.1)]


def _litellm(
    clock: servers.Running, floor: servers.Running, ours: servers.Running, proxy: servers.Running, path: str
) -> list[Row]:
    """LiteLLM's proxy on the same upstream; on `/v1/messages` it translates, as it does for every engine that speaks
    OpenAI's API."""
    rows = [_beside(streams, path, floor, ours, proxy) for streams in (16, 64)]
    many = most(lambda streams: _kept(ours, path, streams), begin=128)
    few = most(lambda streams: _kept(proxy, path, streams), begin=8)
    figure = f"{many}, {many / max(few, 1):.0f}× LiteLLM's {few}"
    rows.append(Row(f"streams held with p99 below 40 ms, `{path}`", figure, "≥ 8×", many >= 8 * few))
    with servers.without_pace(clock.url):
        found = rounds(
            {
                "ours": lambda: {"rate": _rate(ours, path, 4000)},
                "theirs": lambda: {"rate": _rate(proxy, path, 200)},
            }
        )
    fast, slow = (median(found[name], lambda t: t["rate"]) for name in ("ours", "theirs"))
    figure = f"{fast:,.0f}, {fast / slow:.0f}× LiteLLM's {slow:,.0f}"
    return [*rows, Row(f"tokens a second in bursts, 32 streams, `{path}`", figure, "≥ 25×", fast >= 25 * slow)]


def _beside(streams: int, path: str, floor: servers.Running, ours: servers.Running, proxy: servers.Running) -> Row:
    """Over whole replies: a server that falls behind has more to do than what has come out of it so far."""
    many = ("--streams", str(streams), "--whole")
    places = {"floor": (floor, "/"), "ours": (ours, path), "theirs": (proxy, path)}
    measures = {name: partial(load, s.url + at, s.pids, *many, tokens=TOKENS) for name, (s, at) in places.items()}
    found = rounds(measures, times=2)
    least, here, there = (median(found[name], cost) for name in places)
    ratio, late = there / here, median(found["theirs"], lambda t: t["wall"]) / (TOKENS * IDEAL)
    figure = f"{there:.0f} µs, {ratio:.1f}× our {here:.0f} µs and {there / least:.1f}× the bare relay's {least:.0f} µs"
    figure += f"; the streams take {late:.1f}× their time" if late > 1.1 else ""
    what = f"LiteLLM's `{path}`, processor time for a token, {streams} streams"
    return Row(what, figure, "≥ 15×", ratio >= 15, _WHY)


def _kept(server: servers.Running, path: str, streams: int) -> bool:
    # A busy machine can only make it worse.
    return any(keeps_pace(paced(server.url + path, server.pids, streams)) for _ in range(2))
