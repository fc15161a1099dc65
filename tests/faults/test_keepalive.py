"""What a server does to a connection between two requests (rows H11 and X11).

The list for request n holds job n alone, so an answer to another request would be seen.
"""

import asyncio
from collections.abc import Callable

import pytest

from plangrep_async import AsyncPlangrep, RetryPolicy
from tests.conftest import document, wire_job
from tests.faults.streams import nothing_left, slots
from tests.raw_server import Connection, RawServer, head, response
from tests.test_stream import ids

Connect = Callable[..., AsyncPlangrep]

ONCE = RetryPolicy(attempts=1)


def listing(number: int) -> bytes:
    """Make the answer to a request."""
    return response(document([wire_job(number)]))


async def numbered(conn: Connection) -> None:
    await conn.send(listing(conn.request.number))


def due(server: RawServer) -> list[str]:
    """Name the job that the answer to the last request holds."""
    return [wire_job(server.requests[-1].number)["id"]]


UNSOLICITED_408 = response(status=408, headers=[("Connection", "close")])
ENDS = {
    "FIN": (b"", "close"),
    "RST": (b"", "reset"),
    "408, FIN": (UNSOLICITED_408, "close"),
    "408, RST": (UNSOLICITED_408, "reset"),
}


@pytest.mark.fault("H11")
@pytest.mark.parametrize(("last_words", "how"), ENDS.values(), ids=ENDS)
async def test_a_connection_that_ended_while_idle_is_not_used(
    connect: Connect, last_words: bytes, how: str
) -> None:
    """The next list needs neither a second attempt nor a second request: a new connection."""
    is_idle = asyncio.Event()

    async def end_later(conn: Connection) -> None:
        await numbered(conn)
        await is_idle.wait()
        if last_words:
            await conn.send(last_words)
        getattr(conn, how)()

    async with (
        nothing_left(),
        RawServer([end_later, numbered, numbered]) as server,
        connect(server.base_url, retry=ONCE) as client,
    ):
        assert await ids(client) == due(server)
        is_idle.set()
        await server.wait_until(lambda: server.accepted[0].ended is not None)
        await asyncio.sleep(0.02)  # for the client to see it, too
        assert await ids(client) == due(server)
        assert await ids(client) == due(server)
        assert [request.connection for request in server.requests] == [0, 1, 1]
        assert slots(client) == 0


LEFTOVERS = {
    "a list": listing(777),
    "408": UNSOLICITED_408,
    "408, kept alive": response(status=408),
    "100": head(100),
    "no HTTP": b"no HTTP\r\n\r\n",
}


@pytest.mark.fault("X11")
@pytest.mark.parametrize("at_once", [True, False], ids=["one piece", "two pieces"])
@pytest.mark.parametrize("leftover", LEFTOVERS.values(), ids=LEFTOVERS)
async def test_bytes_behind_an_answer_are_no_answer(
    connect: Connect, leftover: bytes, at_once: bool
) -> None:
    """The connection they came on is dropped, and each list is the one its request asked for."""

    async def too_much(conn: Connection) -> None:
        data = listing(conn.request.number)
        if not at_once:
            await conn.send(data[:-20])
            await asyncio.sleep(0.02)
            data = data[-20:]
        await conn.send(data + leftover)

    async with (
        nothing_left(),
        RawServer([too_much, numbered, ...]) as server,
        connect(server.base_url) as client,
    ):
        for _ in range(3):
            assert await ids(client) == due(server)
        assert {request.connection for request in server.requests[1:]} == {1}
        await server.wait_closed_by_client(0)
        assert slots(client) == 0


@pytest.mark.fault("H11", "X11")
@pytest.mark.parametrize("leftover", LEFTOVERS.values(), ids=LEFTOVERS)
async def test_bytes_on_an_idle_connection_are_no_answer(connect: Connect, leftover: bytes) -> None:
    """What nobody asked for answers no later request: its connection is dropped, not used."""
    is_idle = asyncio.Event()

    async def speak_unasked(conn: Connection) -> None:
        await numbered(conn)
        await is_idle.wait()
        await conn.send(leftover)

    async with (
        nothing_left(),
        RawServer([speak_unasked, numbered, ...]) as server,
        connect(server.base_url, retry=ONCE) as client,
    ):
        assert await ids(client) == due(server)
        sent = server.bytes_sent
        is_idle.set()
        await server.wait_until(lambda: server.bytes_sent == sent + len(leftover))
        await asyncio.sleep(0.02)  # for the client to get it
        for _ in range(3):
            assert await ids(client) == due(server)
        assert [request.connection for request in server.requests] == [0, 1, 1, 1]
        await server.wait_closed_by_client(0)
        assert slots(client) == 0


@pytest.mark.fault("X11")
@pytest.mark.parametrize("fragment", [b"H", b"HTTP/1.1 200 OK\r\nContent-Le"], ids=["one", "more"])
async def test_a_fragment_behind_an_answer_does_not_join_the_next(
    connect: Connect, fragment: bytes
) -> None:
    """What is not even a whole head is not put before the head of the next answer."""

    async def a_little_more(conn: Connection) -> None:
        await conn.send(listing(conn.request.number) + fragment)

    async with (
        nothing_left(),
        RawServer([a_little_more, ...]) as server,
        connect(server.base_url) as client,
    ):
        for _ in range(3):
            assert await ids(client) == due(server)
        assert len(server.requests) == 3
        assert slots(client) == 0
