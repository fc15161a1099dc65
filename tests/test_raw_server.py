"""The raw server does what its scripts say, and counts what it did: seen from plain sockets."""

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trustme

from tests.raw_server import (
    CHUNKED,
    Connection,
    RawServer,
    Script,
    chunked,
    head,
    json_response,
    response,
    send_rst_on_close,
)

GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-Two: 1\r\nx-two: 2\r\n\r\n"
OK = response(b"ok")


@asynccontextmanager
async def connect(
    port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def get(port: int) -> bytes:
    """Send one request and return all that comes until the server closes."""
    async with connect(port) as (reader, writer):
        writer.write(GET)
        return await reader.read()


async def ok(conn: Connection) -> None:
    await conn.send(OK)


async def ok_then_close(conn: Connection) -> None:
    await conn.send(OK)
    conn.close()


async def reset(conn: Connection) -> None:
    conn.reset()


async def stall(conn: Connection) -> None:
    await conn.stall()


async def send_for_ever(conn: Connection) -> None:
    while True:
        await conn.send(bytes(100_000))


def test_head_is_the_status_line_and_the_given_headers_only() -> None:
    """`head` adds no header of its own, and knows the usual reasons."""
    assert head(404, headers=[("A", "b")]) == b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n"
    assert head(299) == b"HTTP/1.1 299 \r\n\r\n"
    assert head(200, "Fine") == b"HTTP/1.1 200 Fine\r\n\r\n"


def test_response_states_its_length_unless_told_not_to() -> None:
    """`response` frames its body by Content-Length, or leaves it to the connection's end."""
    assert response(b"abc") == b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    assert response(b"abc", content_length=False) == b"HTTP/1.1 200 OK\r\n\r\nabc"


def test_json_response_carries_the_object() -> None:
    """`json_response` is a response whose body is the object as JSON."""
    start, body = json_response({"a": [1]}, status=503).split(b"\r\n\r\n")
    assert start.startswith(b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json")
    assert json.loads(body) == {"a": [1]}


def test_chunked_frames_each_piece() -> None:
    """Each piece is a chunk with its length in hexadecimal; an empty one would end the body."""
    assert chunked([b"a" * 10, b"", b"b"]) == b"a\r\naaaaaaaaaa\r\n1\r\nb\r\n0\r\n\r\n"
    assert chunked([b"b"], terminator=False) == b"1\r\nb\r\n"
    assert head(headers=[CHUNKED]).endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n")


async def test_a_script_sends_and_all_is_counted() -> None:
    """What arrives is what was sent, and the server knows the request, the bytes and the end."""
    before = time.monotonic()
    async with RawServer([ok_then_close]) as server:
        received = await get(server.port)
    assert received == OK
    assert server.url("/x") == f"http://127.0.0.1:{server.port}/x"
    assert (server.connections, server.bytes_sent) == (1, len(OK))
    assert server.accepted[0].ended == "closed by server"
    [request] = server.requests
    assert (request.method, request.target, request.raw) == ("GET", "/a?b=c", GET)
    assert request.headers.getall("X-TWO") == ["1", "2"]
    assert (request.number, request.connection) == (0, 0)
    assert before <= request.arrived <= time.monotonic()


async def test_a_request_may_arrive_in_pieces() -> None:
    """A script runs once the blank line is there, wherever the packets were cut."""
    async with RawServer([ok_then_close]) as server, connect(server.port) as (reader, writer):
        for byte in GET:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert await reader.read() == OK
        assert [request.raw for request in server.requests] == [GET]


async def test_keep_alive_serves_requests_one_after_another() -> None:
    """A script that returns leaves the connection open for the next request and script."""
    async with RawServer([ok, ok_then_close]) as server, connect(server.port) as (reader, writer):
        for _ in range(2):
            writer.write(GET)
            assert await reader.readexactly(len(OK)) == OK
        assert await reader.read() == b""
        assert server.connections == 1
        assert [request.connection for request in server.requests] == [0, 0]
        assert server.accepted[0].bytes_sent == 2 * len(OK)


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Two requests in one packet are two requests."""
    async with RawServer([ok, ok_then_close]) as server, connect(server.port) as (reader, writer):
        writer.write(GET + GET)
        assert await reader.read() == OK + OK


async def test_scripts_go_by_arrival_over_all_connections() -> None:
    """The second request gets the second script, on whichever connection it comes."""

    async def other(conn: Connection) -> None:
        await conn.send(conn.request.target.encode())
        conn.close()

    async with RawServer([ok_then_close, other]) as server:
        assert await get(server.port) == OK
        assert await get(server.port) == b"/a?b=c"
    assert [connection.number for connection in server.accepted] == [0, 1]


@pytest.mark.parametrize("scripts", [ok_then_close, [ok_then_close, ...]])
async def test_an_ellipsis_repeats_the_last_script(scripts: Script | list[Script]) -> None:
    """One script alone, or the last before `...`, serves every further request."""
    async with RawServer(scripts) as server:
        for _ in range(3):
            assert await get(server.port) == OK
    assert len(server.requests) == 3


async def test_reset_is_a_reset() -> None:
    """RST reaches the client as ConnectionResetError, not as an end of file."""
    async with RawServer([reset]) as server:
        with pytest.raises(ConnectionResetError):
            await get(server.port)
    assert server.accepted[0].ended == "reset by server"


async def test_stall_lasts_until_the_client_closes() -> None:
    """A stalled connection stays silent and open, and the client's FIN ends the wait."""
    after_stall = asyncio.Event()

    async def silent(conn: Connection) -> None:
        await conn.stall()
        after_stall.set()

    async with RawServer([silent]) as server:
        async with connect(server.port) as (reader, writer):
            writer.write(GET)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.02)
            assert not after_stall.is_set()
        assert await server.wait_closed_by_client() == "closed by client"
        await after_stall.wait()
    assert server.bytes_sent == 0


async def test_a_reset_by_the_client_is_told_from_a_close() -> None:
    """RST from the client is recorded as such."""
    async with RawServer([stall]) as server:
        async with connect(server.port) as (_, writer):
            writer.write(GET)
            await server.wait_until(lambda: len(server.requests) == 1)
            send_rst_on_close(writer.get_extra_info("socket"))
        assert await server.wait_closed_by_client() == "reset by client"


async def test_the_client_may_close_in_the_middle_of_a_send() -> None:
    """A script that is sending ends without an error when its client goes away."""
    async with RawServer([send_for_ever]) as server:
        async with connect(server.port) as (reader, writer):
            writer.write(GET)
            await reader.readexactly(10)
        assert await server.wait_closed_by_client() in {"closed by client", "reset by client"}


async def test_a_script_learns_of_a_failed_write() -> None:
    """A script that would send for ever ends even if its first write is what meets the reset."""
    go_on = asyncio.Event()

    async def drip_for_ever(conn: Connection) -> None:
        await go_on.wait()
        while True:
            await conn.send(b"a little")

    async with RawServer([drip_for_ever]) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.sendall(GET)
            await server.wait_until(lambda: len(server.requests) == 1)
            send_rst_on_close(sock)
        go_on.set()  # the script goes on before the event loop has looked at the socket
        assert await server.wait_closed_by_client() == "reset by client"


async def test_waiting_for_the_client_covers_connections_to_come() -> None:
    """The wait may begin before the connection does."""
    async with RawServer([stall]) as server:
        waiting = asyncio.create_task(server.wait_closed_by_client(0))
        await asyncio.sleep(0)
        async with connect(server.port) as (_, writer):
            writer.write(GET)
            await server.wait_until(lambda: len(server.requests) == 1)
            assert not waiting.done()
        assert await waiting == "closed by client"


async def test_waiting_for_the_client_fails_when_the_server_closed() -> None:
    """The server's own close does not pass for the client's."""
    async with RawServer([ok_then_close]) as server:
        await get(server.port)
        with pytest.raises(AssertionError, match="connection 0 was closed by server"):
            await server.wait_closed_by_client()


async def test_waiting_for_the_client_has_a_limit() -> None:
    """A client that never closes ends the wait with TimeoutError."""
    async with RawServer([ok]) as server, connect(server.port) as (reader, writer):
        writer.write(GET)
        await reader.readexactly(len(OK))
        with pytest.raises(TimeoutError):
            await server.wait_closed_by_client(timeout=0.01)
        assert server.accepted[0].ended is None


async def test_a_small_send_buffer_limits_what_a_client_that_does_not_read_is_sent() -> None:
    """With both buffers small, an endless body gets no further than they reach."""

    async def forty_megabytes(conn: Connection) -> None:
        await conn.send(bytes(40_000_000))

    async with RawServer([forty_megabytes], send_buffer_bytes=20_000) as server:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, ("127.0.0.1", server.port))
            await loop.sock_sendall(sock, GET)
            await server.wait_until(lambda: server.bytes_sent > 0)
            await asyncio.sleep(0.02)
            assert 0 < server.bytes_sent < 500_000
            assert server.accepted[0].ended is None
        assert await server.wait_closed_by_client() == "reset by client"


