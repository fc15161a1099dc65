"""The proxy passes bytes on exactly, spoils what it is told to, and says so: from plain sockets."""

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from tests.raw_server import Connection, RawServer
from tests.toxic_proxy import CLEAN, Toxic, ToxicProxy

GET = b"GET / HTTP/1.1\r\n\r\n"
BODY = random.Random(1).randbytes(5_000_000)


async def send_body(conn: Connection) -> None:
    await conn.send(BODY)
    conn.close()


async def send_for_ever(conn: Connection) -> None:
    while True:
        await conn.send(bytes(100_000))


async def stall(conn: Connection) -> None:
    await conn.stall()


class Client:
    """A plain socket that keeps what it got before an error, as asyncio's streams do not."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self.reads = 0

    async def read_to_end(self) -> bytes:
        """Read until the server's FIN and return all there was."""
        while data := await asyncio.get_running_loop().sock_recv(self.sock, 1 << 20):
            self.received += data
            self.reads += 1
        return bytes(self.received)


@asynccontextmanager
async def get(port: int, *, receive_buffer_bytes: int | None = None) -> AsyncIterator[Client]:
    """Send one request and leave the reading to the test."""
    with socket.socket() as sock:
        sock.setblocking(False)
        if receive_buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, GET)
        yield Client(sock)


@pytest.mark.parametrize(
    "toxic",
    [
        CLEAN,
        Toxic(latency=0.0001),
        Toxic(bytes_per_second=100e6),
        Toxic(slice_bytes=5_003),
        Toxic(latency=0.0001, bytes_per_second=500e6, slice_bytes=20_011),
        Toxic(end="cut", after_bytes=len(BODY)),
    ],
)
async def test_what_is_not_cut_arrives_exactly(toxic: Toxic) -> None:
    """Five megabytes come through each toxic byte for byte, and end with the server's FIN."""
    async with (
        RawServer([send_body]) as server,
        ToxicProxy(server.port, [toxic]) as proxy,
        get(proxy.port) as client,
    ):
        assert await client.read_to_end() == BODY
        assert server.requests[0].raw == GET
        assert server.bytes_sent == proxy.bytes_forwarded == len(BODY)
    assert proxy.connections == 1
    assert proxy.links[0].toxic == toxic
    assert proxy.links[0].triggered


async def test_connections_are_clean_after_the_last_toxic() -> None:
    """Toxics go to connections in order of arrival; those after them get none."""
    async with (
        RawServer(send_body) as server,
        ToxicProxy(server.port, [CLEAN, Toxic(end="cut", after_bytes=7)]) as proxy,
    ):
        received = []
        for _ in range(3):
            async with get(proxy.port) as client:
                received.append(await client.read_to_end())
    assert received == [BODY, BODY[:7], BODY]
    assert [link.bytes_forwarded for link in proxy.links] == [len(BODY), 7, len(BODY)]
    assert [link.toxic.end for link in proxy.links] == [None, "cut", None]


@pytest.mark.parametrize("after_bytes", [0, 1, 1_000, 100_000])
async def test_a_cut_is_a_clean_end_after_exactly_n_bytes(after_bytes: int) -> None:
    """FIN follows the nth byte, and the server's connection is closed as well."""
    toxic = Toxic(end="cut", after_bytes=after_bytes)
    async with RawServer([send_for_ever]) as server, ToxicProxy(server.port, [toxic]) as proxy:
        async with get(proxy.port) as client:
            assert await client.read_to_end() == bytes(after_bytes)
        await server.wait_closed_by_client()
    assert proxy.bytes_forwarded == after_bytes


@pytest.mark.parametrize("after_bytes", [0, 1, 1_000])
async def test_a_reset_follows_exactly_n_bytes(after_bytes: int) -> None:
    """A client that reads gets n bytes, then ConnectionResetError; the server is reset too."""
    toxic = Toxic(end="reset", after_bytes=after_bytes)
    async with RawServer([send_for_ever]) as server, ToxicProxy(server.port, [toxic]) as proxy:
        async with get(proxy.port) as client:
            with pytest.raises(ConnectionResetError):
                await client.read_to_end()
            assert client.received == bytes(after_bytes)
        assert await server.wait_closed_by_client() == "reset by client"
    assert proxy.links[0].triggered


async def test_a_stall_stays_open_until_the_client_closes() -> None:
    """After n bytes nothing more comes, not even an end; the client's close reaches the server."""
    toxic = Toxic(end="stall", after_bytes=1_000)
    async with RawServer([send_for_ever]) as server, ToxicProxy(server.port, [toxic]) as proxy:
        async with get(proxy.port) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.read_to_end(), 0.03)
            assert client.received == bytes(1_000)
            assert server.accepted[0].ended is None
        await server.wait_closed_by_client()
    assert proxy.bytes_forwarded == 1_000


@pytest.mark.parametrize(
    ("toxic", "seconds"),
    [
        (Toxic(bytes_per_second=50e6), len(BODY) / 50e6),
        (Toxic(bytes_per_second=25e6), len(BODY) / 25e6),
        (Toxic(latency=0.001), len(BODY) / 65_536 * 0.001),
        (Toxic(latency=0.001, slice_bytes=50_000), len(BODY) / 50_000 * 0.001),
    ],
)
async def test_slow_links_take_their_time(toxic: Toxic, seconds: float) -> None:
    """A body takes at least its length over the rate, or the latency of each piece."""
    async with (
        RawServer([send_body]) as server,
        ToxicProxy(server.port, [toxic]) as proxy,
        get(proxy.port) as client,
    ):
        start = time.monotonic()
        assert await client.read_to_end() == BODY
        assert time.monotonic() - start > 0.8 * seconds  # an event loop's clock may be coarse


