"""Nesting without end, and one job that is larger than any (S3, S10)."""

import json
import time
import tracemalloc
from itertools import chain, repeat

import pytest

from plangrep_async import IncompleteResponse, InvalidJob, InvalidResponse
from plangrep_async.models import JobError
from tests.faults.answers import IDS, LANES, PLACES, A, B, C, Connect, consume, read
from tests.faults.streams import nothing_left
from tests.raw_server import Connection, RawServer, head, response

MIB = 1 << 20
SOCKET_BYTES = 8 * MIB  # what two sockets hold on loopback, generously
BRACKETS = [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"":', b"}]")]

each_bracket = pytest.mark.parametrize("brackets", BRACKETS, ids=["lists", "objects", "both"])


def nested(brackets: tuple[bytes, bytes], depth: int) -> bytes:
    opening, closing = brackets
    return opening * depth + b"0" + closing * depth


@pytest.mark.fault("S3")
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("place", PLACES)
@each_bracket
@pytest.mark.parametrize("depth", [100_000, 1_000_000])
async def test_a_bomb_of_brackets_is_refused_in_time(
    connect: Connect, depth: int, brackets: tuple[bytes, bytes], place: str, closed: bool
) -> None:
    """Closed or not, it is an error of its own, at once, behind the jobs before it."""
    before, behind, count = PLACES[place]
    body = before + (nested(brackets, depth) + behind if closed else brackets[0] * depth)
    for lane in LANES.values():
        began = time.process_time()
        outcome = await read(connect, body, **lane)
        assert time.process_time() - began < 5  # with the square of the depth it would be hours
        assert (outcome.ids, type(outcome.error)) == (IDS[:count], InvalidResponse)
        fault = "does not end" if count == 3 and len(body) > MIB else "nested too deeply"
        assert fault in str(outcome.error)


@pytest.mark.fault("S3")
@pytest.mark.parametrize("lane", LANES)
@each_bracket
async def test_a_fair_depth_is_taken(
    connect: Connect, brackets: tuple[bytes, bytes], lane: str
) -> None:
    """A hundred levels are read, or ignored, like one."""
    value = nested(brackets, 100 if len(brackets[1]) == 1 else 50)
    for place, (before, behind, _) in PLACES.items():
        outcome = await read(connect, before + value + behind, skip=True, **LANES[lane])
        assert outcome.error is None
        assert outcome.ids == ([IDS[0], IDS[2]] if place == "as an element" else IDS)
        if place == "in a known field":
            assert outcome.jobs[1].error == JobError(raw=json.loads(value))


@pytest.mark.fault("S3")
@pytest.mark.parametrize("place", PLACES)
@each_bracket
@pytest.mark.parametrize("depth", [900, 1_000, 1_100, 9_000, 11_000])
async def test_a_depth_that_some_interpreters_take(
    connect: Connect, depth: int, brackets: tuple[bytes, bytes], place: str
) -> None:
    """It is taken, or refused as a whole or as one job, by both lanes; nothing else comes out."""
    before, behind, count = PLACES[place]
    body = before + nested(brackets, depth) + behind
    fast, plain = [await read(connect, body, **lane) for lane in LANES.values()]
    assert (fast.ids, type(fast.error)) == (plain.ids, type(plain.error))
    if fast.error is None:
        assert fast.ids == IDS
    else:
        assert fast.ids == IDS[:count]
        assert type(fast.error) in (InvalidResponse, InvalidJob)
        is_no_job = place == "as an element" and isinstance(fast.error, InvalidJob)
        assert is_no_job or "nested too deeply" in str(fast.error)


@pytest.mark.fault("S3")
@pytest.mark.parametrize("place", PLACES)
@each_bracket
async def test_a_fair_depth_that_is_not_closed(
    connect: Connect, brackets: tuple[bytes, bytes], place: str
) -> None:
    """An end among brackets that could still be closed is an early end, and is asked for again."""
    before, _, count = PLACES[place]

    async def send(conn: Connection) -> None:
        await conn.send(response(before + brackets[0] * 100))

    async with RawServer([send] * 3) as server, connect(server.base_url) as client:
        outcome = await consume(client)
        assert (outcome.ids, type(outcome.error)) == (IDS[:count], IncompleteResponse)
        assert len(server.requests) == 3


# S10: a job that is too large.


SIZE = 200 * MIB
PIECE = 1 << 16
PARTS = {  # of one job: how it goes on, what is repeated in it, how it ends
    "one text": (b'"x":"', b"a", b'"'),
    "a text of escapes": (b'"x":"', rb"\u00e9", b'"'),
    "many members": (b'"x":0,', b'"page":{"a":"%b}"},' % (b"a" * 99), b'"y":0'),
    "many files": (b'"files":[{}', b',{"id":"file_1","fileName":"%b"}' % (b"a" * 99), b"]"),
}


@pytest.mark.fault("S10")
@pytest.mark.parametrize(("part", "limit"), [*((p, MIB) for p in PARTS), ("one text", 8 * MIB)])
async def test_a_job_of_200_mib_is_refused_at_the_limit(
    connect: Connect, part: str, limit: int
) -> None:
    """The jobs before it come; no more than the limit is read, or held, of what is valid JSON."""
    opening, unit, closing = PARTS[part]
    before = b'{"jobs":[' + A + b"," + B[:-1] + b"," + opening
    behind = closing + b"}," + C + b"]}"
    piece = unit * (PIECE // len(unit))
    times = SIZE // len(piece)
    json.loads(before + unit * 2 + behind)
    length = len(before) + len(piece) * times + len(behind)

    async def send(conn: Connection) -> None:
        await conn.send(head(headers=[("Content-Length", str(length))]))
        for data in chain([before], repeat(piece, times), [behind]):
            await conn.send(data)

    async with (
        nothing_left(),
        RawServer([send], send_buffer_bytes=PIECE) as server,
        connect(server.base_url, max_job_bytes=limit) as client,
    ):
        tracemalloc.start()
        try:
            outcome = await consume(client)
        finally:
            tracemalloc.stop()
        assert (outcome.ids, type(outcome.error)) == (IDS[:1], InvalidResponse)
        assert f"exceeds max_job_bytes, {limit}, in one element" in str(outcome.error)
        assert await server.wait_closed_by_client() in {"closed by client", "reset by client"}
        assert server.bytes_sent <= limit + SOCKET_BYTES
        assert limit < outcome.peak_bytes <= 3 * limit + 2 * MIB
        assert server.connections == len(server.requests) == 1
