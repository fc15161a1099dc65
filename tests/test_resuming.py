"""A stream that breaks goes on: every job once, or one honest error (rows B1 to B4)."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from plangrep_async import AsyncPlangrep, IncompleteResponse, NotFound, RateLimited, RetryPolicy
from plangrep_async.converter import InvalidElement
from tests.conftest import PROJECT, document, wire_job
from tests.raw_server import (
    CHUNKED,
    Connection,
    RawServer,
    Script,
    chunked,
    head,
    json_response,
    response,
)
from tests.test_stream import ids, read_until_error
from tests.toxic_proxy import Toxic, ToxicProxy

Connect = Callable[..., AsyncPlangrep]

JOBS = [wire_job(number * 60) for number in range(40)]
IDS = [job["id"] for job in JOBS]


def whole(jobs: list[Any]) -> Script:
    async def send(conn: Connection) -> None:
        await conn.send(response(document(jobs)))

    return send


def cut(jobs: list[Any], after: int, how: str = "close") -> Script:
    """Send so many jobs of a list, then end the connection."""
    body = document(jobs)
    end = body.index(jobs[after]["id"].encode()) + 3 if after < len(jobs) else len(body) - 1

    async def send(conn: Connection) -> None:
        await conn.send(head(headers=[CHUNKED]) + chunked([body[:end]], terminator=False))
        await asyncio.sleep(0.02)  # a reset would overtake what the client has not read yet
        getattr(conn, how)()

    return send


@pytest.mark.fault("B1", "B2", "B4")
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("after", [0, 1, 17, 39, 40])
async def test_a_cut_stream_gives_every_job_once(connect: Connect, after: int, how: str) -> None:
    """Wherever the connection ends, a second one brings the rest and nothing else."""
    scripts = [cut(JOBS, after, how), whole(JOBS)]
    async with RawServer(scripts) as server, connect(server.base_url) as client:
        assert await ids(client) == IDS


def broken_order(pieces: int) -> Script:
    """Send a list in which a job is newer than the one before it, in one piece or in two."""
    body = document([*JOBS[:8], JOBS[1] | {"id": "job_late"}, *JOBS[8:]])
    end = body.index(b"job_late") - 10 if pieces == 2 else len(body)

    async def send(conn: Connection) -> None:
        await conn.send(head(headers=[CHUNKED]) + chunked([body[:end]], terminator=False))
        if pieces == 2:
            await asyncio.sleep(0.02)
        await conn.send(chunked([body[end:]] if pieces == 2 else []))

    return send


@pytest.mark.fault("B2")
@pytest.mark.parametrize("pieces", [1, 2])
async def test_what_comes_before_a_broken_order_is_given(connect: Connect, pieces: int) -> None:
    """After a cut a job that is newer than the one before it is an error, behind all before it."""
    scripts = [cut(JOBS, 3), broken_order(pieces)]
    async with RawServer(scripts) as server, connect(server.base_url) as client:
        seen, error = await read_until_error(client, IncompleteResponse)
        assert seen == IDS[:8]
        assert "from new to old" in str(error)


@pytest.mark.fault("B2")
async def test_progress_resets_the_attempts(connect: Connect) -> None:
    """More cuts than attempts are fine as long as each response brings something new."""
    scripts = [*(cut(JOBS, 5 * number) for number in range(1, 8)), whole(JOBS)]
    async with (
        RawServer(scripts) as server,
        connect(server.base_url, retry=RetryPolicy(attempts=2, first_wait=0.001)) as client,
    ):
        assert await ids(client) == IDS


@pytest.mark.fault("B2")
async def test_a_server_that_breaks_after_each_job_comes_to_an_end(connect: Connect) -> None:
    """A list is opened twenty times at most, however much progress there is."""
    scripts = [cut(JOBS, number) for number in range(1, 21)]
    async with RawServer(scripts) as server, connect(server.base_url) as client:
        seen, error = await read_until_error(client, IncompleteResponse)
        assert seen == IDS[:20]
        assert (error.delivered, error.last_job_id) == (20, IDS[19])
        assert "20 times" in str(error)


async def test_requests_without_an_answer_are_no_openings(connect: Connect) -> None:
    """Patience for more than twenty attempts is what the policy says, before the first job, too."""

    async def refuse(conn: Connection) -> None:
        conn.close()

    patient = RetryPolicy(attempts=30, first_wait=0.001, max_wait=0.001)
    scripts = [*[refuse] * 25, whole(JOBS)]
    async with RawServer(scripts) as server, connect(server.base_url, retry=patient) as client:
        assert await ids(client) == IDS


@pytest.mark.fault("B2")
async def test_jobs_born_while_the_stream_was_broken_are_not_in_it(connect: Connect) -> None:
    """The list is that of the first response, even when the second one begins with new jobs."""
    born = wire_job(0, id="job_born", createdAt="2024-11-03T00:00:00.000Z")
    async with (
        RawServer([cut(JOBS, 10), whole([born, *JOBS])]) as server,
        connect(server.base_url) as client,
    ):
        assert await ids(client) == IDS


@pytest.mark.fault("B2")
async def test_a_stale_replica_is_asked_again(connect: Connect) -> None:
    """A response that lacks what was delivered counts as a failed attempt, not as the end."""
    async with (
        RawServer([cut(JOBS, 10), whole(JOBS[12:]), whole(JOBS)]) as server,
        connect(server.base_url) as client,
    ):
        assert await ids(client) == IDS


@pytest.mark.fault("B2")
async def test_a_removed_job_ends_in_an_honest_error(connect: Connect) -> None:
    """The place is gone for good: the error says how far the stream came."""
    without = JOBS[:9] + JOBS[10:]
    async with (
        RawServer([cut(JOBS, 10), whole(without), ...]) as server,
        connect(server.base_url) as client,
    ):
        seen, error = await read_until_error(client, IncompleteResponse)
        assert seen == IDS[:10]
        assert (error.delivered, error.last_job_id, error.attempts) == (10, IDS[9], 3)


@pytest.mark.fault("B2")
async def test_a_broken_order_is_not_tried_again(connect: Connect) -> None:
    """A list that is not ordered from new to old cannot be continued: two requests, no more."""
    async with (
        RawServer([cut(JOBS, 10), whole([JOBS[1], JOBS[0], *JOBS[2:]])]) as server,
        connect(server.base_url) as client,
    ):
        seen, error = await read_until_error(client, IncompleteResponse)
        assert seen == IDS[:10]
        assert "from new to old" in str(error)


@pytest.mark.fault("B2")
async def test_when_patience_ends_the_stream_says_how_far_it_came(connect: Connect) -> None:
    """A server that is gone after a cut: `IncompleteResponse`, with the last failure as cause."""
    down = json_response({"code": "down", "message": "Soon."}, status=503)

    async def refuse(conn: Connection) -> None:
        await conn.send(down)

    async with (
        RawServer([cut(JOBS, 10), refuse, refuse]) as server,
        connect(server.base_url) as client,
    ):
        seen, error = await read_until_error(client, IncompleteResponse)
        assert seen == IDS[:10]
        assert (error.delivered, error.last_job_id, error.attempts) == (10, IDS[9], 3)
        assert error.__cause__.status == 503


@pytest.mark.fault("B2")
@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [(404, [], NotFound), (429, [("Retry-After", "3600")], RateLimited)],
)
async def test_what_waiting_does_not_mend_is_raised_as_it_is(
    connect: Connect, status: int, headers: Any, expected: type
) -> None:
    """A project that is gone, a wait beyond the budget: that very error, and how far we came."""

    async def refuse(conn: Connection) -> None:
        await conn.send(json_response({}, status=status, headers=headers))

    async with RawServer([cut(JOBS, 3), refuse]) as server, connect(server.base_url) as client:
        seen, error = await read_until_error(client, expected)
        assert (seen, error.delivered) == (IDS[:3], 3)


@pytest.mark.fault("B2")
async def test_without_retries_there_is_no_resuming(connect: Connect) -> None:
    """`attempts=1` means one request, whatever happens to it."""
    async with (
        RawServer([cut(JOBS, 10)]) as server,
        connect(server.base_url, retry=RetryPolicy(attempts=1)) as client,
    ):
        seen, error = await read_until_error(client, IncompleteResponse)
        assert (seen, error.delivered, error.attempts) == (IDS[:10], 10, 1)


@pytest.mark.fault("B2")
async def test_a_stop_is_found_behind_a_cut(connect: Connect) -> None:
    """`after_job` holds in the second response as in the first."""
    async with (
        RawServer([cut(JOBS, 10), whole(JOBS)]) as server,
        connect(server.base_url) as client,
    ):
        assert await ids(client, after_job=IDS[20]) == IDS[:20]


@pytest.mark.fault("B2")
async def test_bad_elements_before_the_place_are_not_reported_again(connect: Connect) -> None:
    """They have no position: those ahead of what was delivered last are passed over in silence."""
    records: list[InvalidElement] = []
    listed = [None, *JOBS[:10], None, *JOBS[10:]]
    body = document(listed)
    end = body.index(IDS[5].encode())

    async def first(conn: Connection) -> None:
        await conn.send(response(body)[: len(response(body)) - len(body) + end])
        conn.close()

    async with RawServer([first, whole(listed)]) as server, connect(server.base_url) as client:
        assert await ids(client, on_invalid=records.append) == IDS
    assert [record.index for record in records] == [0, 11]


@pytest.mark.fault("B3", "B4")
@pytest.mark.parametrize("end", ["cut", "reset"])
async def test_a_cut_anywhere_behind_a_proxy(connect: Connect, end: Any) -> None:
    """Any place of the cut, on a connection that is not the server's: every job once."""
    size = len(response(document(JOBS)))
    async with RawServer(whole(JOBS)) as server:
        for place in range(50, size - 1, 397):
            toxic = Toxic(end=end, after_bytes=place)
            async with ToxicProxy(server.port, [toxic]) as proxy, connect(proxy.base_url) as client:
                assert await ids(client) == IDS


