"""Answers whose status, or whose emptiness, says that they are no list (rows H7 to H10)."""

import asyncio
import gzip
import time
import tracemalloc
from collections.abc import Callable

import aiohttp
import pytest

from plangrep_async import (
    AsyncPlangrep,
    IncompleteResponse,
    InvalidResponse,
    ServerError,
)
from plangrep_async._status import MAX_BODY_BYTES
from plangrep_async.errors import ApiStatusError
from tests.conftest import SHORT
from tests.faults.streams import nothing_left, slots
from tests.faults.test_headers import EARLY
from tests.raw_server import CHUNKED, Connection, RawServer, chunked, head, response
from tests.test_transport import BODY, answer, count, fine

Connect = Callable[..., AsyncPlangrep]

GZIP = ("Content-Encoding", "gzip")
HTML = ("Content-Type", "text/html")


@pytest.mark.fault("H7")
@pytest.mark.parametrize("code", [408, 500, 502, 503, 504])
async def test_the_last_of_all_refusals_is_the_one_raised(connect: Connect, code: int) -> None:
    """Status, request id and a short excerpt are those of the last answer, not of those before."""

    async def refuse(conn: Connection) -> None:
        number = conn.request.number
        text = f"<h1>Refusal {number}</h1>\r\n" + "\x1b[31mno\x00 " * 5000
        headers = [("X-Request-Id", f"req_{number}"), HTML]
        said = response(text.encode(), status=code if number else 429, headers=headers)
        await conn.send(said)

    async with (
        nothing_left(),
        RawServer([refuse, refuse, refuse]) as server,
        connect(server.base_url) as client,
    ):
        with pytest.raises(ApiStatusError) as caught:
            await count(client)
        error = caught.value
        assert type(error) is (ApiStatusError if code == 408 else ServerError)
        assert (error.status, error.request_id) == (code, "req_2")
        assert error.attempts == len(server.requests) == 3
        said = error.message.partition(" answered ")[2]
        assert said.startswith(f"{code}: Refusal 2 \\x1b[31mno\\x00 ")
        assert said.isprintable()
        assert len(said) < 250
        assert (server.connections, slots(client)) == (1, 0)


NO_LIST = {
    "page": response(b"<!doctype html><title>Soon back</title>", headers=[HTML]),
    "page, gzip": response(gzip.compress(b"<html></html>"), headers=[HTML, GZIP]),
    "text": response(b"OK", headers=[("Content-Type", "text/plain")]),
    "101": head(101, headers=[("Connection", "upgrade"), ("Upgrade", "websocket")]),
    "202": response(BODY, status=202),
    "204": head(204),
    "205": response(status=205),
    "206": response(BODY, status=206, headers=[("Content-Range", f"bytes 0-9/{len(BODY)}")]),
}


@pytest.mark.fault("H9")
@pytest.mark.parametrize("data", NO_LIST.values(), ids=NO_LIST)
async def test_a_success_without_a_list_is_an_error(connect: Connect, data: bytes) -> None:
    """A page, or another status than 200: refused once, and never taken for "no jobs"."""
    async with (
        nothing_left(),
        RawServer([answer(data)]) as server,
        connect(server.base_url) as client,
    ):
        with pytest.raises(InvalidResponse) as caught:
            await count(client)
        assert type(caught.value) is InvalidResponse
        assert (caught.value.attempts, caught.value.delivered, slots(client)) == (1, 0, 0)


EMPTY = {
    "Content-Length": response(),
    "chunks": head(headers=[CHUNKED]) + chunked([]),
    "gzip": response(gzip.compress(b""), headers=[GZIP]),
    "gzip, no byte": response(headers=[GZIP]),
    "white space": response(b"\r\n"),
}


