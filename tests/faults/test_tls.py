"""C4 to C6: handshakes that stall, break or must not succeed; what is retried of that, and not."""

import asyncio
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from plangrep_async import AsyncPlangrep, ConnectionFailed, RequestTimeout, Timeouts, TlsFailed
from tests.conftest import PROJECT, document, wire_job
from tests.faults.addresses import serving
from tests.faults.certificates import (
    BAD,
    ask_for_certificate,
    for_client,
    for_server,
    refusing,
    set_version,
)
from tests.faults.provoked import sends
from tests.faults.streams import nothing_left
from tests.raw_server import Connection, RawServer, response
from tests.test_stream import ids
from tests.toxic_proxy import Toxic, ToxicProxy

Connect = Callable[..., AsyncPlangrep]

BODY = document([wire_job(number) for number in range(3)])
IDS = [f"job_{number:06}" for number in range(3)]
ANSWER = response(BODY)
FIRST_JOB_END = ANSWER.index(b'{"id": "job_000001"')
IMPATIENT = Timeouts(connect=0.1, read=30.0)
BOUND = 5.0  # seconds: far above what is due, far below `read`
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
HELLO = 20  # bytes, which are less than a server's part of the handshake


@pytest.mark.fault("C4")
async def test_the_time_for_connecting_covers_the_handshake(connect: Connect) -> None:
    """A server that accepts and is silent is given up after `Timeouts.connect`, and asked again."""
    started = time.monotonic()
    async with nothing_left(), RawServer([]) as server:
        url = f"https://127.0.0.1:{server.port}"
        async with connect(url, timeout=IMPATIENT) as client:
            with pytest.raises(RequestTimeout, match="did not connect in time") as caught:
                await ids(client)
            for number in range(3):
                await server.wait_closed_by_client(number)
        assert server.connections == caught.value.attempts == 3
    assert 0.29 <= time.monotonic() - started < BOUND


@pytest.mark.fault("C4")
@pytest.mark.parametrize("end", ["stall", "cut", "reset"])
async def test_a_handshake_that_stops_half_way_is_tried_again(connect: Connect, end: Any) -> None:
    """Whether nothing more comes, FIN or RST: it costs one attempt, and all jobs come."""
    toxic = Toxic(end=end, after_bytes=HELLO)
    async with (
        nothing_left(),
        RawServer([sends(ANSWER)], ssl=for_server()) as server,
        ToxicProxy(server.port, [toxic]) as proxy,
        connect(
            f"https://127.0.0.1:{proxy.port}",
            ssl=for_client(),
            timeout=Timeouts(connect=0.5, read=30.0),
        ) as client,
    ):
        assert await ids(client) == IDS
        assert (proxy.connections, server.connections, len(server.requests)) == (2, 1, 1)
        assert proxy.links[0].bytes_forwarded == HELLO


@pytest.mark.fault("C5")
@pytest.mark.parametrize("version", [V12, V13], ids=lambda version: version.name)
@pytest.mark.parametrize(("options", "said"), BAD.values(), ids=BAD)
async def test_a_bad_certificate_ends_it_before_anything_is_sent(
    connect: Connect, options: dict[str, Any], said: str, version: ssl.TLSVersion
) -> None:
    """One connection, no attempt more, no byte of a request: `TlsFailed` says what is wrong."""
    context = for_server(**options)
    set_version(context, version)
    async with (
        nothing_left(),
        RawServer([], ssl=context) as server,
        ToxicProxy(server.port) as proxy,
        connect(f"https://127.0.0.1:{proxy.port}", ssl=for_client()) as client,
    ):
        with pytest.raises(TlsFailed, match="certificate is not trusted") as caught:
            await ids(client)
        assert said in str(caught.value)
        assert (caught.value.attempts, caught.value.project_id) == (1, PROJECT)
        # The server counts connections whose handshake succeeded, and so could carry a request.
        assert (proxy.connections, server.connections, server.requests) == (1, 0, [])


@pytest.mark.fault("C5")
@pytest.mark.parametrize("version", [V12, V13], ids=lambda version: version.name)
async def test_jobs_stream_through_a_connection_that_is_trusted(
    connect: Connect, version: ssl.TLSVersion
) -> None:
    """With a good certificate a job is there as soon as its bytes are, and the next list, too."""
    go_on = asyncio.Event()

    async def in_two_steps(conn: Connection) -> None:
        await conn.send(ANSWER[:FIRST_JOB_END])
        await go_on.wait()
        await conn.send(ANSWER[FIRST_JOB_END:])

    context = for_server()
    set_version(context, version)
    async with (
        nothing_left(),
        RawServer([in_two_steps, sends(ANSWER)], ssl=context) as server,
        connect(server.base_url, ssl=for_client()) as client,
    ):
        jobs = client.list_jobs(PROJECT)
        seen = [(await anext(jobs)).id]
        go_on.set()
        seen += [job.id async for job in jobs]
        assert (seen, await ids(client)) == (IDS, IDS)
        assert server.connections == 1


