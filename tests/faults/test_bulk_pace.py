"""Many projects at the pace of the consumer and of the server (K3, K5, K8, K10)."""

import asyncio
from contextlib import AsyncExitStack, aclosing
from typing import Any

import aiohttp
import pytest

from plangrep_async import RateLimited, RetryPolicy, Timeouts
from tests.conftest import document, wire_job
from tests.faults.bulk import (
    Connect,
    asked,
    begins,
    by_its_project,
    by_project,
    ids_of,
    jobs_of,
    lists,
    names,
    project_of,
    refuses,
    wait_for,
)
from tests.faults.streams import nothing_left
from tests.faults.test_pace import small_socket
from tests.raw_server import CHUNKED, Connection, RawServer, chunked, head, json_response, response

LONG: dict[str, Any] = {"timeout": Timeouts(connect=30, read=30)}


@pytest.mark.fault("K3")
@pytest.mark.parametrize("jobs_before", [None, 0, 2], ids=["no answer", "no job", "two jobs"])
async def test_a_project_that_stalls_holds_up_no_other(
    connect: Connect, jobs_before: int | None
) -> None:
    """While it is waited for all others come to their ends, and what it had sent is given."""

    async def stall(conn: Connection) -> None:
        await conn.stall()

    scripts = {"p001": stall if jobs_before is None else begins(jobs_before)}
    async with (
        nothing_left(),
        RawServer(by_project(scripts, lists(3))) as server,
        connect(server.base_url, **LONG, max_concurrency=2) as client,
        client.list_jobs_many(names(30)) as jobs,
    ):
        expected = [i for name in names(30) if name != "p001" for i in ids_of(name, 3)]
        expected += ids_of("p001", jobs_before or 0)
        seen = [(await anext(jobs)).id for _ in expected]
        assert sorted(seen) == sorted(expected)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(jobs), 0.05)
        assert (jobs.progress.projects_done, jobs.progress.in_flight) == (29, 1)
    assert asked(server) == dict.fromkeys(names(30), 1)


@pytest.mark.fault("K3")
async def test_a_project_that_stalls_is_given_up_and_asked_again(connect: Connect) -> None:
    """The read time-out is its own: it goes on where it broke, and the others were not held up."""
    stalled = set[str]()

    async def stall_once(conn: Connection) -> None:
        if stalled:
            await lists(4)(conn)
        else:
            stalled.add("p001")
            await begins(2)(conn)

    async with (
        nothing_left(),
        RawServer(by_project({"p001": stall_once}, lists(3))) as server,
        connect(server.base_url) as client,
        client.list_jobs_many(names(9)) as jobs,
    ):
        seen = await by_its_project(jobs)
        assert seen.pop("p001") == ids_of("p001", 4)
        assert seen == {name: ids_of(name, 3) for name in names(9) if name != "p001"}
        assert jobs.progress.retries == 1
    assert asked(server) == {**dict.fromkeys(names(9), 1), "p001": 2}


@pytest.mark.fault("K5")
async def test_a_slow_consumer_holds_up_the_server_and_memory_stays_bounded(
    connect: Connect,
) -> None:
    """However many fast streams wait, each has one piece here; the server's buffers are full."""
    most = 8
    count = 3_000  # jobs of a project: two megabytes
    bodies = {name: document(jobs_of(name, count)) for name in names(1)}
    size = len(bodies["p000"])

    async def send(conn: Connection) -> None:
        body = bodies["p000"].replace(b"p000", project_of(conn).encode())
        await conn.send(response(body))

    async with (
        nothing_left(),
        RawServer(send, send_buffer_bytes=32 * 1024) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=small_socket)) as own,
        connect(server.base_url, **LONG, session=own, max_concurrency=most) as client,
        client.list_jobs_many(names(100)) as jobs,
    ):
        await anext(jobs)
        most_waiting = 0
        for _ in range(60):
            await asyncio.sleep(0.005)  # ten times longer than a batch takes to arrive
            for _ in range(20):
                await anext(jobs)
            most_waiting = max(most_waiting, len(jobs._handover._waiting))
            # Of all that was read one piece is decoded: what its consumer is about to get.
            assert len(jobs._handover._batches) == 0
        assert 0 < most_waiting <= most
        await asyncio.sleep(0.05)
        sent, read = server.bytes_sent, jobs.progress.bytes
        await asyncio.sleep(0.1)
        assert (server.bytes_sent, jobs.progress.bytes) == (sent, read)  # all wait for us
        assert sent < len(server.accepted) * (1 << 20)
        given = jobs.progress.jobs * size / count
        assert read - given <= most * 2 * (128 << 10)
        assert len(server.accepted) <= most + jobs.progress.projects_done