async def test_only_what_the_kernel_took_counts_as_sent() -> None:
    """What was counted can all be read after the server has gone, and hardly anything more."""
    sock = socket.socket()
    async with RawServer([send_for_ever], send_buffer_bytes=20_000) as server:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(GET)
        await server.wait_until(lambda: server.bytes_sent > 0)
        await asyncio.sleep(0.02)
    sock.settimeout(5)
    with sock, sock.makefile("rb") as file:
        surplus = len(await asyncio.to_thread(file.read)) - server.bytes_sent
    assert 0 <= surplus <= 16_384


async def test_leaving_ends_open_connections() -> None:
    """Whatever a script is in the middle of, leaving the block ends it, its task and its socket."""
    before = asyncio.all_tasks()

    async def sleep(conn: Connection) -> None:
        await asyncio.Event().wait()

    async with RawServer([ok, stall, sleep, send_for_ever]) as server:
        clients = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(5)]
        for _, writer in clients[:4]:
            writer.write(GET)
        await server.wait_until(lambda: server.connections == 5 and len(server.requests) == 4)
        await server.wait_until(lambda: server.bytes_sent > 100_000)
    assert {connection.ended for connection in server.accepted} == {"closed by server"}
    assert asyncio.all_tasks() == before
    for _, writer in clients:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("turns", range(6))
