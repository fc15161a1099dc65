"""Requests against real servers on loopback: what is sent, how failures look, what is retried."""

import asyncio
import gzip
import logging
import socket
import ssl
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from plangrep_async import (
    AsyncPlangrep,
    AuthenticationError,
    ConfigurationError,
    ConnectionFailed,
    IncompleteResponse,
    InvalidResponse,
    NotFound,
    PermissionDenied,
    PlangrepError,
    RateLimited,
    RequestTimeout,
    RetryPolicy,
    ServerError,
    Timeouts,
    TlsFailed,
)
from plangrep_async.errors import ApiStatusError
from tests.conftest import KEY, PROJECT, document, wire_job
from tests.raw_server import (
    CHUNKED,
    Connection,
    RawServer,
    Script,
    chunked,
    head,
    json_response,
    response,
)

Connect = Callable[..., AsyncPlangrep]
BODY = document([wire_job(number) for number in range(3)])
FIRST_JOB_END = len(document([wire_job(0)]).removesuffix(b"]}"))


def answer(data: bytes) -> Script:
    async def send(conn: Connection) -> None:
        await conn.send(data)

    return send


def status(code: int, *headers: tuple[str, str]) -> Script:
    return answer(
        json_response({"code": "some_code", "message": "Some text."}, status=code, headers=headers)
    )


fine = answer(response(BODY))


async def close(conn: Connection) -> None:
    conn.close()


async def reset(conn: Connection) -> None:
    conn.reset()


async def count(client: AsyncPlangrep) -> int:
    return len([job async for job in client.list_jobs(PROJECT)])


@pytest.mark.fault("H7")
@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
async def test_a_transient_status_is_tried_again(connect: Connect, code: int) -> None:
    """Two refusals of that kind and then a success: three requests, all jobs."""
    async with (
        RawServer([status(code), status(code), fine]) as server,
        connect(server.base_url) as client,
    ):
        assert await count(client) == 3


@pytest.mark.fault("H8")
@pytest.mark.parametrize(
    ("code", "error"),
    [
        (400, ApiStatusError),
        (401, AuthenticationError),
        (403, PermissionDenied),
        (404, NotFound),
        (409, ApiStatusError),
        (422, ApiStatusError),
        (501, ServerError),
    ],
)
async def test_a_final_status_is_asked_once(
    connect: Connect, code: int, error: type[ApiStatusError]
) -> None:
    """Such a status raises its class at once, with what the server said of it."""
    async with (
        RawServer([status(code, ("X-Request-Id", "req_7"))]) as server,
        connect(server.base_url) as client,
    ):
        with pytest.raises(error, match="Some text") as caught:
            await count(client)
        assert type(caught.value) is error
        facts = (caught.value.status, caught.value.code, caught.value.request_id)
        assert facts == (code, "some_code", "req_7")
        assert (caught.value.project_id, caught.value.attempts) == (PROJECT, 1)


@pytest.mark.fault("H7")
async def test_the_last_error_is_raised_when_patience_ends(connect: Connect) -> None:
    """After the policy's attempts the last answer is what is raised, with the attempts made."""
    async with (
        RawServer([status(500), status(502), status(503)]) as server,
        connect(server.base_url) as client,
    ):
        with pytest.raises(ServerError) as caught:
            await count(client)
        assert (caught.value.status, caught.value.attempts) == (503, 3)


@pytest.mark.fault("H6")
async def test_retry_after_is_a_floor(connect: Connect) -> None:
    """The next request comes no earlier than the server asked for."""
    async with (
        RawServer([status(429, ("Retry-After", "0.2")), fine]) as server,
        connect(server.base_url) as client,
    ):
        assert await count(client) == 3
        first, second = server.requests
        assert second.arrived - first.arrived >= 0.2


@pytest.mark.fault("H6")
async def test_a_retry_after_beyond_the_budget_raises_at_once(connect: Connect) -> None:
    """Nobody waits an hour unasked: the error says how long it would have been."""
    async with (
        RawServer([status(429, ("Retry-After", "3600"))]) as server,
        connect(server.base_url) as client,
    ):
        with pytest.raises(RateLimited) as caught:
            await count(client)
        assert caught.value.retry_after == 3600.0


@pytest.mark.fault("H2")
@pytest.mark.parametrize("script", [close, reset], ids=["FIN", "RST"])
async def test_requests_on_the_wire_equal_attempts(connect: Connect, script: Script) -> None:
    """A connection that ends before the headers counts as one attempt, and is one request."""
    async with RawServer([script, script, script]) as server, connect(server.base_url) as client:
        with pytest.raises(ConnectionFailed) as caught:
            await count(client)
        assert len(server.requests) == caught.value.attempts == 3


