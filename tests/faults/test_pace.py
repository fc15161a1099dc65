"""Bodies that drip or stall, and consumers that take their time (rows B11, B12 and B14)."""

import asyncio
import socket
import time
import zlib
from typing import Any

import aiohttp
import pytest

from plangrep_async import IncompleteResponse, RequestTimeout, Timeouts
from tests.conftest import PROJECT, document, wire_job
from tests.faults.bodies import AT_ONCE, BODY, GZIP, IDS, ONCE, Connect, after, read
from tests.faults.bulk import project_of
from tests.faults.streams import nothing_left, slots
from tests.raw_server import CHUNKED, Connection, RawServer, Script, chunked, head, response

MIB = 1 << 20
READ = 0.6  # seconds: well above what a busy machine may hold up a process
ENDLESS = b"x" * 10_000  # of a string in an unfinished job


def zipped(text: bytes) -> bytes:
    """Begin a gzip stream, so that all of this text can be unpacked."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)


ZIPPED = zipped(after(2))


async def whole(conn: Connection) -> None:
    """Send the list at once."""
    await conn.send(response(BODY))


def dripping(start: bytes, rest: bytes) -> Script:
    """Send the start of an answer, then the rest byte by byte."""

    async def drip(conn: Connection) -> None:
        await conn.send(start)
        for at in range(len(rest)):
            await asyncio.sleep(0.005)
            await conn.send(rest[at : at + 1])
        raise AssertionError("the client took it all")

    return drip


LENGTH = ("Content-Length", str(MIB))
DRIPPING = {
    # How many jobs arrive before the dripping.
    "no job, length": (0, dripping(head(headers=[LENGTH]), BODY + b" " * 10_000)),
    "no job, connection": (0, dripping(head() + b'{"jobs":[{"id":"', ENDLESS)),
    "two jobs, length": (2, dripping(head(headers=[LENGTH]) + after(2), b" " * 10_000)),
    "two jobs, chunk": (2, dripping(head(headers=[CHUNKED]) + b"ffff\r\n" + after(2), ENDLESS)),
    "two jobs, chunks": (
        2,
        dripping(
            head(headers=[CHUNKED]) + chunked([after(2)], terminator=False),
            chunked([b"x"] * 2000, terminator=False),
        ),
    ),
    "all jobs": (3, dripping(head(headers=[LENGTH]) + BODY, b"\n" * 10_000)),
    # RFC 1951, section 3.2.4: a block of no bytes, over and over.
    "two jobs, gzip": (2, dripping(head(headers=[GZIP]) + ZIPPED, b"\0\0\0\xff\xff" * 2000)),
}


@pytest.mark.fault("B11")
async def test_a_body_that_drips_is_given_up(connect: Connect) -> None:
    """Less than 1 KiB in `Timeouts.read` is a time-out, after the jobs that came before."""
    cases = list(DRIPPING.values())

    async def drip(conn: Connection) -> None:
        _, script = cases[int(project_of(conn))]  # in whatever order they are accepted
        await script(conn)

    async with (
        nothing_left(),
        RawServer(drip) as server,
        connect(server.base_url, retry=ONCE, timeout=Timeouts(read=READ)) as client,
    ):
        started = time.monotonic()
        projects = map(str, range(len(cases)))
        found = await asyncio.gather(*(read(client, project_id=one) for one in projects))
        assert READ <= time.monotonic() - started < 5.0
        assert len(server.requests) == server.connections == len(cases)
        for number in range(len(cases)):
            await server.wait_closed_by_client(number)
        assert slots(client) == 0
    for (name, (count, _)), (ids, error) in zip(DRIPPING.items(), found, strict=True):
        assert ids == IDS[:count], name
        timed_out = error.__cause__ if count and error is not None else error
        assert type(timed_out) is RequestTimeout, name
        assert "stopped arriving" in str(timed_out), name
        assert type(error) is (IncompleteResponse if count else RequestTimeout), name


@pytest.mark.fault("B11")
async def test_after_a_body_that_dripped_the_list_is_asked_for_again(connect: Connect) -> None:
    """It costs one more request, on a new connection, and no job."""
    _, drip = DRIPPING["two jobs, chunks"]
    async with (
        nothing_left(),
        RawServer([drip, whole]) as server,
        connect(server.base_url, retry=AT_ONCE, timeout=Timeouts(read=READ)) as client,
    ):
        assert await read(client) == (IDS, None)
        assert len(server.requests) == server.connections == 2
        await server.wait_closed_by_client(0)
        assert slots(client) == 0


@pytest.mark.fault("B11")
async def test_a_body_that_is_only_slow_is_read_to_its_end(connect: Connect) -> None:
    """Nothing limits the whole: 1 KiB now and then is enough for as long as it takes."""

    async def slow(conn: Connection) -> None:
        await conn.send(head(headers=[CHUNKED]))
        for at in range(0, len(body), 1100):
            await asyncio.sleep(0.15)
            await conn.send(chunked([body[at : at + 1100]], terminator=False))
        await conn.send(chunked([]))

    body = document([wire_job(number) for number in range(16)])
    async with (
        RawServer([slow]) as server,
        connect(server.base_url, retry=ONCE, timeout=Timeouts(read=READ)) as client,
    ):
        started = time.monotonic()
        ids, error = await read(client)
        assert (len(ids), error) == (16, None)
        assert time.monotonic() - started > 2 * READ


STARTS = {
    "length": head(headers=[LENGTH]) + after(2),
    "chunks": head(headers=[CHUNKED]) + chunked([after(2)], terminator=False),
    "connection": head() + after(2),
    "gzip": head(headers=[GZIP]) + ZIPPED,
}


@pytest.mark.fault("B12")
async def test_jobs_before_a_stall_are_delivered_before_it_ends(connect: Connect) -> None:
    """They are not held: the time-out comes a whole `Timeouts.read` after the last of them."""
    starts = list(STARTS.values())

    async def stall(conn: Connection) -> None:
        await conn.send(starts[conn.request.number])
        await conn.stall()

    async def read_until_stall() -> None:
        jobs = client.list_jobs(PROJECT)
        assert [(await anext(jobs)).id for _ in range(2)] == IDS[:2]
        delivered = time.monotonic()
        with pytest.raises(IncompleteResponse) as caught:
            await anext(jobs)
        assert 0.9 * READ <= time.monotonic() - delivered < 5.0
        assert (caught.value.delivered, caught.value.last_job_id) == (2, IDS[1])
        assert type(caught.value.__cause__) is RequestTimeout

    async with (
        nothing_left(),
        RawServer(stall) as server,
        connect(server.base_url, retry=ONCE, timeout=Timeouts(read=READ)) as client,
    ):
        await asyncio.gather(*(read_until_stall() for _ in starts))
        assert len(server.requests) == server.connections == len(starts)
        for number in range(len(starts)):
            await server.wait_closed_by_client(number)
        assert slots(client) == 0


async def read_around_a_stall(connect: Connect, part: bytes) -> None:
    """Demand that one more request, on a new connection, brings the rest."""

    async def stall(conn: Connection) -> None:
        await conn.send(head(headers=[CHUNKED]) + chunked([part], terminator=False))
        await conn.stall()

    async with (
        RawServer([stall, whole]) as server,
        connect(server.base_url, retry=AT_ONCE, timeout=Timeouts(read=READ)) as client,
    ):
        assert await read(client) == (IDS, None)
        assert len(server.requests) == server.connections == 2
        await server.wait_closed_by_client(0)
        assert slots(client) == 0


@pytest.mark.fault("B12")
async def test_after_a_stall_the_list_is_asked_for_again(connect: Connect) -> None:
    """Every job once, be the stall before the first one, between two, or behind the document."""
    parts = [b"", after(0), after(1), after(2), BODY[:-1], BODY]
    async with nothing_left():
        await asyncio.gather(*(read_around_a_stall(connect, part) for part in parts))


def small_socket(address: tuple[Any, ...]) -> socket.socket:
    """Make a socket with a receive buffer that does not grow: Linux lets others have 6 MiB."""
    family, kind, protocol, *_ = address
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    return sock


@pytest.mark.fault("B14")
async def test_a_consumer_that_sleeps_holds_up_the_server_and_nothing_else(
    connect: Connect,
) -> None:
    """Twice every time-out is no time-out; the server waits, too, and then all of it arrives."""
    wire = [wire_job(number) for number in range(5000)]
    body = document(wire)

    async def send_all(conn: Connection) -> None:
        await conn.send(response(body))

    async with (
        nothing_left(),
        RawServer([send_all], send_buffer_bytes=32 * 1024) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=small_socket)) as own,
        connect(
            server.base_url, session=own, retry=ONCE, timeout=Timeouts(connect=READ, read=READ)
        ) as client,
    ):
        ids = []
        async for job in client.list_jobs(PROJECT):
            ids.append(job.id)
            if len(ids) == 1:
                await asyncio.sleep(READ)
                sent = server.bytes_sent
                await asyncio.sleep(READ)
                assert server.bytes_sent == sent < MIB < len(body) / 2
        assert ids == [job["id"] for job in wire]
        assert server.bytes_sent == len(response(body))
        assert len(server.requests) == server.connections == 1