def no_shared_version(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    set_version(server, V12)
    set_version(client, V13)


def no_certificate_of_the_client(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    set_version(server, V12)
    ask_for_certificate(server)


def no_certificate_seen_late(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    set_version(server, V13)  # where the client is done with its part before the server has looked
    ask_for_certificate(server)


@pytest.mark.fault("C5")
@pytest.mark.parametrize(
    ("disagree", "reason"),
    [
        (no_shared_version, "UNSUPPORTED_PROTOCOL"),
        (no_certificate_of_the_client, "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        (no_certificate_seen_late, "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
    ],
)
async def test_an_alert_of_the_server_is_final(
    connect: Connect, disagree: Callable[[ssl.SSLContext, ssl.SSLContext], None], reason: str
) -> None:
    """A server that refuses the handshake, and says so, would do it again: one connection."""
    server_side, client_side = for_server(), for_client()
    disagree(server_side, client_side)
    async with nothing_left(), refusing(server_side) as (url, refusals):
        async with connect(url, ssl=client_side) as client:
            with pytest.raises(ConnectionFailed) as caught:
                await ids(client)
        assert type(caught.value) is TlsFailed
        assert "no TLS with this server" in str(caught.value)
        assert (caught.value.attempts, refusals) == (1, [reason])


ALERT = bytes.fromhex("15 0301 0002 02 46")  # RFC 8446, section 6: fatal, protocol_version
BAD_REQUEST = response(b"This is no HTTP.", status=400, headers=[("Connection", "close")])


@pytest.mark.fault("C6")
async def test_plain_http_to_a_tls_port_ends_in_a_typed_error(connect: Connect) -> None:
    """The server sees no handshake and closes: as many connections as attempts, no request."""
    started = time.monotonic()
    async with (
        nothing_left(),
        RawServer([], ssl=for_server()) as server,
        ToxicProxy(server.port) as proxy,
        connect(proxy.base_url, timeout=Timeouts(connect=30.0, read=30.0)) as client,
    ):
        with pytest.raises(ConnectionFailed, match=r"without an answer|connection lost") as caught:
            await ids(client)
        assert type(caught.value) is ConnectionFailed
        assert proxy.connections == caught.value.attempts == 3
        assert (server.connections, server.requests) == (0, [])
    assert time.monotonic() - started < BOUND


@pytest.mark.fault("C6")
@pytest.mark.parametrize(
    ("scheme", "words", "expected"),
    [
        ("http", ALERT, (ConnectionFailed, "no valid HTTP|without an answer", 3)),
        ("https", BAD_REQUEST, (TlsFailed, "no TLS with this server", 1)),
        ("https", b"220 smtp.example ESMTP\r\n", (TlsFailed, "no TLS with this server", 1)),
        ("https", b"", (RequestTimeout, "did not connect in time", 3)),
    ],
    ids=["alert to HTTP", "HTTP to TLS", "SMTP to TLS", "nothing to TLS"],
)
async def test_words_of_another_protocol_end_in_a_typed_error(
    connect: Connect, scheme: str, words: bytes, expected: tuple[type[ConnectionFailed], str, int]
) -> None:
    """What is not TLS will not become TLS; broken HTTP and silence may be a passing fault."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(65_536))
        if words:
            writer.write(words)
            writer.write_eof()
        with suppress(ConnectionError):
            await reader.read()  # until the client has gone

    error, said, attempts = expected
    started = time.monotonic()
    timeout = Timeouts(connect=0.1 if error is RequestTimeout else 30.0, read=30.0)
    async with (
        nothing_left(),
        serving(answer) as port,
        connect(f"{scheme}://127.0.0.1:{port}", timeout=timeout) as client,
    ):
        with pytest.raises(ConnectionFailed, match=said) as caught:
            await ids(client)
    assert type(caught.value) is error
    assert caught.value.attempts == len(heard) == attempts
    # A TLS client speaks first, in records of the type 22; a request would begin with its method.
    assert {data[:1] for data in heard} == {b"G" if scheme == "http" else b"\x16"}
    assert time.monotonic() - started < BOUND