@pytest.mark.fault("H11")
async def test_a_connection_closed_while_idle_costs_one_attempt(connect: Connect) -> None:
    """A server that closes a kept connection between two requests is no failure to the caller."""

    async def fine_then_close(conn: Connection) -> None:
        await conn.send(response(BODY))
        conn.close()

    async with RawServer([fine_then_close, fine]) as server, connect(server.base_url) as client:
        assert await count(client) == 3
        assert await count(client) == 3
        assert server.connections == 2


async def test_one_connection_serves_many_requests(connect: Connect) -> None:
    """A list that was read to its end leaves its connection for the next one."""
    async with RawServer([fine, fine, fine]) as server, connect(server.base_url) as client:
        assert [await count(client) for _ in range(3)] == [3, 3, 3]
        assert server.connections == 1


@pytest.mark.fault("C1")
async def test_nothing_listening_keeps_the_cause(connect: Connect) -> None:
    """A refused connection is a `ConnectionFailed` with the system's error as its cause."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with connect(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(ConnectionFailed, match="refused") as caught:
            await count(client)
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
        assert caught.value.attempts == 3


@pytest.mark.fault("C2")
async def test_an_unknown_host_is_a_connection_failure(connect: Connect) -> None:
    """A name that cannot be looked up says so."""
    async with connect("https://plangrep.invalid", retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(ConnectionFailed, match="looked up"):
            await count(client)


@pytest.mark.fault("H1", "H3")
async def test_a_server_that_never_answers_times_out(connect: Connect) -> None:
    """Waiting for the headers ends after `Timeouts.read`, also when they drip."""

    async def stall(conn: Connection) -> None:
        await conn.stall()

    async def drip(conn: Connection) -> None:
        await conn.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await asyncio.sleep(0.02)
            await conn.send(b"X-More: 1\r\n")

    for script in (stall, drip):
        async with (
            RawServer([script]) as server,
            connect(server.base_url, retry=RetryPolicy(attempts=1)) as client,
        ):
            started = time.monotonic()
            with pytest.raises(RequestTimeout, match="did not answer in time"):
                await count(client)
            assert time.monotonic() - started >= 0.3


@pytest.mark.fault("C4")
async def test_a_tls_handshake_that_stalls_ends_with_the_connect_time_out(
    connect: Connect,
) -> None:
    """A listener that never speaks is given up after `Timeouts.connect`."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        async with connect(
            f"https://127.0.0.1:{port}",
            retry=RetryPolicy(attempts=1),
            timeout=Timeouts(connect=0.1, read=30),
        ) as client:
            with pytest.raises(RequestTimeout, match="did not connect in time"):
                await count(client)


@pytest.mark.fault("C6")
async def test_tls_with_a_server_that_has_none_is_not_tried_again(connect: Connect) -> None:
    """`https` to a port that speaks clear text is a `TlsFailed`, once."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        writer.write(b"220 this is no TLS\r\n")
        writer.close()

    connections: list[int] = []
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"https://127.0.0.1:{port}") as client:
            with pytest.raises(TlsFailed, match="no TLS with this server"):
                await count(client)
    assert connections == [1]


@pytest.mark.fault("H4")
@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    ],
)
async def test_broken_http_is_not_reported_as_a_status(connect: Connect, garbage: bytes) -> None:
    """aiohttp calls this a 400 of the server's; it is a connection that gave no usable answer."""

    async def send(conn: Connection) -> None:
        await conn.send(garbage)
        conn.close()

    async with (
        RawServer([send]) as server,
        connect(server.base_url, retry=RetryPolicy(attempts=1)) as client,
    ):
        with pytest.raises(ConnectionFailed) as caught:
            await count(client)
        assert KEY not in repr(caught.value.__context__)