@pytest.mark.fault("K8")
@pytest.mark.parametrize("most", [1, 2, 3])
async def test_lists_read_inside_the_stream_do_not_lock_it(connect: Connect, most: int) -> None:
    """With all permits taken, `list_jobs` and another `list_jobs_many` inside come to their end."""
    async with (
        nothing_left(),
        RawServer(lists(40)) as server,
        connect(server.base_url, **LONG, max_concurrency=most) as client,
    ):
        seen = 0
        async with asyncio.timeout(20), client.list_jobs_many(names(6)) as jobs:
            async for job in jobs:
                seen += 1
                if seen % 40 == 1:
                    inner = [one.id async for one in client.list_jobs("inner")]
                    assert inner == ids_of("inner", 40)
                    async with client.list_jobs_many([f"{job.project_id}-twin", "x"]) as others:
                        assert len(await by_its_project(others)) == 2
        assert seen == 240
        assert len(server.requests) == 6 + 6 + 12


@pytest.mark.fault("K8")
async def test_streams_read_in_lock_step_do_not_wait_for_each_other(connect: Connect) -> None:
    """Twenty lists that are read in turn, with one request allowed at a time, all end."""
    count = 400  # several batches each, and more than a buffer holds

    async def send(conn: Connection) -> None:
        body = document(jobs_of(project_of(conn), count))
        await conn.send(head(headers=[CHUNKED]))
        for start in range(0, len(body), 100_000):
            await conn.send(chunked([body[start : start + 100_000]], terminator=False))
            await asyncio.sleep(0.001)
        await conn.send(chunked([]))

    async with (
        nothing_left(),
        RawServer(send) as server,
        connect(server.base_url, **LONG, max_concurrency=1) as client,
        AsyncExitStack() as stack,
        asyncio.timeout(30),
    ):
        lists_ = [
            await stack.enter_async_context(aclosing(client.list_jobs(name))) for name in names(20)
        ]
        for number in range(count):
            row = [(await anext(jobs)).id for jobs in lists_]
            assert row == [f"{name}-{number}" for name in names(20)]
        for jobs in lists_:
            with pytest.raises(StopAsyncIteration):
                await anext(jobs)
        assert len(server.requests) == 20


@pytest.mark.fault("K8")
async def test_two_streams_of_one_client_that_are_zipped(connect: Connect) -> None:
    """Each takes a job in turn, while the other's workers hold what they have."""
    async with (
        nothing_left(),
        RawServer(lists(60)) as server,
        connect(server.base_url, **LONG, max_concurrency=2) as client,
        asyncio.timeout(20),
        client.list_jobs_many(names(8)) as ones,
        client.list_jobs_many(names(8)) as others,
    ):
        count = 0
        while True:
            pair = [await anext(ones, None), await anext(others, None)]
            if pair == [None, None]:
                break
            count += len(pair)
        assert count == 2 * 8 * 60
        assert asked(server) == dict.fromkeys(names(8), 2)
        assert client._lifetime.limiter.pace.in_flight == 0


@pytest.mark.fault("K8")
async def test_a_small_pool_of_the_callers_is_no_deadlock(connect: Connect) -> None:
    """More workers than connections: they wait for one another, and all projects come."""
    connector = aiohttp.TCPConnector(limit=2)
    async with (
        nothing_left(),
        RawServer(lists(30)) as server,
        aiohttp.ClientSession(connector=connector) as own,
        connect(server.base_url, **LONG, session=own, max_concurrency=8) as client,
        asyncio.timeout(20),
        client.list_jobs_many(names(30)) as jobs,
    ):

        async def consume() -> int:
            return len([job async for job in jobs])

        assert sum(await asyncio.gather(*(consume() for _ in range(3)))) == 900
        assert server.connections <= 2


