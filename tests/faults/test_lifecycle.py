"""Streams that are left early, in every way, and the consumer's own business around them."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest

from plangrep_async import AsyncPlangrep, ClientClosed, RetryPolicy, Timeouts
from tests.conftest import PROJECT, document
from tests.faults.streams import IDS, JOBS, nothing_left, slots, stall, stall_after, turns
from tests.raw_server import Connection, RawServer, Script, response
from tests.test_resuming import cut, whole
from tests.test_stream import ids

Connect = Callable[..., AsyncPlangrep]

SOON = RetryPolicy(first_wait=0.001)
LONG = Timeouts(connect=30, read=30)


async def leave_under_aclosing(client: AsyncPlangrep) -> None:
    async with aclosing(client.list_jobs(PROJECT)) as jobs:
        async for _ in jobs:
            break


async def leave_by_an_error(client: AsyncPlangrep) -> None:
    async def fail() -> None:
        async with aclosing(client.list_jobs(PROJECT)) as jobs:
            async for _ in jobs:
                raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await fail()


@pytest.mark.fault("L1")
@pytest.mark.parametrize("leave", [leave_under_aclosing, leave_by_an_error])
async def test_a_stream_left_under_aclosing_is_closed_then_and_there(
    connect: Connect, leave: Callable[[AsyncPlangrep], Any]
) -> None:
    """The connection is given up before the next statement, and the next list has its own."""
    async with (
        nothing_left(),
        RawServer([stall_after(3), whole(JOBS)]) as server,
        connect(server.base_url, timeout=LONG) as client,
    ):
        await leave(client)
        assert slots(client) == 0
        await server.wait_closed_by_client(0)
        assert await ids(client) == IDS
        assert [request.connection for request in server.requests] == [0, 1]


@pytest.mark.fault("L1")
async def test_a_stream_left_by_break_is_closed_one_turn_later(connect: Connect) -> None:
    """Without `aclosing` the event loop closes what nobody refers to any more."""
    async with (
        nothing_left(),
        RawServer([stall_after(3), whole(JOBS)]) as server,
        connect(server.base_url, timeout=LONG) as client,
    ):
        async for _ in client.list_jobs(PROJECT):
            break
        assert slots(client) == 1
        await turns(3)  # one to begin the task that closes, one for its step
        assert slots(client) == 0
        await server.wait_closed_by_client(0)
        assert await ids(client) == IDS
        assert [request.connection for request in server.requests] == [0, 1]


@pytest.mark.fault("L1")
async def test_a_stream_that_is_kept_is_closed_with_its_client(connect: Connect) -> None:
    """While someone refers to it a stream can go on; the client's end is its end, too."""
    async with nothing_left(), RawServer([stall_after(3), whole(JOBS)]) as server:
        async with connect(server.base_url, timeout=LONG) as client:
            kept = client.list_jobs(PROJECT)
            async for _ in kept:
                break
            gc.collect()
            assert await ids(client) == IDS
            assert [request.connection for request in server.requests] == [0, 1]
            assert slots(client) == 1
            assert server.accepted[0].ended is None
        await server.wait_closed_by_client(0)
        with pytest.raises(ClientClosed):
            await anext(kept)


@pytest.mark.fault("L1")
async def test_a_stream_in_a_cycle_is_closed_when_the_cycle_is_collected(connect: Connect) -> None:
    """A stream that only garbage refers to stays open until the collector finds it."""
    gc.disable()
    try:
        async with (
            nothing_left(),
            RawServer([stall_after(3), whole(JOBS)]) as server,
            connect(server.base_url, timeout=LONG) as client,
        ):
            cycle = SimpleNamespace(jobs=client.list_jobs(PROJECT))
            cycle.itself = cycle
            await anext(cycle.jobs)
            del cycle
            await turns()
            assert slots(client) == 1
            gc.collect()
            await turns(3)
            assert slots(client) == 0
            await server.wait_closed_by_client(0)
            assert await ids(client) == IDS
            assert [request.connection for request in server.requests] == [0, 1]
    finally:
        gc.enable()


@pytest.mark.fault("L1")
@pytest.mark.parametrize("unsent", [0, 1, 2_000])
async def test_what_was_left_unread_is_never_taken_for_the_next_answer(
    connect: Connect, unsent: int
) -> None:
    """Whatever of an answer comes after its stream was left, the next list gets its own jobs."""
    left = asyncio.Event()
    answer = response(document(JOBS))

    async def send(conn: Connection) -> None:
        await conn.send(answer[: len(answer) - unsent])
        await left.wait()
        await conn.send(answer[len(answer) - unsent :])

    async with (
        nothing_left(),
        RawServer([send, whole(JOBS[7:9])]) as server,
        connect(server.base_url, timeout=LONG) as client,
    ):
        await leave_under_aclosing(client)
        assert slots(client) == 0
        left.set()
        assert await ids(client) == IDS[7:9]