@pytest.mark.fault("B11", "B12")
async def test_a_body_that_stops_arriving_times_out(connect: Connect) -> None:
    """Silence in the body, or a byte now and then, ends after `Timeouts.read` of waiting for it."""

    async def stall(conn: Connection) -> None:
        await conn.send(head(headers=[CHUNKED]) + chunked([b'{"jobs":['], terminator=False))
        await conn.stall()

    async def drip(conn: Connection) -> None:
        await conn.send(head(headers=[CHUNKED]) + chunked([b'{"jobs":['], terminator=False))
        while True:
            await asyncio.sleep(0.02)
            await conn.send(chunked([b" "], terminator=False))

    for script in (stall, drip):
        async with (
            RawServer([script]) as server,
            connect(server.base_url, retry=RetryPolicy(attempts=1)) as client,
        ):
            started = time.monotonic()
            with pytest.raises(RequestTimeout, match="stopped arriving"):
                await count(client)
            assert time.monotonic() - started >= 0.3
            await server.wait_closed_by_client(0)


@pytest.mark.fault("B5")
async def test_a_bad_chunk_size_in_a_later_packet_does_not_hang(connect: Connect) -> None:
    """aiohttp alone would wait for ever here; the read time-out ends it."""

    async def bad(conn: Connection) -> None:
        await conn.send(head(headers=[CHUNKED]) + chunked([BODY[:50]], terminator=False))
        await asyncio.sleep(0.05)
        await conn.send(b"zz\r\nwhatever")
        await conn.stall()

    async with (
        RawServer([bad]) as server,
        connect(server.base_url, retry=RetryPolicy(attempts=1)) as client,
    ):
        with pytest.raises(PlangrepError) as caught:
            await count(client)
        assert isinstance(caught.value, RequestTimeout | IncompleteResponse)


@pytest.mark.fault("B1", "B3", "B4")
@pytest.mark.parametrize("end", [close, reset], ids=["FIN", "RST"])
@pytest.mark.parametrize("framing", ["Content-Length", "chunks"])
@pytest.mark.parametrize("cut", [0, 1, 10, 40, FIRST_JOB_END - 1])
async def test_a_body_that_breaks_before_the_first_job_is_complete_is_tried_again(
    connect: Connect, cut: int, framing: str, end: Script
) -> None:
    """A body that ends too early, however it does, costs one more request and no job."""
    whole = response(BODY)
    begun = whole[: len(whole) - len(BODY) + cut]
    if framing == "chunks":
        begun = head(headers=[CHUNKED]) + chunked([BODY[:cut]], terminator=False)

    async def short(conn: Connection) -> None:
        await conn.send(begun)
        await end(conn)

    async with RawServer([short, fine]) as server, connect(server.base_url) as client:
        jobs = [job.id async for job in client.list_jobs(PROJECT)]
        assert jobs == ["job_000000", "job_000001", "job_000002"]
        assert len(server.requests) == 2


async def test_compressed_bodies_are_read(connect: Connect) -> None:
    """gzip and deflate are asked for, and understood."""
    packed = {"gzip": gzip.compress(BODY), "deflate": zlib.compress(BODY)}
    for encoding, body in packed.items():
        script = answer(response(body, headers=[("Content-Encoding", encoding)]))
        async with RawServer([script]) as server, connect(server.base_url) as client:
            assert await count(client) == 3


@pytest.mark.fault("B8")
async def test_a_broken_compressed_body_is_an_invalid_response(connect: Connect) -> None:
    """What was announced as gzip and is none is refused, and not tried again."""
    script = answer(response(b"no gzip at all", headers=[("Content-Encoding", "gzip")]))
    async with RawServer([script]) as server, connect(server.base_url) as client:
        with pytest.raises(InvalidResponse, match="compressed body is broken"):
            await count(client)


@pytest.mark.fault("B9")
@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
async def test_an_encoding_that_was_not_asked_for_is_refused(
    connect: Connect, encoding: str
) -> None:
    """Another Content-Encoding is refused by its name, before the body is read."""
    script = answer(response(BODY, headers=[("Content-Encoding", encoding)]))
    async with RawServer([script]) as server, connect(server.base_url) as client:
        with pytest.raises(InvalidResponse, match="was not asked for"):
            await count(client)


@pytest.mark.fault("X1")
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(connect: Connect, code: int) -> None:
    """The key goes to the server that was named, and to no other."""
    async with RawServer([]) as other:
        script = answer(response(status=code, headers=[("Location", other.url("/"))]))
        async with RawServer([script]) as server, connect(server.base_url) as client:
            with pytest.raises(InvalidResponse, match="redirects are not followed"):
                await count(client)


@pytest.mark.fault("H9")
@pytest.mark.parametrize("code", [201, 204, 206])
async def test_another_success_is_not_the_promised_answer(connect: Connect, code: int) -> None:
    """A status such as 204 or 206 is an error, and not an empty list."""
    async with (
        RawServer([answer(head(code, headers=[("Content-Length", "0")]))]) as server,
        connect(server.base_url) as client,
    ):
        with pytest.raises(InvalidResponse, match=f"answered {code}"):
            await count(client)


