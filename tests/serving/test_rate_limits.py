"""What a key may use in a minute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.api.errors import RateLimited
from antiphon.serving.rate_limits import Allowance, Meter


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["alone", "shared"])
def meter(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Iterator[Meter]:
    """The same over memory and over a file."""
    file = str(tmp_path / "limits") if request.param == "shared" else ""
    allowance = Allowance(requests=3, input_tokens=1000, output_tokens=100)
    meter = Meter(allowance, ["a", "b"], file=file, clock=clock, now=lambda: 1_700_000_000.0)
    yield meter
    meter.close()


def told(meter: Meter, key: str) -> dict[str, str]:
    return {name.decode().removeprefix("anthropic-ratelimit-"): value.decode() for name, value in meter.headers(key)}


def test_requests_run_out_and_come_back(meter: Meter, clock: Clock) -> None:
    """Three a minute: the fourth is refused with the time until it would pass, and passes then; other keys do not
    notice."""
    for _ in range(3):
        meter.admit("a")
    with pytest.raises(RateLimited, match="3 requests per minute") as caught:
        meter.admit("a")
    meter.admit("b")
    assert caught.value.retry_after == pytest.approx(20)
    clock.now += 20.001
    meter.admit("a")
    with pytest.raises(RateLimited):
        meter.admit("a")


def test_input_is_counted_before_and_what_was_cached_given_back(meter: Meter, clock: Clock) -> None:
    """A prompt needs its length free; a longer one than the whole allowance passes when nothing else was used."""
    meter.spend_input("a", 900)
    with pytest.raises(RateLimited, match="input tokens"):
        meter.spend_input("a", 200)
    meter.settle("a", cached=850, output=0)
    meter.spend_input("a", 200)
    meter.spend_input("b", 5000)
    with pytest.raises(RateLimited):
        meter.admit("b")
    clock.now += 5 * 60
    meter.spend_input("b", 5000)


def test_output_leaves_a_debt(meter: Meter, clock: Clock) -> None:
    """What was sampled is known afterwards; the next request waits until it is paid."""
    meter.admit("a")
    meter.settle("a", cached=0, output=250)
    with pytest.raises(RateLimited, match="output tokens") as caught:
        meter.admit("a")
    assert caught.value.retry_after
    clock.now += caught.value.retry_after + 0.001
    meter.admit("a")


def test_headers_tell_limit_rest_and_reset(meter: Meter) -> None:
    """In the API's names, with the time in its form."""
    assert told(meter, "a")["requests-remaining"] == "3"
    meter.admit("a")
    meter.spend_input("a", 500)
    assert told(meter, "a") == {
        "requests-limit": "3",
        "requests-remaining": "2",
        "requests-reset": "2023-11-14T22:13:40Z",
        "input-tokens-limit": "1000",
        "input-tokens-remaining": "500",
        "input-tokens-reset": "2023-11-14T22:13:50Z",
        "output-tokens-limit": "100",
        "output-tokens-remaining": "100",
        "output-tokens-reset": "2023-11-14T22:13:20Z",
    }


def test_workers_share_what_was_used(tmp_path: Path, clock: Clock) -> None:
    """Two meters over one file are one."""
    meters = [Meter(Allowance(requests=2), ["a"], file=str(tmp_path / "limits"), clock=clock) for _ in range(2)]
    for meter in meters:
        meter.admit("a")
    for meter in meters:
        with pytest.raises(RateLimited):
            meter.admit("a")
        meter.close()


def test_no_limit_is_no_limit(clock: Clock) -> None:
    """What is not bounded is neither counted nor told."""
    meter = Meter(Allowance(output_tokens=10), clock=clock)
    for _ in range(1000):
        meter.admit("")
        meter.spend_input("", 10**9)
    assert [name for name, _ in meter.headers("")] == [
        b"anthropic-ratelimit-output-tokens-limit",
        b"anthropic-ratelimit-output-tokens-remaining",
        b"anthropic-ratelimit-output-tokens-reset",
    ]
    meter.close()
