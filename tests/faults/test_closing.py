"""The end of a client, and of a session that it borrowed, under streams in every state."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from plangrep_async import (
    AsyncPlangrep,
    ClientClosed,
    ConfigurationError,
    NotFound,
    RetryPolicy,
    Timeouts,
)
from tests.conftest import KEY, PROJECT, document
from tests.faults.streams import IDS, JOBS, nothing_left, stall, stall_after, turns
from tests.raw_server import Connection, RawServer, Script, head, json_response
from tests.test_resuming import cut, whole
from tests.test_stream import ids, read_until_error

Connect = Callable[..., AsyncPlangrep]
Reading = asyncio.Task[tuple[list[str], ClientClosed]]

LONG = Timeouts(connect=30, read=30)
SOON = RetryPolicy(first_wait=0.001)
LATE = RetryPolicy(first_wait=30, max_wait=30)


def answer(status: int, *headers: tuple[str, str], length: int = 0) -> Script:
    """Send the head of a refusal, and no byte of the body it promises."""

    async def send(conn: Connection) -> None:
        await conn.send(head(status, headers=[*headers, ("Content-Length", str(length))]))

    return send


class Keys:
    """Gives a key at once, and a second one never."""

    asked = 0

    async def __call__(self) -> str:
        """Be the `api_key` of a client."""
        self.asked += 1
        if self.asked > 1:
            await asyncio.Event().wait()
        return KEY


def read(client: AsyncPlangrep) -> Reading:
    return asyncio.create_task(read_until_error(client, ClientClosed))


async def end_at_once(client: AsyncPlangrep, *reading: Reading) -> None:
    """Close the client, twice; those who read shall end within a fraction of what they wait for."""
    assert not any(task.done() for task in reading)
    await client.aclose()
    done, _ = await asyncio.wait(reading, timeout=2)
    assert done == set(reading)
    await client.aclose()


@pytest.mark.fault("L2")
@pytest.mark.parametrize(
    ("scripts", "retry", "asked"),
    [
        ([stall_after(2)], SOON, 1),
        ([cut(JOBS, 2), stall], SOON, 1),
        ([cut(JOBS, 2), answer(404, length=100)], SOON, 1),
        ([cut(JOBS, 2)], LATE, 1),
        ([cut(JOBS, 2), answer(503, ("Retry-After", "30"))], SOON, 1),
        ([cut(JOBS, 2), answer(401)], SOON, 2),
    ],
    ids=["bytes", "headers", "body of an error", "sleep", "Retry-After", "API key"],
)
async def test_closing_the_client_ends_a_stream_wherever_it_waits(
    connect: Connect, scripts: list[Script], retry: RetryPolicy, asked: int
) -> None:
    """Whatever it would wait half a minute for, it ends at once and says how far it came."""
    keys = Keys()
    async with nothing_left(), RawServer(scripts) as server:
        client = connect(server.base_url, api_key=keys, timeout=LONG, retry=retry)
        reading = read(client)
        await server.wait_until(lambda: len(server.requests) == len(scripts))
        await asyncio.sleep(0.05)  # until it waits; the end of a cut connection takes 0.02
        assert keys.asked == asked
        await end_at_once(client, reading)
        seen, error = reading.result()
        assert seen == IDS[:2]
        assert (error.project_id, error.delivered, error.last_job_id) == (PROJECT, 2, IDS[1])
        await server.wait_until(lambda: server.accepted[-1].ended is not None)
        assert len(server.requests) == len(scripts)


@pytest.mark.fault("L2")
async def test_closing_the_client_ends_a_stream_that_connects(connect: Connect) -> None:
    """A TLS handshake that the server never answers is given up, and nothing was sent."""
    async with nothing_left(), RawServer([]) as server:
        client = connect(f"https://127.0.0.1:{server.port}", timeout=LONG)
        reading = read(client)
        await server.wait_until(lambda: server.connections == 1)
        await turns()
        await end_at_once(client, reading)
        seen, error = reading.result()
        assert (seen, error.delivered, error.last_job_id) == ([], 0, None)
        await server.wait_closed_by_client(0)
        assert server.requests == []


@pytest.mark.fault("L2")
async def test_closing_the_client_ends_a_stream_that_waits_for_a_slot(connect: Connect) -> None:
    """With a session of the caller's a stream may wait for its pool: that wait ends as well."""
    connector = aiohttp.TCPConnector(limit=1)
    async with (
        nothing_left(),
        RawServer([stall_after(2)]) as server,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        client = connect(server.base_url, timeout=LONG, session=session)
        holding, waiting = (read(client) for _ in range(2))
        await server.wait_until(lambda: server.bytes_sent > 0)
        await turns()
        await end_at_once(client, holding, waiting)
        assert [task.result()[1].delivered for task in (holding, waiting)] == [2, 0]
        await server.wait_closed_by_client(0)
        assert not session.closed


@pytest.mark.fault("L2")
async def test_closing_the_client_ends_streams_that_nobody_waits_for(connect: Connect) -> None:
    """A stream between two jobs, however many of them are here, counts what it handed out."""
    async with nothing_left(), RawServer([stall_after(3), whole(JOBS)]) as server:
        client = connect(server.base_url, timeout=LONG)
        not_begun, *begun = [client.list_jobs(PROJECT) for _ in range(3)]
        for jobs in begun:
            assert [(await anext(jobs)).id for _ in range(2)] == IDS[:2]
        await client.aclose()
        for jobs, delivered in ((not_begun, 0), *((jobs, 2) for jobs in begun)):
            with pytest.raises(ClientClosed) as caught:
                await anext(jobs)
            error = caught.value
            assert (error.delivered, error.last_job_id) == (
                delivered,
                IDS[1] if delivered else None,
            )
            with pytest.raises(StopAsyncIteration):
                await anext(jobs)
        await server.wait_closed_by_client(0)
        await server.wait_closed_by_client(1)


@pytest.mark.fault("L3")
async def test_a_closed_client_asks_nothing(connect: Connect) -> None:
    """A stream of a closed client, made before or after, is refused without a request."""
    async with nothing_left(), RawServer([]) as server:
        client = connect(server.base_url)
        before = client.list_jobs(PROJECT)
        await client.aclose()
        for jobs in (before, client.list_jobs(PROJECT)):
            with pytest.raises(ClientClosed, match="closed"):
                await anext(jobs)
        assert server.connections == 0


@pytest.mark.fault("L3")
async def test_a_stream_begun_on_one_loop_is_refused_on_another(connect: Connect) -> None:
    """Handed to another event loop it gives what has arrived, then says what is wrong."""

    async def go_on(jobs: Any) -> list[str]:
        return [job.id async for job in jobs]

    async with RawServer([stall_after(2)]) as server, connect(server.base_url) as client:
        jobs = client.list_jobs(PROJECT)
        await anext(jobs)
        with pytest.raises(ConfigurationError, match="one client per loop"):
            await asyncio.to_thread(asyncio.run, go_on(jobs))


@pytest.mark.fault("L7")
async def test_a_session_of_the_callers_stays_as_it_is(connect: Connect) -> None:
    """Lists, refusals, streams left early and the client's end change nothing of a session."""

    async def note(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        return await handler(request)  # type: ignore[no-any-return]

    async def missing(conn: Connection) -> None:
        await conn.send(json_response({"error": "canary"}, status=404))

    def state() -> list[Any]:
        return [
            session.closed,
            connector.closed,
            session.connector,
            session.cookie_jar,
            [(cookie.key, cookie.value, cookie["domain"]) for cookie in session.cookie_jar],
            list(session.headers.items()),
            session._middlewares,
            session.timeout,
            session.auth,
            list(session.trace_configs),
        ]

    connector = aiohttp.TCPConnector(limit=3)
    async with (
        RawServer([whole(JOBS), missing, stall_after(2), whole(JOBS)]) as server,
        aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            cookies={"mine": "1"},
            headers={"X-Mine": "1", "Accept": "text/x-mine"},
            middlewares=[note],
            timeout=aiohttp.ClientTimeout(total=77),
        ) as session,
    ):
        before = state()
        client = connect(server.base_url, session=session)
        assert await ids(client) == IDS
        with pytest.raises(NotFound):
            await ids(client)
        jobs = client.list_jobs(PROJECT)
        await anext(jobs)
        await client.aclose()
        assert len(connector._acquired) == 0
        await server.wait_closed_by_client(server.requests[-1].connection)
        with pytest.raises(ClientClosed):
            await anext(jobs)
        assert state() == before
        async with session.get(server.url("/mine")) as mine:
            assert await mine.read() == document(JOBS)
        request = server.requests[-1]
        assert (request.headers["X-Mine"], request.headers["Accept"]) == ("1", "text/x-mine")
        assert request.headers["Cookie"] == "mine=1"
        assert "Authorization" not in request.headers