@pytest.mark.fault("H10")
async def test_the_body_of_an_error_is_read_up_to_a_bound(connect: Connect) -> None:
    """An endless error page does not hold the client, and its connection is closed."""

    async def endless(conn: Connection) -> None:
        await conn.send(head(404, headers=[CHUNKED]))
        while True:
            await conn.send(chunked([b"no " * 5000], terminator=False))

    async with (
        RawServer([endless], send_buffer_bytes=16 * 1024) as server,
        connect(server.base_url) as client,
    ):
        with pytest.raises(NotFound) as caught:
            await count(client)
        await server.wait_closed_by_client(0)
        assert server.bytes_sent < 2_000_000
        assert len(str(caught.value)) < 1000


@pytest.mark.fault("H10")
async def test_the_body_of_an_error_that_stalls_does_not_hide_the_status(connect: Connect) -> None:
    """The status is what counts: the rest is waited for no longer than `Timeouts.read`."""

    async def stall(conn: Connection) -> None:
        await conn.send(head(403, headers=[CHUNKED]) + chunked([b'{"code":'], terminator=False))
        await conn.stall()

    async with RawServer([stall]) as server, connect(server.base_url) as client:
        with pytest.raises(PermissionDenied):
            await count(client)


@pytest.mark.fault("X4")
async def test_a_key_that_a_server_sends_back_is_not_shown(connect: Connect) -> None:
    """An error text that quotes the request must not carry the key into a log."""
    script = answer(json_response({"message": f"bad key {KEY}!"}, status=401))
    async with RawServer([script]) as server, connect(server.base_url) as client:
        with pytest.raises(AuthenticationError, match=r"bad key \[API key\]!") as caught:
            await count(client)
        assert KEY not in repr(caught.value)


async def test_a_key_function_is_asked_again_after_a_401_once(connect: Connect) -> None:
    """A rotated key is fetched and used; a second refusal is final."""
    keys = iter(["pgk_old", "pgk_new", "pgk_newer"])

    async def next_key() -> str:
        return next(keys)

    async with (
        RawServer([status(401), fine, fine, status(401), status(401)]) as server,
        connect(server.base_url, api_key=next_key) as client,
    ):
        assert await count(client) == 3
        assert await count(client) == 3
        with pytest.raises(AuthenticationError):
            await count(client)
        assert [request.headers["Authorization"] for request in server.requests] == [
            "Bearer pgk_old",
            "Bearer pgk_new",
            "Bearer pgk_new",
            "Bearer pgk_new",
            "Bearer pgk_newer",
        ]


async def test_the_401_of_a_request_is_no_answer_to_another_one(connect: Connect) -> None:
    """A 429 behind it costs an attempt: nobody else was answered meanwhile."""
    keys = map("pgk_{}".format, range(99))
    async with (
        RawServer([status(401), status(429)] * 3) as server,
        connect(server.base_url, api_key=lambda: next(keys)) as client,
    ):
        with pytest.raises(RateLimited) as caught:
            await count(client)
        assert caught.value.attempts == 3
        assert len(server.requests) == 6


@pytest.mark.fault("X3")
@pytest.mark.parametrize("key", ["", None, "pgk_live_1\n", "pgk_live_1\r\nX-Evil: 1"])
async def test_a_key_function_that_returns_no_key_is_refused(
    connect: Connect, key: str | None
) -> None:
    """What cannot be a key is a `ConfigurationError` at the first step, before any request."""

    def no_key() -> Any:
        asked.append(key)
        return key

    asked: list[str | None] = []
    async with RawServer([]) as server, connect(server.base_url, api_key=no_key) as client:
        stream = client.list_jobs(PROJECT)
        assert asked == []
        with pytest.raises(ConfigurationError, match="API key") as caught:
            await anext(stream)
        assert asked == [key]
        assert "pgk_live_1" not in repr(caught.value)
        assert server.connections == 0


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "error",
    [FileNotFoundError(2, "No such file", "key.txt"), ValueError("no key"), KeyError("vault")],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_of_a_key_function_is_raised_as_it_is(
    connect: Connect, error: Exception, is_async: bool
) -> None:
    """Whatever it raises is the caller's own: the very error comes out, and is not tried again."""

    def failing() -> str:
        asked.append(1)
        raise error

    async def failing_later() -> str:
        await asyncio.sleep(0)
        return failing()

    asked: list[int] = []
    api_key = failing_later if is_async else failing
    async with RawServer([]) as server, connect(server.base_url, api_key=api_key) as client:
        with pytest.raises(type(error)) as caught:
            await anext(client.list_jobs(PROJECT))
        assert caught.value is error
        assert asked == [1]
        assert server.connections == 0


