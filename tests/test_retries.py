"""What backoff makes of the policy, around coroutines that fail and count."""

import asyncio

import pytest

from plangrep_async import AuthenticationError, RateLimited, RetryPolicy
from plangrep_async._pace import Pace
from plangrep_async._transport.retries import Retries

THROTTLED = RateLimited("no", status=429)


async def throttled(pace: Pace, tries: list[float], *, others: int, seconds: float = 0.0) -> None:
    """Fail with a 429, while so many others are answered."""
    tries.append(asyncio.get_running_loop().time())
    await asyncio.sleep(seconds)
    pace.answers += others
    raise THROTTLED


@pytest.mark.parametrize(("others", "at_least"), [(0, 3), (1, 10)])
async def test_a_429_costs_an_attempt_where_nobody_is_answered(others: int, at_least: int) -> None:
    """Where others are, it costs time only, as long as there is some."""
    pace, tries = Pace(4), list[float]()
    retries = Retries(RetryPolicy(attempts=3, first_wait=0.001, max_wait=0.002, budget=0.1), pace)
    with pytest.raises(RateLimited) as caught:
        await retries.run(lambda: throttled(pace, tries, others=others))
    assert len(tries) == caught.value.attempts
    assert (len(tries) == 3) if others == 0 else (len(tries) >= at_least)


async def test_the_time_of_all_tries_counts_where_attempts_do_not() -> None:
    """A turn in a queue is no wait of the policy's, and yet it comes to an end."""
    pace, tries = Pace(4), list[float]()
    retries = Retries(RetryPolicy(attempts=3, first_wait=0.001, max_wait=0.001, budget=0.1), pace)
    with pytest.raises(RateLimited):
        await retries.run(lambda: throttled(pace, tries, others=1, seconds=0.03))
    assert 3 <= len(tries) <= 8  # and not a hundred


async def test_what_is_not_transient_is_tried_once() -> None:
    """Its attempts are counted all the same."""

    async def refused() -> None:
        raise AuthenticationError("no", status=401)

    with pytest.raises(AuthenticationError) as caught:
        await Retries(RetryPolicy(), Pace(4)).run(refused)
    assert caught.value.attempts == 1