@pytest.mark.fault("K10")
async def test_a_storm_of_429_is_one_pause_of_all_and_then_they_come_one_by_one(
    connect: Connect,
) -> None:
    """From the first refusal on nobody sends before its Retry-After, and then not all at once."""
    most, refused_at = 16, list[float]()

    async def refuse_the_first(conn: Connection) -> None:
        if conn.request.number < most:
            await asyncio.sleep(0.02 + 0.001 * conn.request.number)  # all of them are here
            refused_at.append(asyncio.get_running_loop().time())
            await refuses(429, ("Retry-After", "1"))(conn)
        else:
            await lists(2)(conn)

    async with (
        nothing_left(),
        RawServer(refuse_the_first) as server,
        connect(
            server.base_url,
            **LONG,
            retry=RetryPolicy(attempts=2, first_wait=0.001, budget=20),
            max_concurrency=most,
        ) as client,
        client.list_jobs_many(names(40)) as jobs,
    ):
        seen = await by_its_project(jobs)
        assert seen == {name: ids_of(name, 2) for name in names(40)}
    arrivals = [request.arrived for request in server.requests]  # the clock of the loop
    assert len(arrivals) == most + 40
    assert max(arrivals[:most]) < refused_at[0]
    later = arrivals[most:]
    assert min(later) >= refused_at[0] + 1
    # Nothing was measured yet: the pace is as many a second as may be in flight, and grows.
    assert later[most - 1] - later[0] > 0.2
    busiest = max(sum(start <= time < start + 0.05 for time in later) for start in later)
    assert busiest <= most / 2


@pytest.mark.fault("K10")
async def test_a_pause_holds_new_requests_and_no_open_body(connect: Connect) -> None:
    """What is being read comes to its end meanwhile, and no new request is sent."""
    go_on = asyncio.Event()

    async def send_in_two(conn: Connection) -> None:
        body = document(jobs_of("p000", 8))
        await conn.send(head(headers=[CHUNKED]) + chunked([body[:2_000]], terminator=False))
        await go_on.wait()
        await conn.send(chunked([body[2_000:]]))

    scripts = {"p000": send_in_two, "p001": refuses(429, ("Retry-After", "15"))}
    async with (
        nothing_left(),
        RawServer(by_project(scripts, lists(1))) as server,
        connect(
            server.base_url, **LONG, retry=RetryPolicy(attempts=2, budget=20), max_concurrency=2
        ) as client,
        client.list_jobs_many(names(3)) as jobs,
    ):
        seen = [(await anext(jobs)).id]
        await wait_for(lambda: client._lifetime.limiter.pace.paused_until > 0)
        go_on.set()
        async with asyncio.timeout(10):
            seen += [(await anext(jobs)).id for _ in range(7)]
        assert seen == ids_of("p000", 8)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(jobs), 0.1)
        assert (jobs.progress.projects_done, jobs.progress.in_flight) == (1, 0)
        assert len(server.requests) == 2


@pytest.mark.fault("K10")
async def test_a_pause_beyond_the_budget_fails_all_who_wait(connect: Connect) -> None:
    """Nobody waits for an hour: each project is refused with what the server asked for."""
    async with (
        nothing_left(),
        RawServer(refuses(429, ("Retry-After", "3600"))) as server,
        connect(server.base_url, max_concurrency=2) as client,
    ):
        async with client.list_jobs_many(names(50), on_error="collect") as jobs:
            assert [job async for job in jobs] == []
        assert len(jobs.failures) == 50
        for name, error in jobs.failures.items():
            assert isinstance(error, RateLimited)
            assert (error.project_id, error.status) == (name, 429)
            assert error.retry_after == pytest.approx(3600, abs=60)
        assert len(server.requests) <= 2


