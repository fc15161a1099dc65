"""Turns of the event loop: one step in each, in order, whoever asks."""

import asyncio

from plangrep_async._turns import Turns
from tests.faults.streams import turns as go_round


async def rounds() -> list[list[str]]:
    """Let three tasks take four steps each; give who took one in which turn of the loop."""
    turns = Turns()
    seen: list[list[str]] = [[]]

    async def work(name: str) -> None:
        for _ in range(4):
            await turns.next()
            seen[-1].append(name)

    tasks = [asyncio.create_task(work(name)) for name in "abc"]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        seen.append([])
    return seen


async def test_one_step_is_taken_in_each_turn() -> None:
    """Three tasks that all have work never take two steps in one turn, and nobody is left out."""
    steps = await rounds()
    assert max(map(len, steps)) == 1
    assert sorted(name for step in steps for name in step) == sorted("abc" * 4)


async def test_steps_come_in_the_order_of_asking() -> None:
    """Who has just had a turn is behind all who wait."""
    order = "".join(name for step in await rounds() for name in step)
    assert order == "abc" * 4


async def test_who_is_alone_gives_others_in_the_loop_a_turn() -> None:
    """Whatever else is ready runs before the step."""
    said: list[str] = []
    asyncio.get_running_loop().call_soon(said.append, "other")
    await Turns().next()
    assert said == ["other"]


async def test_who_gives_up_is_passed_over() -> None:
    """A task that is cancelled while it waits, or when its turn has come, holds nobody up."""
    turns = Turns()
    done: list[str] = []

    async def work(name: str) -> None:
        await turns.next()
        done.append(name)

    tasks = [asyncio.create_task(work(name)) for name in "abcd"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.sleep(0)
    tasks[2].cancel()
    await go_round(10)
    assert done == ["a", "d"]
    await turns.next()