async def test_a_slow_link_drips() -> None:
    """A rate far below one read's length delivers a little at once, not nothing for minutes."""
    async with (
        RawServer([send_body]) as server,
        ToxicProxy(server.port, [Toxic(bytes_per_second=1_000)]) as proxy,
        get(proxy.port) as client,
    ):
        first = await asyncio.get_running_loop().sock_recv(client.sock, 1 << 20)
        assert BODY.startswith(first)
        assert 0 < proxy.bytes_forwarded < 10_000


async def test_slices_arrive_apart() -> None:
    """A client that reads all the time sees about as many reads as there are slices."""
    async with (
        RawServer([send_body]) as server,
        ToxicProxy(server.port, [Toxic(slice_bytes=4_000)]) as proxy,
        get(proxy.port) as client,
    ):
        assert await client.read_to_end() == BODY
        assert client.reads > len(BODY) / 4_000 / 4


async def test_a_client_that_does_not_read_holds_the_server_back() -> None:
    """The proxy passes back-pressure on: an endless body stops somewhere, and stays stopped."""
    async with RawServer([send_for_ever]) as server, ToxicProxy(server.port) as proxy:
        async with get(proxy.port, receive_buffer_bytes=20_000):
            sent = -1
            while sent < server.bytes_sent < 100_000_000:
                sent = server.bytes_sent
                await asyncio.sleep(0.05)
            assert sent == server.bytes_sent
            assert server.accepted[0].ended is None
        assert await server.wait_closed_by_client() == "reset by client"


async def test_only_what_the_kernel_took_counts_as_forwarded() -> None:
    """What was counted can all be read after the proxy has gone."""
    async with RawServer([send_for_ever]) as server, AsyncExitStack() as stack:
        async with ToxicProxy(server.port) as proxy:
            client = await stack.enter_async_context(get(proxy.port, receive_buffer_bytes=20_000))
            await server.wait_until(lambda: server.bytes_sent > 3_000_000)
            await asyncio.sleep(0.02)
        assert len(await client.read_to_end()) >= proxy.bytes_forwarded > 0


async def test_a_reset_server_resets_the_client() -> None:
    """RST from the server arrives as RST, a server that is not there as well."""

    async def reset(conn: Connection) -> None:
        conn.reset()

    async with (
        RawServer([reset]) as server,
        ToxicProxy(server.port) as proxy,
        get(proxy.port) as client,
    ):
        with pytest.raises(ConnectionResetError):
            await client.read_to_end()
    async with ToxicProxy(server.port) as proxy, get(proxy.port) as client:
        with pytest.raises(ConnectionResetError):
            await client.read_to_end()


async def test_a_toxic_without_a_connection_fails_the_test() -> None:
    """A toxic that nobody met is an error, and it is named."""
    with pytest.raises(AssertionError, match=r"no connection for Toxic\(latency=0.5"):
        async with ToxicProxy(1, [Toxic(latency=0.5)]):
            pass


@pytest.mark.parametrize(
    ("toxic", "part"),
    [
        (Toxic(end="reset", after_bytes=len(BODY) + 1), "end"),
        (Toxic(slice_bytes=len(BODY)), "slice_bytes"),
        (Toxic(slice_bytes=100_000, bytes_per_second=1e9), "slice_bytes"),
    ],
)
async def test_a_toxic_without_effect_fails_the_test(toxic: Toxic, part: str) -> None:
    """A toxic that a connection got but that changed nothing is an error, unless told otherwise."""
    async with RawServer(send_body) as server:
        with pytest.raises(AssertionError, match=rf"did not trigger: connection 0: \['{part}'\]"):
            async with ToxicProxy(server.port, [toxic]) as proxy, get(proxy.port) as client:
                await client.read_to_end()
        async with (
            ToxicProxy(server.port, [toxic], require_triggered=False) as proxy,
            get(proxy.port) as client,
        ):
            await client.read_to_end()
        assert not proxy.links[0].triggered


async def test_an_exception_on_its_way_is_not_replaced_by_an_idle_toxic() -> None:
    """The test's own failure wins, and needs no note on what it kept from happening."""
    with pytest.raises(KeyError) as caught:
        async with ToxicProxy(1, [Toxic(latency=0.5)]):
            raise KeyError
    assert not hasattr(caught.value, "__notes__")


async def test_leaving_ends_open_connections() -> None:
    """Leaving the block closes both sides and leaves no task."""
    before = asyncio.all_tasks()
    async with RawServer([stall]) as server:
        async with AsyncExitStack() as stack:
            async with ToxicProxy(server.port) as proxy:
                client = await stack.enter_async_context(get(proxy.port))
                await server.wait_until(lambda: len(server.requests) == 1)
            assert await client.read_to_end() == b""
        assert await server.wait_closed_by_client() == "closed by client"
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("turns", range(10))
async def test_leaving_ends_connections_just_arrived(turns: int) -> None:
    """Nothing stays open, however far the event loop has come with accepting a connection."""
    async with RawServer([]) as server:
        async with ToxicProxy(server.port) as proxy:
            sock = socket.create_connection(("127.0.0.1", proxy.port))
            for _ in range(turns):
                await asyncio.sleep(0)
        sock.setblocking(False)  # the end is there, not to come
        with sock, suppress(ConnectionResetError):
            assert sock.recv(1) == b""
