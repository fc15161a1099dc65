"""C7: streams that are half read hold connections; who needs one more waits, but not for ever."""

import asyncio
import time
from collections.abc import Callable

import aiohttp
import pytest

from plangrep_async import AsyncPlangrep, RequestTimeout, Timeouts
from tests.conftest import PROJECT, document, wire_job
from tests.faults.provoked import sends
from tests.faults.streams import nothing_left, pooled, slots
from tests.raw_server import Connection, RawServer, Script, response
from tests.test_stream import ids

Connect = Callable[..., AsyncPlangrep]

BODY = document([wire_job(number) for number in range(3)])
IDS = [f"job_{number:06}" for number in range(3)]
ANSWER = response(BODY)
FIRST_JOB_END = ANSWER.index(b'{"id": "job_000001"')
STREAMS = 110  # aiohttp's own pool has a limit of 100


def half_until(go_on: asyncio.Event) -> Script:
    """Send the first job, and the others when it is time for them."""

    async def half(conn: Connection) -> None:
        await conn.send(ANSWER[:FIRST_JOB_END])
        await go_on.wait()
        await conn.send(ANSWER[FIRST_JOB_END:])

    return half


@pytest.mark.fault("C7")
async def test_a_full_pool_of_the_callers_ends_in_a_time_out(connect: Connect) -> None:
    """The wait is bounded, nothing more is sent, and the stream that is in the way is unharmed."""
    go_on = asyncio.Event()
    timeout = Timeouts(connect=0.1, read=30.0)
    async with (
        nothing_left(),
        RawServer([half_until(go_on), sends(ANSWER)]) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
        connect(server.base_url, session=session, timeout=timeout) as client,
    ):
        jobs = client.list_jobs(PROJECT)
        first = await anext(jobs)
        started = time.monotonic()
        with pytest.raises(RequestTimeout, match="did not connect in time") as caught:
            await ids(client)
        assert 0.29 <= time.monotonic() - started < 5
        assert (caught.value.attempts, caught.value.__cause__) == (3, None)
        assert (caught.value.project_id, caught.value.delivered) == (PROJECT, 0)
        assert (server.connections, len(server.requests)) == (1, 1)
        go_on.set()
        assert [first.id, *[job.id async for job in jobs]] == IDS
        assert await ids(client) == IDS
        assert server.connections == 1
        assert slots(client) == 0


@pytest.mark.fault("C7")
async def test_any_number_of_streams_can_be_read_in_lock_step(connect: Connect) -> None:
    """The client's own pool has no limit: no stream goes on before all of them have begun."""
    go_on = asyncio.Event()

    async with (
        nothing_left(),
        RawServer(half_until(go_on)) as server,
        connect(server.base_url) as client,
    ):
        streams = [client.list_jobs(PROJECT) for _ in range(STREAMS)]
        for number, expected in enumerate(IDS):
            assert {(await anext(stream)).id for stream in streams} == {expected}
            if number == 0:
                assert slots(client) == server.connections == STREAMS
                go_on.set()
        for stream in streams:
            assert [job async for job in stream] == []
        assert (slots(client), pooled(client)) == (0, STREAMS)
        assert len(server.requests) == STREAMS
        assert {connection.ended for connection in server.accepted} == {None}