@pytest.mark.fault("K10")
async def test_throttled_requests_cost_no_attempt_while_others_succeed(connect: Connect) -> None:
    """A project that is refused more often than it may be tried is read all the same."""
    refusals = 0

    async def refuse_four_times(conn: Connection) -> None:
        nonlocal refusals
        if refusals == 4:
            await lists(1)(conn)
            return
        enough = client._lifetime.limiter.pace.answers + (1 if refusals else 20)
        await wait_for(lambda: client._lifetime.limiter.pace.answers >= enough)
        refusals += 1
        await refuses(429)(conn)

    async with (
        nothing_left(),
        RawServer(by_project({"p000": refuse_four_times}, lists(1))) as server,
        connect(
            server.base_url,
            **LONG,
            retry=RetryPolicy(attempts=2, first_wait=0.001, max_wait=0.002, budget=20),
        ) as client,
        client.list_jobs_many(names(150)) as jobs,
    ):
        assert await by_its_project(jobs) == {name: ids_of(name, 1) for name in names(150)}
        assert asked(server) == {**dict.fromkeys(names(150), 1), "p000": 5}
        assert jobs.progress.retries == 4


@pytest.mark.fault("K10")
async def test_a_refusal_at_once_costs_no_attempt_either(connect: Connect) -> None:
    """Others are answered between two tries of a project, and nobody while one is on its way."""
    answers_at: list[int] = []  # when the project was refused

    async def refuse_four_times(conn: Connection) -> None:
        pace = client._lifetime.limiter.pace
        if len(answers_at) == 4:
            await lists(1)(conn)
            return
        enough = answers_at[-1] + 1 if answers_at else 20
        await wait_for(lambda: pace.answers >= enough)  # mostly it is so already
        answers_at.append(pace.answers)
        await refuses(429)(conn)

    async with (
        nothing_left(),
        RawServer(by_project({"p000": refuse_four_times}, lists(1, delay=0.001))) as server,
        connect(
            server.base_url,
            **LONG,
            retry=RetryPolicy(attempts=2, first_wait=0.03, max_wait=0.03, budget=20),
        ) as client,
        client.list_jobs_many(names(300)) as jobs,
    ):
        assert await by_its_project(jobs) == {name: ids_of(name, 1) for name in names(300)}
        assert asked(server) == {**dict.fromkeys(names(300), 1), "p000": 5}


@pytest.mark.fault("K10")
async def test_who_waits_for_a_place_waits_for_the_pause_as_well(connect: Connect) -> None:
    """The permit that a 429 sets free is nobody's before its Retry-After has passed."""
    async with (
        nothing_left(),
        RawServer([refuses(429, ("Retry-After", "15"))]) as server,
        connect(
            server.base_url, **LONG, retry=RetryPolicy(attempts=2, budget=20), max_concurrency=1
        ) as client,
        client.list_jobs_many(names(3)) as ones,
        client.list_jobs_many(names(3)) as others,
    ):
        for jobs in (ones, others):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(jobs), 0.1)
        assert client._lifetime.limiter.pace.paused_until > 0
        assert len(server.requests) == 1


@pytest.mark.fault("K8")
@pytest.mark.parametrize("most", [1, 2])
async def test_jobs_asked_for_inside_the_stream_do_not_lock_it(connect: Connect, most: int) -> None:
    """With every permit taken, all ways to ask for one job or list inside come to their end."""

    async def send(conn: Connection) -> None:
        if "/projects/" in conn.request.target:
            await lists(40)(conn)
        else:
            await conn.send(json_response({"job": wire_job(1), "schemaVersion": "v1"}))

    async with (
        nothing_left(),
        RawServer(send) as server,
        connect(server.base_url, **LONG, max_concurrency=most) as client,
    ):
        seen = 0
        async with asyncio.timeout(20), client.list_jobs_many(names(4)) as jobs:
            async for job in jobs:
                seen += 1
                if seen % 40 == 1:
                    assert (await client.get_job(job.id)).status.is_terminal
                    assert (await client.wait_for_job(job.id)).status.is_terminal
                    assert "job" in await client.get_job_result(job.id)
                    assert len(await client.get_jobs("inner")) == 40
                    assert await client.current_job("inner") is None
                    inner = [one.id async for one in client.list_jobs("inner")]
                    assert inner == ids_of("inner", 40)
        assert seen == 160