async def refuse(conn: Connection) -> None:
    await conn.send(response(status=503, headers=[("Retry-After", "30")]))


@pytest.mark.fault("L4")
@pytest.mark.parametrize(
    "scripts",
    [[stall_after(2)], [cut(JOBS, 2), stall], [cut(JOBS, 2), refuse]],
    ids=["bytes", "headers", "Retry-After"],
)
async def test_a_time_out_of_the_consumers_is_the_consumers(
    connect: Connect, scripts: list[Script]
) -> None:
    """`asyncio.timeout` around the loop raises what it always does, wherever the stream waits."""
    seen: list[str] = []

    async def read(client: AsyncPlangrep, limit: asyncio.Timeout) -> None:
        async with limit, aclosing(client.list_jobs(PROJECT)) as jobs:
            async for job in jobs:
                seen.append(job.id)  # noqa: PERF401  # a comprehension would lose it to the error

    async with (
        nothing_left(),
        RawServer([*scripts, whole(JOBS)]) as server,
        connect(server.base_url, timeout=LONG, retry=SOON) as client,
    ):
        limit = asyncio.timeout(None)
        reading = asyncio.create_task(read(client, limit))
        await server.wait_until(lambda: len(server.requests) == len(scripts))
        await asyncio.sleep(0.05)  # until it waits; the end of a cut connection takes 0.02
        limit.reschedule(asyncio.get_running_loop().time())
        done, _ = await asyncio.wait([reading], timeout=2)
        assert done == {reading}
        with pytest.raises(TimeoutError) as caught:
            await reading
        assert type(caught.value) is TimeoutError
        assert limit.expired()
        assert seen == IDS[:2]
        assert slots(client) == 0
        if scripts[-1] is not refuse:  # whose connection is free for the next request
            await server.wait_closed_by_client(len(scripts) - 1)
        assert await ids(client) == IDS
        assert len(server.requests) == len(scripts) + 1


@pytest.mark.fault("L5")
async def test_a_consumer_is_cancelled_by_its_own_group_only(connect: Connect) -> None:
    """A sibling's failure reaches a consumer that sleeps between two jobs; our time-outs do not."""
    events: list[str] = []

    async def consume(client: AsyncPlangrep) -> None:
        async for job in client.list_jobs(PROJECT):
            events.append(job.id)
            if job.id == IDS[1]:
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    events.append("cancelled")
                    raise

    async def fail(server: RawServer) -> None:
        await server.wait_until(lambda: server.bytes_sent > 0)
        await asyncio.sleep(0.2)  # four times as long as any time-out of the client
        events.append("fails")
        raise LookupError("sibling")

    async def together(*coroutines: Coroutine[Any, Any, None]) -> None:
        async with asyncio.TaskGroup() as group:
            for coroutine in coroutines:
                group.create_task(coroutine)

    short = Timeouts(connect=0.05, read=0.05)
    async with (
        nothing_left(),
        RawServer([stall_after(3)]) as server,
        connect(server.base_url, timeout=short) as client,
    ):
        with pytest.raises(ExceptionGroup) as caught:
            await together(consume(client), fail(server))
        assert [str(error) for error in caught.value.exceptions] == ["sibling"]
        assert events == [*IDS[:2], "fails", "cancelled"]
        await server.wait_closed_by_client(0)


@pytest.mark.fault("L11")
async def test_a_second_consumer_of_a_stream_is_refused_and_the_first_goes_on(
    connect: Connect,
) -> None:
    """Two steps at the same time: the second is a `RuntimeError`, and every job comes once."""
    ready = asyncio.Event()

    async def send(conn: Connection) -> None:
        await ready.wait()
        await conn.send(response(document(JOBS)))

    async with nothing_left(), RawServer([send]) as server, connect(server.base_url) as client:
        jobs = client.list_jobs(PROJECT)
        first = asyncio.ensure_future(anext(jobs))
        await turns()
        refused = await asyncio.gather(*(anext(jobs) for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in refused] == [RuntimeError] * 3
        ready.set()
        assert [(await first).id, *[job.id async for job in jobs]] == IDS
        assert len(server.requests) == 1