async def test_leaving_ends_connections_just_arrived(turns: int) -> None:
    """Nothing stays open, however far the event loop has come with accepting a connection."""
    async with RawServer([]) as server:
        sock = socket.create_connection(("127.0.0.1", server.port))
        for _ in range(turns):
            await asyncio.sleep(0)
    sock.setblocking(False)  # the end is there, not to come
    with sock, suppress(ConnectionResetError):
        assert sock.recv(1) == b""


async def test_a_script_that_never_ran_fails_the_test() -> None:
    """A fault that nobody met is an error, and it is named."""
    with pytest.raises(AssertionError, match="scripts that never ran: reset, stall"):
        async with RawServer([ok_then_close, reset, stall]) as server:
            await get(server.port)
    with pytest.raises(AssertionError, match="never ran: ok"):
        async with RawServer(ok):
            pass


async def test_a_request_too_many_fails_the_test() -> None:
    """A list allows one request each: one more is cut off, and reported on leaving."""
    with pytest.raises(AssertionError, match=r"no script for request 0: /a\?b=c"):
        async with RawServer([]) as server:
            assert await get(server.port) == b""


async def test_no_scripts_and_no_requests_is_fine() -> None:
    """An empty list states that no request arrives; a bare connection is allowed."""
    async with RawServer([]) as server:
        async with connect(server.port):
            await server.wait_until(lambda: server.connections == 1)
        await server.wait_closed_by_client()
    assert server.requests == []