@pytest.mark.fault("B2", "B4")
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_jobs_that_had_arrived_come_before_the_cut(connect: Connect, how: str) -> None:
    """A consumer that was busy while the connection broke misses nothing that was here by then."""
    jobs = [wire_job(number * 60) for number in range(500)]
    async with (
        RawServer([cut(jobs, 400, how)]) as server,
        connect(server.base_url, retry=RetryPolicy(attempts=1)) as client,
    ):
        stream = client.list_jobs(PROJECT)
        seen = [(await anext(stream)).id]

        async def read_on() -> None:
            async for job in stream:
                seen.append(job.id)  # noqa: PERF401  # extend() would lose some to the error

        await server.wait_until(lambda: server.accepted[0].ended is not None)
        await asyncio.sleep(0.02)  # for the news of it
        with pytest.raises(IncompleteResponse) as caught:
            await read_on()
        assert seen == [job["id"] for job in jobs[:400]]
        assert caught.value.delivered == 400


@pytest.mark.fault("B2")
@pytest.mark.parametrize(
    "stop",
    [{"after_job": IDS[35]}, {"created_after": datetime.fromisoformat(JOBS[34]["createdAt"])}],
)
async def test_a_stop_in_a_stale_answer_is_no_end(connect: Connect, stop: dict[str, Any]) -> None:
    """A replica that lacks what was delivered last may lack what follows, too: ask again."""
    scripts = [cut(JOBS, 3), whole(JOBS[35:]), whole(JOBS)]
    async with RawServer(scripts) as server, connect(server.base_url) as client:
        assert [job.id async for job in client.list_jobs(PROJECT, **stop)] == IDS[:35]


async def test_jobs_come_before_an_error_of_on_invalid(connect: Connect) -> None:
    """What the caller's function raises is raised as it is, after every job before the element."""

    def refuse(_: object) -> None:
        raise LookupError("enough")

    seen: list[str] = []

    async def read_on(client: AsyncPlangrep) -> None:
        async for job in client.list_jobs(PROJECT, on_invalid=refuse):
            seen.append(job.id)  # noqa: PERF401  # extend() would lose some to the error

    listed = [*JOBS[:5], {}, *JOBS[5:]]
    async with RawServer([whole(listed)]) as server, connect(server.base_url) as client:
        with pytest.raises(LookupError, match="enough"):
            await read_on(client)
        assert seen == IDS[:5]
