"""TLS that ends early, above all with FIN alone, which asyncio takes for an orderly end."""

from collections.abc import Callable
from contextlib import aclosing

import psutil
import pytest

from plangrep_async import AsyncPlangrep, IncompleteResponse, RetryPolicy
from tests.conftest import PROJECT, document, wire_job
from tests.faults.certificates import for_client, for_server
from tests.faults.provoked import sends
from tests.faults.streams import nothing_left, turns
from tests.raw_server import Connection, RawServer, Script, response
from tests.test_stream import ids, read_until_error

Connect = Callable[..., AsyncPlangrep]

BODY = document([wire_job(number * 60) for number in range(4)])
IDS = [f"job_{number * 60:06}" for number in range(4)]
SECOND = BODY.index(b'{"id": "job_000060"')
CUTS = {
    "no body": 0,
    "in the root": 4,
    "in the first job": 300,
    "behind the first job": SECOND - 2,
    "behind its comma": SECOND - 1,
    "in a string": SECOND + 10,
    "behind the last job": len(BODY) - 2,
    "behind the list": len(BODY) - 1,
}


def truncated(cut: int) -> Script:
    """Send so much of the body, which ends with the connection, and then FIN alone."""

    async def send(conn: Connection) -> None:
        whole = response(BODY, content_length=False)
        await conn.send(whole[: len(whole) - len(BODY) + cut])
        conn.cut()

    return send


@pytest.mark.fault("B2", "B6")
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
async def test_a_list_that_ends_with_tls_is_never_taken_for_whole(
    connect: Connect, cut: int
) -> None:
    """Wherever it is cut: the jobs before the cut, then `IncompleteResponse`."""
    whole_jobs = [id_ for id_ in IDS if cut >= end_of(id_)]
    async with (
        nothing_left(),
        RawServer([truncated(cut)], ssl=for_server()) as server,
        connect(server.base_url, ssl=for_client(), retry=RetryPolicy(attempts=1)) as client,
    ):
        seen, error = await read_until_error(client, IncompleteResponse)
        assert seen == whole_jobs
        assert error.delivered == len(seen)
        assert error.last_job_id == (seen[-1] if seen else None)
        assert server.accepted[0].ended == "closed by server"


@pytest.mark.fault("B2", "B6")
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
async def test_a_list_that_ended_with_tls_is_continued(connect: Connect, cut: int) -> None:
    """The next attempt gives the rest: every job once, by two requests."""
    fine = sends(response(BODY))
    async with (
        nothing_left(),
        RawServer([truncated(cut), fine], ssl=for_server()) as server,
        connect(server.base_url, ssl=for_client()) as client,
    ):
        assert await ids(client) == IDS
        assert server.connections == len(server.requests) == 2


@pytest.mark.fault("H2")
@pytest.mark.parametrize("how", ["close", "cut", "reset"])
async def test_tls_that_ends_before_an_answer_is_a_passing_fault(
    connect: Connect, how: str
) -> None:
    """No trust is broken by it, so it is tried again: two requests, and all jobs."""

    async def end(conn: Connection) -> None:
        getattr(conn, how)()

    async with (
        nothing_left(),
        RawServer([end, sends(response(BODY))], ssl=for_server()) as server,
        connect(server.base_url, ssl=for_client()) as client,
    ):
        assert await ids(client) == IDS
        assert server.connections == len(server.requests) == 2


@pytest.mark.fault("B6")
async def test_a_whole_list_needs_no_close_notify(connect: Connect) -> None:
    """The document itself says that nothing is missing."""
    async with (
        nothing_left(),
        RawServer([truncated(len(BODY))], ssl=for_server()) as server,
        connect(server.base_url, ssl=for_client()) as client,
    ):
        assert await ids(client) == IDS


def end_of(job_id: str) -> int:
    """Find where the object of a job ends in the body."""
    start = BODY.index(b'{"id": "%b"' % job_id.encode())
    following = BODY.find(b', {"id": "job_', start)
    return following if following > 0 else len(BODY) - 2


@pytest.mark.fault("L1", "L2")
async def test_leaving_does_not_wait_for_the_server(connect: Connect) -> None:
    """An orderly end of TLS needs the other side: one that is silent must not keep the socket."""

    async def send_and_sleep(conn: Connection) -> None:
        await conn.send(response(BODY)[:-2])
        conn._transport.pause_reading()
        await conn.stall()

    def sockets() -> list[object]:
        found = psutil.Process().net_connections("tcp")
        return [one for one in found if one.raddr and one.raddr.port == server.port]

    async with (
        RawServer([send_and_sleep], ssl=for_server()) as server,
        connect(server.base_url, ssl=for_client()) as client,
    ):
        async with aclosing(client.list_jobs(PROJECT)) as jobs:
            await anext(jobs)
            assert len(sockets()) == 1
        await turns(3)
        assert sockets() == []
