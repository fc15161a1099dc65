"""Answers that are no HTTP, or too much of it (rows H4 and H5)."""

import tracemalloc
from collections.abc import Callable

import pytest

from plangrep_async import AsyncPlangrep, ConnectionFailed
from tests.conftest import KEY
from tests.faults.streams import nothing_left, slots
from tests.faults.test_headers import without_end
from tests.raw_server import CHUNKED, Connection, RawServer, Script, chunked, head, response
from tests.test_transport import BODY, answer, count

Connect = Callable[..., AsyncPlangrep]


def lengths(*values: str) -> bytes:
    """Make a whole answer with these Content-Length headers."""
    return head(headers=[("Content-Length", value) for value in values]) + BODY


SIZE = str(len(BODY))
NO_HTTP = {
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "no head": b"<html>HTTP/0.9</html>\r\n\r\n",
    "no status": b"HTTP/1.1\r\n\r\n",
    "no number": b"HTTP/1.1 banana\r\n\r\n",
    "two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nX-A : b\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\n\r\n",
    "chunks and length": head(headers=[CHUNKED, ("Content-Length", SIZE)]) + chunked([BODY]),
    "length and chunks": head(headers=[("Content-Length", SIZE), CHUNKED]) + chunked([BODY]),
    "no chunk size": head(headers=[CHUNKED]) + b"zz\r\n" + BODY,
    "lengths, a wrong one first": lengths("5", SIZE),
    "lengths, a wrong one last": lengths(SIZE, "5"),
    "lengths in one header": lengths(f"{SIZE}, 5"),
    "length below 0": lengths("-5"),
    "length with a sign": lengths(f"+{SIZE}"),
    "length with an exponent": lengths("1e3"),
    "length of 5,000 digits": lengths("9" * 5000),
}


@pytest.mark.fault("H4")
@pytest.mark.parametrize("broken", NO_HTTP.values(), ids=NO_HTTP)
async def test_an_answer_that_is_no_http_is_a_connection_that_failed(
    connect: Connect, broken: bytes
) -> None:
    """It is tried again and has no status: aiohttp's 400 was never said by the server."""

    async def send(conn: Connection) -> None:
        await conn.send(broken)
        await conn.stall()

    async with (
        nothing_left(),
        RawServer([send, send, send]) as server,
        connect(server.base_url) as client,
    ):
        with pytest.raises(ConnectionFailed, match="the answer was no valid HTTP") as caught:
            await count(client)
        assert type(caught.value) is ConnectionFailed
        assert not hasattr(caught.value, "status")
        assert caught.value.attempts == len(server.requests) == 3
        assert caught.value.__cause__ is None
        assert KEY not in repr(caught.value.__context__)
        for number in range(3):
            await server.wait_closed_by_client(number)
        assert slots(client) == 0


OVERSIZED = {
    "a header above 8 kB": head(headers=[("X-A", "x" * 8300), ("Content-Length", "0")]),
    "a reason above 8 kB": head(reason="x" * 8300, headers=[("Content-Length", "0")]),
    "20,000 headers": head(headers=[("X-A", "b")] * 20_000),
    "endless value": without_end(b"HTTP/1.1 200 OK\r\nX-A: ", b"x" * 16_384),
    "endless name": without_end(b"HTTP/1.1 200 OK\r\n", b"x" * 16_384),
    "endless reason": without_end(b"HTTP/1.1 200 ", b"x" * 16_384),
    "endless headers": without_end(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 2000),
    "endless folded header": without_end(b"HTTP/1.1 200 OK\r\nX-A: b\r\n", b" c\r\n" * 4000),
}


@pytest.mark.fault("H5")
@pytest.mark.parametrize("oversized", OVERSIZED.values(), ids=OVERSIZED)
async def test_headers_without_measure_are_refused_before_they_fill_the_memory(
    connect: Connect, oversized: bytes | Script
) -> None:
    """A head too large is no usable answer: little of it is taken in, and it is tried again."""

    async def send(conn: Connection) -> None:
        if isinstance(oversized, bytes):
            await conn.send(oversized)
            await conn.stall()
        else:
            await oversized(conn)

    async with (
        nothing_left(),
        RawServer([send, send, send], send_buffer_bytes=16 * 1024) as server,
        connect(server.base_url) as client,
    ):
        tracemalloc.start()
        try:
            with pytest.raises(ConnectionFailed, match="the answer was no valid HTTP") as caught:
                await count(client)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert type(caught.value) is ConnectionFailed
        assert caught.value.attempts == len(server.requests) == 3
        for number in range(3):
            await server.wait_closed_by_client(number)
            assert server.accepted[number].bytes_sent < 2 << 20
        assert peak_bytes < 4 << 20
        assert slots(client) == 0


@pytest.mark.fault("H5")
async def test_headers_of_almost_8_kb_are_fine(connect: Connect) -> None:
    """What is large and still usual, such as a long policy header, is no reason to refuse."""
    large = response(BODY, headers=[("Content-Security-Policy", "x" * 8000)])
    async with RawServer([answer(large)]) as server, connect(server.base_url) as client:
        assert await count(client) == 3
