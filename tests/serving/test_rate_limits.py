"""What a key may use in a minute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.accounts.keyring import Keyring
from antiphon.accounts.keys import Allowance, Key
from antiphon.api.errors import RateLimited
from antiphon.serving.rate_limits import RateLimiter


def keyring(*more: Key) -> Keyring:
    keys = Keyring()
    keys.take([Key(label="a", number=1), Key(label="b", number=2), *more])
    return keys


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that the test turns."""
    return Clock()


@pytest.fixture(params=["alone", "shared"])
def rate_limiter(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Iterator[RateLimiter]:
    """The same over memory and over a file."""
    file = str(tmp_path / "limits") if request.param == "shared" else ""
    allowance = Allowance(requests=3, input_tokens=1000, output_tokens=100)
    rate_limiter = RateLimiter(allowance, keyring(), file=file, clock=clock, now=lambda: 1_700_000_000.0)
    yield rate_limiter
    rate_limiter.close()


def told(rate_limiter: RateLimiter, key: str) -> dict[str, str]:
    return {
        name.decode().removeprefix("anthropic-ratelimit-"): value.decode() for name, value in rate_limiter.headers(key)
    }


def test_requests_run_out_and_come_back(rate_limiter: RateLimiter, clock: Clock) -> None:
    """Three a minute: the fourth is refused with the time until it would pass, and passes then; other keys do not
    notice."""
    for _ in range(3):
        rate_limiter.admit("a")
    with pytest.raises(RateLimited, match="3 requests per minute") as caught:
        rate_limiter.admit("a")
    rate_limiter.admit("b")
    assert caught.value.retry_after == pytest.approx(20)
    clock.now += 20.001
    rate_limiter.admit("a")
    with pytest.raises(RateLimited):
        rate_limiter.admit("a")


def test_input_is_counted_before_and_what_was_cached_given_back(rate_limiter: RateLimiter, clock: Clock) -> None:
    """A prompt needs its length free; a longer one than the whole allowance passes when nothing else was used."""
    rate_limiter.spend_input("a", 900)
    with pytest.raises(RateLimited, match="input tokens"):
        rate_limiter.spend_input("a", 200)
    rate_limiter.settle("a", cached=850, output=0)
    rate_limiter.spend_input("a", 200)
    rate_limiter.spend_input("b", 5000)
    with pytest.raises(RateLimited):
        rate_limiter.admit("b")
    clock.now += 5 * 60
    rate_limiter.spend_input("b", 5000)


def test_output_leaves_a_debt(rate_limiter: RateLimiter, clock: Clock) -> None:
    """What was sampled is known afterwards; the next request waits until it is paid."""
    rate_limiter.admit("a")
    rate_limiter.settle("a", cached=0, output=250)
    with pytest.raises(RateLimited, match="output tokens") as caught:
        rate_limiter.admit("a")
    assert caught.value.retry_after
    clock.now += caught.value.retry_after + 0.001
    rate_limiter.admit("a")


def test_headers_tell_limit_rest_and_reset(rate_limiter: RateLimiter) -> None:
    """In the API's names, with the time in its form."""
    assert told(rate_limiter, "a")["requests-remaining"] == "3"
    rate_limiter.admit("a")
    rate_limiter.spend_input("a", 500)
    assert told(rate_limiter, "a") == {
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
    file = str(tmp_path / "limits")
    meters = [RateLimiter(Allowance(requests=2), keyring(), file=file, clock=clock) for _ in range(2)]
    for rate_limiter in meters:
        rate_limiter.admit("a")
    for rate_limiter in meters:
        with pytest.raises(RateLimited):
            rate_limiter.admit("a")
        rate_limiter.close()


def test_no_limit_is_no_limit(clock: Clock) -> None:
    """What is not bounded is neither counted nor told."""
    rate_limiter = RateLimiter(Allowance(output_tokens=10), clock=clock)
    for _ in range(1000):
        rate_limiter.admit("")
        rate_limiter.spend_input("", 10**9)
    assert [name for name, _ in rate_limiter.headers("")] == [
        b"anthropic-ratelimit-output-tokens-limit",
        b"anthropic-ratelimit-output-tokens-remaining",
        b"anthropic-ratelimit-output-tokens-reset",
    ]
    rate_limiter.close()