async def test_a_key_function_may_take_longer_than_the_time_outs(connect: Connect) -> None:
    """The time-outs are for the network: a vault that answers slowly does not run into them."""

    async def slow() -> str:
        asked.append(1)
        await asyncio.sleep(0.5)
        return KEY

    asked: list[int] = []
    async with (
        RawServer(fine) as server,
        connect(server.base_url, api_key=slow, timeout=Timeouts(connect=0.1, read=0.1)) as client,
    ):
        assert await count(client) == 3
        assert asked == [1]


@pytest.mark.fault("X8")
async def test_cookies_are_not_kept(connect: Connect) -> None:
    """What one answer sets is not sent with the next request."""
    sets_cookie = answer(response(BODY, headers=[("Set-Cookie", "tenant=1")]))
    async with (
        RawServer([sets_cookie, fine]) as server,
        connect(f"http://localhost:{server.port}") as client,  # jars take none from an address
    ):
        await count(client)
        await count(client)
        assert "Cookie" not in server.requests[1].headers


@pytest.mark.fault("X7")
@pytest.mark.parametrize("trust_env", [False, True])
async def test_proxies_of_the_environment_are_an_option(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, trust_env: bool
) -> None:
    """`HTTP_PROXY` counts only where `trust_env` asks for it: then the proxy gets the request."""
    for name in ("http_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with (
        RawServer([fine] if trust_env else []) as proxy,
        RawServer([] if trust_env else [fine]) as server,
    ):
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
        async with connect(server.base_url, trust_env=trust_env) as client:
            assert await count(client) == 3
        path = f"/projects/{PROJECT}/jobs"
        # RFC 9112, section 3.2.2: a proxy is sent the whole address.
        targets = [server.url(path)] if trust_env else []
        assert [request.target for request in proxy.requests] == targets
        assert server.connections == (not trust_env)


async def cut(conn: Connection) -> None:
    await conn.send(response(BODY[:-1], content_length=False))
    conn.close()


@pytest.mark.fault("X10")
@pytest.mark.parametrize(
    ("failing", "reason"),
    [
        (status(503), " answered 503 some_code"),
        (close, ": the server closed the connection without an answer"),
        (answer(response(BODY[:-1])), ": the answer ended too early (behind its list of 3)"),
        (cut, ": the answer ended too early (behind its list of 3)"),
    ],
)
async def test_each_retry_is_one_line_in_the_log(
    connect: Connect, caplog: pytest.LogCaptureFixture, failing: Script, reason: str
) -> None:
    """The line has method, path, attempt, wait and reason, and never the key."""
    caplog.set_level(logging.INFO, logger="plangrep_async")
    async with RawServer([failing, fine]) as server, connect(server.base_url) as client:
        assert await count(client) == 3
    (record,) = [one for one in caplog.records if one.name == "plangrep_async"]
    message = record.getMessage()
    assert message.startswith("attempt 1 failed, next one in 0.00 s: GET http://127.0.0.1:")
    assert f"/projects/{PROJECT}/jobs{reason}" in message
    assert KEY not in message
    assert "\n" not in message


@pytest.mark.fault("C5", "X6")
async def test_an_untrusted_certificate_is_not_tried_again(connect: Connect, tmp_path: Any) -> None:
    """A certificate that nobody vouches for ends in `TlsFailed`; a context of one's own helps."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with RawServer([fine], ssl=context) as server:
        async with connect(server.base_url) as client:
            with pytest.raises(TlsFailed, match="certificate is not trusted"):
                await count(client)
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        async with connect(server.base_url, ssl=trusting) as client:
            assert await count(client) == 3


@pytest.mark.fault("X2")
@pytest.mark.parametrize("path", ["/projects/../jobs", "/projects/./jobs", "/..", "/a/."])
async def test_a_path_that_leads_elsewhere_is_refused(connect: Connect, path: str) -> None:
    """Whatever an id let through: a path with a step up, or in place, is not sent."""
    async with RawServer([]) as server, connect(server.base_url) as client:
        with pytest.raises(ConfigurationError):
            await client._lifetime.transport.open(path)
        assert server.connections == 0
