"""gzip in many members: one list, and no way to keep a client busy (rows X12)."""

import asyncio
import gzip
import tracemalloc

import pytest

from plangrep_async import InvalidResponse, RequestTimeout, Timeouts
from tests.faults.bodies import BODY, GZIP, IDS, ONCE, PATIENT, Connect, read
from tests.faults.streams import nothing_left, slots
from tests.raw_server import CHUNKED, Connection, RawServer, chunked, head

MIB = 1 << 20
EMPTY = gzip.compress(b"", mtime=0)


def in_members(count: int) -> bytes:
    """Compress a list in so many members, each with its share of it, which may be nothing."""
    size = max(1, -(-len(BODY) // count))
    parts = [BODY[at * size : (at + 1) * size] for at in range(count)]
    assert b"".join(parts) == BODY
    return b"".join(gzip.compress(part, mtime=0) for part in parts)


@pytest.mark.fault("X12")
@pytest.mark.parametrize("pieces", [1, 7, 1000], ids="{} pieces".format)
@pytest.mark.parametrize("count", [2, 64, 600], ids="{} members".format)
async def test_a_list_in_members_is_one_list(connect: Connect, count: int, pieces: int) -> None:
    """RFC 1952, section 2.2: what the members hold belongs together, wherever they are cut."""
    packed = in_members(count)
    size = -(-len(packed) // pieces)
    parts = [packed[at : at + size] for at in range(0, len(packed), size)]

    async def send(conn: Connection) -> None:
        await conn.send(head(headers=[GZIP, CHUNKED]))
        for part in parts:
            await conn.send(chunked([part], terminator=False))
        await conn.send(chunked([]))

    async with (
        nothing_left(),
        RawServer([send]) as server,
        connect(server.base_url, timeout=PATIENT) as client,
    ):
        assert await read(client) == (IDS, None)
        assert server.connections == len(server.requests) == 1


@pytest.mark.fault("X12")
@pytest.mark.parametrize("before", [b"", BODY[:200]], ids=["at once", "after a job"])
@pytest.mark.parametrize("at_a_time", [500, 50_000], ids="{} at a time".format)
async def test_a_million_empty_members_come_to_an_end(
    connect: Connect, at_a_time: int, before: bytes
) -> None:
    """They are refused, or given up when they bring no text in time: early, in little memory."""

    async def send(conn: Connection) -> None:
        await conn.send(head(headers=[GZIP]) + (gzip.compress(before) if before else b""))
        for _ in range(1_000_000 // at_a_time):
            await conn.send(EMPTY * at_a_time)
        raise AssertionError("a million members were taken")

    async with (
        nothing_left(),
        RawServer([send], send_buffer_bytes=64 * 1024) as server,
        connect(server.base_url, retry=ONCE, timeout=Timeouts(read=0.3)) as client,
    ):
        tracemalloc.start()
        try:
            ids, error = await asyncio.wait_for(read(client), 10)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert ids == IDS[: len(ids)]
        assert isinstance(error, InvalidResponse | RequestTimeout)
        await server.wait_closed_by_client()
        assert server.connections == len(server.requests) == 1
        assert peak_bytes < 8 * MIB
        assert slots(client) == 0
