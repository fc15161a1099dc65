"""Bodies whose framing is wrong: the length, and the size of a chunk (rows B3 and B5)."""

import asyncio
import time

import pytest

from plangrep_async import ConnectionFailed, IncompleteResponse, RequestTimeout, Timeouts
from tests.faults.bodies import AT_ONCE, BODY, IDS, ONCE, PATIENT, Connect, after, complete, read
from tests.faults.bulk import project_of
from tests.faults.streams import nothing_left, slots
from tests.raw_server import CHUNKED, Connection, RawServer, Script, chunked, head, response


@pytest.mark.fault("B3")
async def test_a_length_that_is_too_long_is_a_truncated_body(connect: Connect) -> None:
    """All jobs are here, but not what was announced: the answer is asked for again."""
    length = [("Content-Length", str(len(BODY) + 5))]
    taken: asyncio.Queue[str] = asyncio.Queue()

    async def short(conn: Connection) -> None:
        await conn.send(head(headers=length) + BODY)
        for _ in IDS:
            await taken.get()
        conn.close()

    async def whole(conn: Connection) -> None:
        await conn.send(response(BODY))

    async with (
        nothing_left(),
        RawServer([short, short, whole]) as server,
        connect(server.base_url, timeout=PATIENT, retry=ONCE) as once,
        connect(server.base_url, timeout=PATIENT, retry=AT_ONCE) as client,
    ):
        ids, error = await read(once, taken)
        assert (ids, type(error)) == (IDS, IncompleteResponse)
        assert await read(client, taken) == (IDS, None)
        assert len(server.requests) == server.connections == 3
        assert slots(once) == slots(client) == 0


def too_short(missing: int) -> Script:
    """Send a body with so many bytes more than its length says."""

    async def send(conn: Connection) -> None:
        length = [("Content-Length", str(len(BODY) - missing))]
        await conn.send(head(headers=length) + BODY)

    return send


@pytest.mark.fault("B3")
@pytest.mark.parametrize("missing", [1, 2, 40, len(BODY) - 1])
async def test_a_length_that_is_too_short_is_no_end_of_the_list(
    connect: Connect, missing: int
) -> None:
    """The list is truncated, or the answer no HTTP, as aiohttp's parser has it; the next is right.

    The parser in C refuses what stands behind a body, the one in Python passes over it.
    """

    async def whole(conn: Connection) -> None:
        await conn.send(response(BODY))

    async with (
        nothing_left(),
        RawServer([too_short(missing), too_short(missing), whole]) as server,
        connect(server.base_url, timeout=PATIENT, retry=ONCE) as once,
        connect(server.base_url, timeout=PATIENT, retry=AT_ONCE) as client,
    ):
        ids, error = await read(once)
        assert ids == complete(BODY[:-missing])[: len(ids)]
        assert type(error) in (IncompleteResponse, ConnectionFailed)
        assert await read(client) == (IDS, None)
        assert len(server.requests) == 3
        assert slots(once) == slots(client) == 0


BAD_CHUNKS = {
    "no number": b"zz\r\nwhatever",
    "no size": b"\r\n",
    "below 0": b"-5\r\n12345\r\n",
    "0x": b"0x5\r\n12345\r\n",
    "two numbers": b"5 5\r\n12345\r\n",
    "too large": b"f" * 40 + b"\r\n12345\r\n",
    "chunk too long": b"3\r\n12345\r\n",
}


BAD_ENDS = [
    (count, name, end) for count in (0, 2) for name in BAD_CHUNKS for end in ("stall", "close")
]


async def send_bad_chunk(
    conn: Connection, count: int, name: str, taken: "asyncio.Queue[str]"
) -> None:
    """Send a part with so many jobs and, when they were taken, a bad chunk in a later packet."""
    await conn.send(head(headers=[CHUNKED]) + chunked([after(count)], terminator=False))
    for _ in range(count):
        await taken.get()
    await asyncio.sleep(0.02)  # for the client to have all of it
    await conn.send(BAD_CHUNKS[name])


@pytest.mark.fault("B5")
async def test_a_bad_chunk_size_in_a_later_packet_ends_in_time(connect: Connect) -> None:
    """No later than `Timeouts.read`, whatever it is, and whether the server closes then or not.

    aiohttp alone would wait for ever, and not notice the close either.
    """

    async def send(conn: Connection) -> None:
        number = int(project_of(conn))  # in whatever order they are accepted
        count, name, end = BAD_ENDS[number]
        await send_bad_chunk(conn, count, name, taken[number])
        if end == "close":
            conn.close()

    taken: list[asyncio.Queue[str]] = [asyncio.Queue() for _ in BAD_ENDS]
    async with (
        nothing_left(),
        RawServer(send) as server,
        connect(server.base_url, retry=ONCE, timeout=Timeouts(read=0.8)) as client,
    ):
        started = time.monotonic()
        found = await asyncio.gather(
            *(read(client, each, project_id=str(number)) for number, each in enumerate(taken))
        )
        assert time.monotonic() - started < 5.0
        assert len(server.requests) == server.connections == len(BAD_ENDS)
        await server.wait_until(lambda: None not in {each.ended for each in server.accepted})
        assert slots(client) == 0
    for (count, name, end), (ids, error) in zip(BAD_ENDS, found, strict=True):
        assert ids == IDS[:count], (name, end)
        expected = {IncompleteResponse} if count else {IncompleteResponse, RequestTimeout}
        assert type(error) in expected, (name, end)


@pytest.mark.fault("B5")
@pytest.mark.parametrize("count", [0, 2])
async def test_after_a_bad_chunk_size_the_list_is_asked_for_again(
    connect: Connect, count: int
) -> None:
    """It costs one more request, on a new connection, and no job."""
    taken: asyncio.Queue[str] = asyncio.Queue()

    async def bad(conn: Connection) -> None:
        await send_bad_chunk(conn, count, "no number", taken)
        await conn.stall()

    async def whole(conn: Connection) -> None:
        await conn.send(response(BODY))

    async with (
        nothing_left(),
        RawServer([bad, whole]) as server,
        connect(server.base_url, retry=AT_ONCE, timeout=Timeouts(read=0.6)) as client,
    ):
        assert await read(client, taken) == (IDS, None)
        assert len(server.requests) == server.connections == 2
        await server.wait_closed_by_client(0)
        assert slots(client) == 0
