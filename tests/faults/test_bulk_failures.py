"""Failures among many projects: of one, of two at the same moment, of all (K1, K2, K7)."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from plangrep_async import (
    ConnectionFailed,
    IncompleteResponse,
    InvalidResponse,
    NotFound,
    PlangrepError,
    RetryPolicy,
    ServerError,
)
from tests.conftest import document
from tests.faults.bulk import (
    Connect,
    asked,
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
from tests.faults.moody import hang_up
from tests.faults.streams import nothing_left
from tests.raw_server import CHUNKED, Connection, RawServer, Script, chunked, head, response

BAD = "p042"


async def reset(conn: Connection) -> None:
    """End the connection before any answer."""
    conn.reset()


async def cut(conn: Connection) -> None:
    """Send two jobs, then end the connection."""
    part = document(jobs_of(project_of(conn), 2))[:-2]
    await conn.send(head(headers=[CHUNKED]) + chunked([part], terminator=False))
    await asyncio.sleep(0.02)  # until the client has read it
    conn.close()


async def bad_json(conn: Connection) -> None:
    """Send two jobs, and then what is no JSON."""
    await conn.send(response(document(jobs_of(project_of(conn), 2))[:-2] + b",nonsense]}"))


ONE_FAILS = pytest.mark.parametrize(
    ("script", "error", "requests", "jobs_before"),
    [
        (refuses(404), NotFound, 1, 0),
        (reset, ConnectionFailed, 3, 0),
        (cut, IncompleteResponse, 3, 2),
        (bad_json, InvalidResponse, 1, 2),
    ],
    ids=["404", "reset", "cut", "bad JSON"],
)


@pytest.mark.fault("K1")
@ONE_FAILS
async def test_one_of_a_hundred_fails_and_all_others_are_complete(
    connect: Connect, script: Script, error: type[PlangrepError], requests: int, jobs_before: int
) -> None:
    """Collected, the failure is tied to its project, and asked again as often as one alone."""
    async with (
        nothing_left(),
        RawServer(by_project({BAD: script}, lists(5))) as server,
        connect(server.base_url) as client,
        client.list_jobs_many(names(100), on_error="collect") as jobs,
    ):
        seen = await by_its_project(jobs)
        assert seen.pop(BAD, []) == ids_of(BAD, jobs_before)
        assert seen == {name: ids_of(name, 5) for name in names(100) if name != BAD}
        ((project, failure),) = jobs.failures.items()
        assert (project, type(failure)) == (BAD, error)
        assert isinstance(failure, PlangrepError)
        assert (failure.project_id, failure.delivered) == (BAD, jobs_before)
        assert BAD in str(failure)
        assert jobs.progress.projects_done == 100
    assert asked(server) == {**dict.fromkeys(names(100), 1), BAD: requests}


@pytest.mark.fault("K1")
@ONE_FAILS
async def test_one_of_a_hundred_fails_and_ends_all(
    connect: Connect, script: Script, error: type[PlangrepError], requests: int, jobs_before: int
) -> None:
    """Otherwise it is raised, once, after what had come, and then no other project is asked."""
    async with (
        nothing_left(),
        RawServer(by_project({BAD: script}, lists(5))) as server,
        connect(server.base_url, max_concurrency=2) as client,
        client.list_jobs_many(names(100)) as jobs,
    ):
        seen = []
        with pytest.raises(error) as caught:  # noqa: PT012  # what came before counts as well
            async for job in jobs:
                seen.append(job.id)  # noqa: PERF401  # a comprehension would lose it
        assert caught.value.project_id == BAD
        assert jobs.failures == {BAD: caught.value}
        assert [i for i in seen if i.startswith(BAD)] == ids_of(BAD, jobs_before)
        before = names(100)[: names(100).index(BAD)]
        # The other worker may be in the middle of the list before.
        assert {i for name in before[:-1] for i in ids_of(name, 5)} <= set(seen)
        assert len(seen) == len(set(seen))
        with pytest.raises(StopAsyncIteration):
            await anext(jobs)
        count = len(server.requests)
        await asyncio.sleep(0.01)
        assert len(server.requests) == count
    assert asked(server)[BAD] == requests


@pytest.mark.fault("K2")
async def test_when_all_fail_the_requests_are_not_multiplied(connect: Connect) -> None:
    """With 300 projects at a dead server some 35 are asked again, and each failure is there."""
    async with (
        nothing_left(),
        RawServer(refuses(503)) as server,
        connect(
            server.base_url,
            retry=RetryPolicy(attempts=5, first_wait=0.0001, max_wait=0.0002, budget=20),
        ) as client,
        client.list_jobs_many(names(300), on_error="collect") as jobs,
    ):
        assert [job async for job in jobs] == []
        assert {type(failure) for failure in jobs.failures.values()} == {ServerError}
        assert sorted(jobs.failures) == names(300)
        assert jobs.progress.retries == len(server.requests) - 300
        assert jobs.progress.projects_done == 300
        assert 300 + 30 <= len(server.requests) <= 300 + 36
        assert jobs.progress.max_in_flight == 1
    assert set(asked(server)) == set(names(300))


@pytest.mark.fault("C9", "K2")
@pytest.mark.parametrize("failure", [refuses(502), hang_up], ids=["502", "FIN"])
async def test_retries_that_help_go_on_helping(connect: Connect, failure: Script) -> None:
    """Where each project answers at its third try, as by chance through a balancer, none fails."""
    tries: Counter[str] = Counter()

    async def third_time_lucky(conn: Connection) -> None:
        name = project_of(conn)
        tries[name] += 1
        await (failure if tries[name] < 3 else lists(1))(conn)

    async with (
        nothing_left(),
        RawServer(third_time_lucky) as server,
        connect(
            server.base_url,
            retry=RetryPolicy(attempts=3, first_wait=0.0001, max_wait=0.0002, budget=20),
        ) as client,
        client.list_jobs_many(names(150)) as jobs,
    ):
        assert await by_its_project(jobs) == {name: ids_of(name, 1) for name in names(150)}
        assert asked(server) == dict.fromkeys(names(150), 3)


@pytest.mark.fault("K2")
async def test_when_all_fail_the_first_one_ends_all(connect: Connect) -> None:
    """Not collected, a dead server is asked by each worker once at most for each attempt."""
    async with (
        nothing_left(),
        RawServer(refuses(503)) as server,
        connect(server.base_url, max_concurrency=4) as client,
        client.list_jobs_many(names(300)) as jobs,
    ):
        with pytest.raises(ServerError) as caught:
            await anext(jobs)
        assert caught.value.attempts == 3
        assert len(jobs.failures) == 1
        assert len(server.requests) <= 4 * 3
    assert set(asked(server)) <= set(names(4))


def together(count: int, script: Script) -> Script:
    """Answer so once so many requests are here, all of them in one turn of the event loop."""
    waiting = 0
    all_here = asyncio.Event()

    async def wait(conn: Connection) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == count:
            all_here.set()
        await all_here.wait()
        await script(conn)

    return wait


@pytest.mark.fault("K7")
@pytest.mark.parametrize("on_error", ["raise", "collect"])
async def test_two_projects_fail_at_the_same_moment(
    connect: Connect, caplog: pytest.LogCaptureFixture, on_error: Any
) -> None:
    """Collected, both are there; otherwise one is raised, and the other was ended by it."""
    outcomes = []

    async def note(outcome: Any) -> None:
        outcomes.append(outcome)

    async with (
        nothing_left(),
        RawServer(together(2, refuses(404))) as server,
        connect(server.base_url) as client,
        client.list_jobs_many(names(2), on_error=on_error, on_project_end=note) as jobs,
    ):
        if on_error == "collect":
            assert [job async for job in jobs] == []
            assert sorted(jobs.failures) == names(2)
        else:
            with pytest.raises(NotFound) as caught:
                await anext(jobs)
            assert jobs.failures == {caught.value.project_id: caught.value}
            with pytest.raises(StopAsyncIteration):
                await anext(jobs)
        assert {outcome.project_id: outcome.error for outcome in outcomes} == jobs.failures
        assert len(outcomes) == len(jobs.failures)
        assert len(server.requests) == 2
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


@pytest.mark.fault("K7")
async def test_failures_that_nobody_waits_for_are_kept(connect: Connect) -> None:
    """However many come at the same moment, all can be asked for when the block was left."""
    async with (
        nothing_left(),
        RawServer(together(3, refuses(404))) as server,
        connect(server.base_url) as client,
        client.list_jobs_many(names(3), on_error="collect") as jobs,
    ):
        await wait_for(lambda: len(jobs._failures) == 3)
    assert {name: type(error) for name, error in jobs.failures.items()} == dict.fromkeys(
        names(3), NotFound
    )
