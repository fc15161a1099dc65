"""Waiting for a turn: in order, with permits that are lent out and come back."""

import asyncio

import pytest

from plangrep_async import RateLimited
from plangrep_async._limiter import Limiter, Permit
from tests.faults.streams import turns


async def queue_up(limiter: Limiter, names: str, entered: list[str]) -> list[asyncio.Task[Permit]]:
    """Let one task for each name wait for its turn, in this order."""

    async def enter(name: str) -> Permit:
        permit = await limiter.enter()
        entered.append(name)
        return permit

    tasks = [asyncio.create_task(enter(name)) for name in names]
    await turns()
    return tasks


async def test_turns_come_in_the_order_of_arrival() -> None:
    """Two permits: the third waits for the first to leave, the fourth for the next."""
    limiter, entered = Limiter(2, longest_pause=1.0), list[str]()
    tasks = await queue_up(limiter, "abcd", entered)
    assert entered == ["a", "b"]
    for number, so_far in ((1, "abc"), (0, "abcd")):
        tasks[number].result().leave()
        await turns()
        assert "".join(entered) == so_far
    assert limiter.pace.in_flight == 2


@pytest.mark.fault("K6")
async def test_who_gives_up_waiting_lets_the_next_one_in() -> None:
    """A waiter that is cancelled is passed over, before its turn and in the moment of it."""
    limiter, entered = Limiter(1, longest_pause=1.0), list[str]()
    first, second, third, fourth = await queue_up(limiter, "abcd", entered)
    second.cancel()
    await turns()
    first.result().leave()  # the turn of c has come, but it has not run yet
    third.cancel()
    await asyncio.wait([second, third])
    await turns()
    assert entered == ["a", "d"]
    fourth.result().leave()
    assert limiter.pace.in_flight == 0


async def test_leaving_twice_frees_one_permit() -> None:
    """A permit that was given up stays given up."""
    limiter, entered = Limiter(1, longest_pause=1.0), list[str]()
    (first, *_) = await queue_up(limiter, "abc", entered)
    first.result().leave()
    first.result().leave()
    await turns()
    assert entered == ["a", "b"]


async def test_a_permit_is_lent_out_and_comes_back_without_waiting() -> None:
    """Whose consumer takes its time lets another one in, and goes on beside it."""
    limiter, entered = Limiter(1, longest_pause=1.0), list[str]()
    first, second = await queue_up(limiter, "ab", entered)
    permit = first.result()
    permit.lend()
    await asyncio.wait_for(second, 2.0)
    assert limiter.pace.in_flight == 1
    permit.resume()
    assert limiter.pace.in_flight == 2
    permit.leave()
    second.result().leave()
    assert limiter.pace.in_flight == 0


async def test_who_comes_back_at_once_never_let_go() -> None:
    """A consumer that is quick keeps the permit of its stream."""
    limiter, entered = Limiter(1, longest_pause=1.0), list[str]()
    first, _ = await queue_up(limiter, "ab", entered)
    for _ in range(50):
        first.result().lend()
        await asyncio.sleep(0)
        first.result().resume()
    await asyncio.sleep(0.03)  # no timer is left that would give it up
    assert entered == ["a"]
    first.result().leave()
    await turns()
    assert entered == ["a", "b"]


async def test_a_pause_holds_new_requests_until_its_moment() -> None:
    """After a `Retry-After` nobody is let in too early, and all are let in by themselves."""
    limiter, entered = Limiter(8, longest_pause=1.0), list[str]()
    loop = asyncio.get_running_loop()
    (first,) = [await limiter.enter()]
    until = loop.time() + 0.1
    first.throttled(0.1)
    first.leave()
    tasks = await queue_up(limiter, "ab", entered)
    assert entered == []
    await asyncio.wait_for(tasks[0], 2.0)
    assert loop.time() >= until
    await asyncio.wait_for(tasks[1], 2.0)
    assert entered == ["a", "b"]


async def test_a_pause_beyond_patience_fails_all_who_wait_and_come() -> None:
    """An hour is longer than the budget: `RateLimited`, with the seconds, at once."""
    limiter, entered = Limiter(1, longest_pause=1.0), list[str]()
    first, second = await queue_up(limiter, "ab", entered)
    first.result().throttled(3600.0)
    with pytest.raises(RateLimited, match="3600 s") as caught:
        await asyncio.wait_for(second, 2.0)
    assert caught.value.retry_after == pytest.approx(3600.0, abs=5.0)
    first.result().leave()
    with pytest.raises(RateLimited, match="budget"):
        await asyncio.wait_for(limiter.enter(), 2.0)
    assert entered == ["a"]


def test_a_permit_can_be_left_when_its_loop_is_closed() -> None:
    """A stream that is collected late does not raise."""
    limiter = Limiter(1, longest_pause=1.0)

    async def enter() -> Permit:
        permit = await limiter.enter()
        asyncio.get_running_loop().create_task(limiter.enter())
        await turns()
        permit.lend()
        return permit

    permit = asyncio.run(enter())
    permit.leave()
    assert limiter.pace.in_flight == 0


async def test_an_answer_that_raises_the_limit_lets_the_next_one_in() -> None:
    """Nobody has to leave for that."""
    limiter, entered = Limiter(2, longest_pause=1.0), list[str]()
    permit = await limiter.enter()
    permit.congested()
    await queue_up(limiter, "a", entered)
    assert entered == []
    permit.answered()
    await turns()
    assert entered == ["a"]