@pytest.mark.parametrize("error", [ValueError("wrong"), ConnectionError("to somewhere else")])
async def test_an_error_in_a_script_surfaces(error: Exception) -> None:
    """A script's exception closes its connection and is raised on leaving; so are several."""

    async def wrong(conn: Connection) -> None:
        raise error

    with pytest.raises(type(error), match=str(error)):
        async with RawServer([wrong]) as server:
            assert await get(server.port) == b""
    with pytest.raises(ExceptionGroup) as caught:
        async with RawServer([wrong, wrong]) as server:
            assert [await get(server.port) for _ in range(2)] == [b"", b""]
    assert caught.value.exceptions == (error, error)


async def test_an_exception_on_its_way_is_not_replaced() -> None:
    """The test's own failure wins; what a script raised is noted on it."""

    async def wrong(conn: Connection) -> None:
        raise ValueError("wrong")

    with pytest.raises(AssertionError, match="the test's own") as caught:
        async with RawServer([wrong, ok]) as server:
            assert await get(server.port) == OK, "the test's own"
    assert caught.value.__notes__ == ["The test double met ValueError('wrong')"]


@pytest.fixture
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts for a server on 127.0.0.1 and for a client that trusts it."""
    authority, server = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def test_a_script_goes_on_after_each_send_over_tls(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """However often and much it sends, and in every request of a connection."""
    server_side, client_side = tls
    pieces = [b"a", b"b" * 300_000, b"c"]
    steps: list[int] = []

    async def in_steps(conn: Connection) -> None:
        for piece in pieces:
            await conn.send(piece)
            steps.append(conn.bytes_sent)

    async with (
        RawServer([in_steps, in_steps], ssl=server_side) as server,
        connect(server.port, client_side) as (reader, writer),
        asyncio.timeout(5),
    ):
        for _ in range(2):
            writer.write(GET)
            assert await reader.readexactly(300_002) == b"".join(pieces)
        await server.wait_until(lambda: len(steps) == 6)
        assert steps == [1, 300_001, 300_002, 300_003, 600_003, 600_004]
        assert server.connections == 1


async def test_a_send_over_tls_waits_for_a_client_that_does_not_read(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """With small buffers an endless body gets no further than they and the loop's reach."""
    server_side, client_side = tls
    async with RawServer([send_for_ever], ssl=server_side, send_buffer_bytes=20_000) as server:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
            sock.connect(("127.0.0.1", server.port))
            with client_side.wrap_socket(
                sock, server_hostname="127.0.0.1", do_handshake_on_connect=False
            ) as wrapped:
                await asyncio.to_thread(wrapped.do_handshake)
                wrapped.sendall(GET)
                await server.wait_until(lambda: server.bytes_sent > 0)
                await asyncio.sleep(0.02)
                assert 0 < server.bytes_sent < 500_000
                assert server.accepted[0].ended is None
        await server.wait_closed_by_client()


async def test_tls_ends_with_and_without_close_notify(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """`close` ends TLS in order; `cut` leaves out the close_notify, which strict clients notice."""

    async def ok_then_cut(conn: Connection) -> None:
        await conn.send(OK)
        conn.cut()

    server_side, client_side = tls
    client_side.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # which CPython 3.11.2 sets

    def receive(port: int) -> bytes:
        with (
            socket.create_connection(("127.0.0.1", port)) as sock,
            client_side.wrap_socket(
                sock, server_hostname="127.0.0.1", suppress_ragged_eofs=False
            ) as wrapped,
        ):
            wrapped.sendall(GET)
            with wrapped.makefile("rb") as file:
                return file.read()

    async with RawServer([ok_then_close, ok_then_cut], ssl=server_side) as server:
        assert server.base_url.startswith("https://")
        assert await asyncio.to_thread(receive, server.port) == OK
        with pytest.raises(ssl.SSLError, match=r"(?i)eof"):
            await asyncio.to_thread(receive, server.port)
    assert [request.raw for request in server.requests] == [GET, GET]
    assert [connection.ended for connection in server.accepted] == ["closed by server"] * 2
