"""Answers that never come, break off, or have no end (rows H1 to H3)."""

import asyncio
import time
from collections.abc import Callable

import pytest

from plangrep_async import AsyncPlangrep, ConnectionFailed, RequestTimeout, RetryPolicy, Timeouts
from tests.faults.streams import nothing_left, slots, stall
from tests.raw_server import Connection, RawServer, Script
from tests.test_transport import close, count, fine, reset

Connect = Callable[..., AsyncPlangrep]

ONCE = RetryPolicy(attempts=1)
# Connecting may take far longer than the headers: what ends on time, `read` has ended.
HASTY = Timeouts(connect=4.0, read=0.2)
EARLY = 0.002  # seconds; uvloop rounds its timers
LIMIT = 32 << 20  # bytes of what has no end, so that a client that takes it all ends, too
TWO_ENDS = pytest.mark.parametrize("end", [close, reset], ids=["FIN", "RST"])


def without_end(before: bytes, piece: bytes) -> Script:
    """Send `before` and then the same piece for ever, or until the limit."""

    async def send(conn: Connection) -> None:
        await conn.send(before)
        while conn.bytes_sent < LIMIT:
            await conn.send(piece)
        await conn.stall()

    return send


def dripping(before: bytes, piece: bytes) -> Script:
    """Send `before`, and then the same piece every 20 ms for ever."""

    async def send(conn: Connection) -> None:
        await conn.send(before)
        while True:
            await asyncio.sleep(0.02)
            await conn.send(piece)

    return send


@pytest.mark.fault("H1")
async def test_a_request_without_an_answer_is_sent_again(connect: Connect) -> None:
    """After `Timeouts.read` the silent connection is closed, and a new one brings the answer."""
    async with (
        nothing_left(),
        RawServer([stall, fine]) as server,
        connect(server.base_url, timeout=HASTY) as client,
    ):
        started = time.monotonic()
        async with asyncio.timeout(3):
            assert await count(client) == 3
        assert server.requests[1].arrived - started >= HASTY.read - EARLY
        await server.wait_closed_by_client(0)
        assert (server.connections, slots(client)) == (2, 0)


@pytest.mark.fault("H1")
async def test_a_server_that_stays_silent_ends_in_a_time_out(connect: Connect) -> None:
    """When no attempt gets an answer, the error is a `RequestTimeout` that counts them all."""
    async with (
        nothing_left(),
        RawServer([stall, stall, stall]) as server,
        connect(server.base_url, timeout=Timeouts(connect=4.0, read=0.05)) as client,
    ):
        with pytest.raises(RequestTimeout, match="did not answer in time") as caught:
            async with asyncio.timeout(3):
                await count(client)
        assert caught.value.attempts == len(server.requests) == 3
        for number in range(3):
            await server.wait_closed_by_client(number)
        assert slots(client) == 0


BEGINNINGS = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 20",
    "a status line": b"HTTP/1.1 200 OK\r\n",
    "half the headers": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Ty",
}


@pytest.mark.fault("H2")
@TWO_ENDS
@pytest.mark.parametrize("begun", BEGINNINGS.values(), ids=BEGINNINGS)
async def test_an_answer_that_breaks_before_its_body_is_one_request(
    connect: Connect, begun: bytes, end: Script
) -> None:
    """However far it came, each attempt is on the wire once, and the third may still succeed."""

    async def break_off(conn: Connection) -> None:
        if begun:
            await conn.send(begun)
            await asyncio.sleep(0.01)  # a reset would overtake what the client has not read yet
        await end(conn)

    for scripts in ([break_off, break_off, break_off], [break_off, break_off, fine]):
        async with (
            nothing_left(),
            RawServer(scripts) as server,
            connect(server.base_url) as client,
        ):
            if scripts[2] is fine:
                assert await count(client) == 3
            else:
                with pytest.raises(ConnectionFailed) as caught:
                    await count(client)
                assert type(caught.value) is ConnectionFailed
                assert caught.value.attempts == 3
            assert (len(server.requests), server.connections, slots(client)) == (3, 3, 0)


@pytest.mark.fault("H2", "H11")
@TWO_ENDS
async def test_a_kept_connection_that_breaks_under_a_request_costs_one_attempt(
    connect: Connect, end: Script
) -> None:
    """aiohttp would send the request again by itself here: it is sent once per attempt."""

    async def break_off(conn: Connection) -> None:
        await end(conn)

    async with (
        nothing_left(),
        RawServer([fine, break_off, fine, break_off]) as server,
        connect(server.base_url) as client,
        connect(server.base_url, retry=ONCE) as impatient,
    ):
        assert await count(client) == 3
        assert await count(client) == 3
        assert [request.connection for request in server.requests] == [0, 0, 1]
        with pytest.raises(ConnectionFailed) as caught:
            await count(impatient)
        assert (caught.value.attempts, len(server.requests)) == (1, 4)


ENDLESS = {
    "headers": dripping(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n"),
    "one header": dripping(b"HTTP/1.1 200 OK\r\nX-More: ", b"1"),
    "102": dripping(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "103": dripping(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "a flood of 100": without_end(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.fault("H3")
@pytest.mark.parametrize("is_reused", [False, True], ids=["new", "reused"])
@pytest.mark.parametrize("endless", ENDLESS.values(), ids=ENDLESS)
async def test_headers_without_an_end_run_into_their_deadline(
    connect: Connect, endless: Script, is_reused: bool
) -> None:
    """That something keeps coming is of no help: the wait for the whole head is what is bounded."""
    async with (
        nothing_left(),
        RawServer([fine, endless] if is_reused else [endless]) as server,
        connect(server.base_url, retry=ONCE, timeout=HASTY) as client,
    ):
        if is_reused:
            assert await count(client) == 3
        started, sent_before = time.monotonic(), server.bytes_sent
        with pytest.raises(RequestTimeout, match="did not answer in time") as caught:
            async with asyncio.timeout(3):
                await count(client)
        assert caught.value.attempts == 1
        await server.wait_closed_by_client(0)
        assert time.monotonic() - started >= HASTY.read - EARLY
        assert server.bytes_sent > sent_before
        assert (server.connections, slots(client)) == (1, 0)