@pytest.mark.fault("H9")
@pytest.mark.parametrize("data", [*EMPTY.values(), None], ids=[*EMPTY, "closed"])
async def test_an_empty_body_is_a_list_cut_short(connect: Connect, data: bytes | None) -> None:
    """Nothing is not "no jobs": it is tried again, and then says that it ended too early."""

    async def empty(conn: Connection) -> None:
        await conn.send(head() if data is None else data)
        if data is None:
            conn.close()

    async with (
        nothing_left(),
        RawServer([empty, empty, empty, empty, fine]) as server,
        connect(server.base_url) as client,
    ):
        with pytest.raises(IncompleteResponse, match="ended too early") as caught:
            await count(client)
        assert caught.value.attempts == len(server.requests) == 3
        assert await count(client) == 3
        assert slots(client) == 0


ENDLESS = {
    "chunks": [CHUNKED],
    "Content-Length": [("Content-Length", str(1 << 30))],
    "closed": [],
    "gzip bomb": [CHUNKED, GZIP],
}


@pytest.mark.fault("H10")
@pytest.mark.parametrize("framing", ENDLESS)
async def test_of_an_endless_error_little_is_read(connect: Connect, framing: str) -> None:
    """Each attempt reads at most 64 KiB of the body, beside what buffers on the way take in."""
    begin = head(500, headers=ENDLESS[framing])
    piece = b"no " * 5000
    if framing == "gzip bomb":
        piece = gzip.compress(b"no " * (2 << 20))  # one of many members
    if CHUNKED in ENDLESS[framing]:
        piece = chunked([piece], terminator=False)

    async def endless(conn: Connection) -> None:
        await conn.send(begin)
        while conn.bytes_sent < 32 << 20:  # a client that takes it all shall fail, not hang
            await conn.send(piece)
        await conn.stall()

    async with (
        nothing_left(),
        RawServer([endless, endless, endless], send_buffer_bytes=16 * 1024) as server,
        connect(server.base_url) as client,
    ):
        tracemalloc.start()
        try:
            with pytest.raises(ServerError, match="answered 500: no no no") as caught:
                await count(client)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        for number in range(3):
            await server.wait_closed_by_client(number)
            # The client's receive buffer, aiohttp's buffer and ours, and the server's.
            assert server.accepted[number].bytes_sent < MAX_BODY_BYTES + (1 << 20)
        assert peak_bytes < 8 << 20
        assert caught.value.attempts == len(server.requests) == 3
        assert len(caught.value.message) < 500
        assert slots(client) == 0


@pytest.mark.fault("H10")
async def test_an_error_that_drips_is_raised_on_time(connect: Connect) -> None:
    """The text of an error is waited for no longer than `Timeouts.read`, however it comes."""

    async def drip(conn: Connection) -> None:
        await conn.send(head(422, headers=[CHUNKED]) + chunked([b"wrong "], terminator=False))
        while True:
            await asyncio.sleep(0.02)
            await conn.send(chunked([b"x"], terminator=False))

    async with nothing_left(), RawServer([drip]) as server, connect(server.base_url) as client:
        with pytest.raises(ApiStatusError, match=r"answered 422: wrong x+ "):
            await count(client)
        assert SHORT.read - EARLY <= time.monotonic() - server.requests[0].arrived < 3
        await server.wait_closed_by_client(0)
        assert slots(client) == 0


@pytest.mark.fault("H7")
async def test_a_refusal_whose_body_breaks_is_a_refusal(connect: Connect) -> None:
    """The status counts, also where the caller's trace lets the connection end before the body."""

    async def dawdle(*_: object) -> None:
        await asyncio.sleep(0.03)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(dawdle)

    async def refuse(conn: Connection) -> None:
        await conn.send(head(500, headers=[CHUNKED]) + b"5\r\nhello\r\n")
        await asyncio.sleep(0.01)
        await conn.send(b"zz\r\nfoo")
        await asyncio.sleep(0.01)
        conn.close()

    async with (
        RawServer([refuse, refuse, refuse]) as server,
        connect(server.base_url, trace_configs=[trace]) as client,
    ):
        with pytest.raises(ServerError) as caught:
            await count(client)
    assert (caught.value.status, caught.value.attempts) == (500, 3)
