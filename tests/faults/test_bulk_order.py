"""What comes before a failure is given before it, and what comes after it is not (K6, K7, K9)."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from plangrep_async import JobStream, NotFound
from tests.conftest import document
from tests.faults.bulk import (
    PATIENT,
    Connect,
    by_project,
    closed_by_client,
    ids_of,
    jobs_of,
    lists,
    names,
    refuses,
    wait_for,
    when_told,
)
from tests.faults.streams import nothing_left, stall, turns
from tests.raw_server import Connection, RawServer, response


async def read(jobs: JobStream, into: list[str]) -> str:
    """Read to the end, or to an error, whose name is returned."""
    try:
        async for job in jobs:
            into.append(job.id)  # noqa: PERF401  # a comprehension would lose it to the error
    except (NotFound, OSError) as error:
        return type(error).__name__
    return "the end"


@pytest.mark.fault("K7", "L11")
@pytest.mark.parametrize("consumers", [1, 2, 3])
async def test_jobs_that_came_before_a_failure_are_given(connect: Connect, consumers: int) -> None:
    """However many tasks read, one of them gets the error, and all jobs were given before."""
    go_on = asyncio.Event()
    scripts = {"p001": when_told(go_on, refuses(404))}
    async with (
        nothing_left(),
        RawServer(by_project(scripts, lists(5))) as server,
        connect(server.base_url, **PATIENT) as client,
        client.list_jobs_many(names(2)) as jobs,
    ):
        await wait_for(lambda: len(jobs._handover._waiting) == 1)
        go_on.set()
        await wait_for(lambda: bool(jobs._failures))
        seen: list[str] = []
        ends = await asyncio.gather(*(read(jobs, seen) for _ in range(consumers)))
        assert sorted(seen) == sorted(ids_of("p000", 5))
        assert sorted(ends) == ["NotFound"] + ["the end"] * (consumers - 1)


@pytest.mark.fault("K6")
async def test_a_failure_ends_those_who_wait_although_nobody_reads(connect: Connect) -> None:
    """Their connections are closed at once, not when the consumer comes to the error."""
    go_on = asyncio.Event()
    scripts = {"p000": when_told(go_on, refuses(404)), "p001": stall}
    async with (
        nothing_left(),
        RawServer(by_project(scripts, lists(1))) as server,
        connect(server.base_url, **PATIENT) as client,
        client.list_jobs_many(names(2)) as jobs,
    ):
        await server.wait_until(lambda: len(server.requests) == 2)
        go_on.set()
        await closed_by_client(server, "p001")
        with pytest.raises(NotFound):
            await anext(jobs)


@pytest.mark.fault("K9")
async def test_an_error_of_the_ids_waits_for_no_long_list(connect: Connect) -> None:
    """Of the lists that are read then, what has arrived comes before it, and no more."""
    go_on = asyncio.Event()
    count = 10_000
    body = document(jobs_of("p000", 1) * count)

    async def send(conn: Connection) -> None:
        await conn.send(response(body))

    async def ids() -> AsyncIterator[str]:
        yield "p000"
        await go_on.wait()
        raise OSError("gone")

    async with (
        nothing_left(),
        RawServer(send) as server,
        connect(server.base_url, **PATIENT) as client,
        client.list_jobs_many(ids()) as jobs,
    ):
        await wait_for(lambda: len(jobs._handover._waiting) == 1)
        go_on.set()
        await turns()
        seen: list[str] = []
        assert await read(jobs, seen) == "OSError"
        assert 0 < len(seen) < count / 10


@pytest.mark.fault("K9", "L2")
async def test_ids_that_close_the_client_do_not_hold_the_block(connect: Connect) -> None:
    """The task that reads the ids is ended with all others, whatever it does after closing."""
    async with RawServer([]) as server:
        client = connect(server.base_url)

        async def ids() -> AsyncIterator[str]:
            await client.aclose()
            yield ""

        async with asyncio.timeout(5):
            async with client.list_jobs_many(ids()) as jobs:
                await turns()
            assert jobs._workers == set()
