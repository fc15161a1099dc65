"""C1 to C3, C8, C9: what keeps a client from reaching a server, and what it does then."""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from plangrep_async import (
    AsyncPlangrep,
    ConnectionFailed,
    RequestTimeout,
    RetryPolicy,
    Timeouts,
)
from tests.conftest import PROJECT, document, wire_job
from tests.faults.addresses import FULL, Resolver, dead, make_room, serving
from tests.faults.provoked import sends
from tests.faults.streams import nothing_left
from tests.raw_server import Connection, RawServer, response
from tests.test_stream import ids

Connect = Callable[..., AsyncPlangrep]

ANSWER = response(document([wire_job(0)]), headers=[("Connection", "close")])
IDS = ["job_000000"]
ONCE = RetryPolicy(attempts=1)
IMPATIENT = Timeouts(connect=0.1, read=30.0)
BOUND = 5.0  # seconds: far above what is due, far below `read`
CLOCK = 0.002  # seconds: how much too early a timer of uvloop may seem to be


class Starts:
    """The times at which a client began to connect, in seconds of time.monotonic()."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.trace = aiohttp.TraceConfig()
        self.trace.on_connection_create_start.append(self.note)

    async def note(self, *_: Any) -> None:
        """Note one more; called by the session."""
        self.times.append(time.monotonic())

    @property
    def gaps(self) -> list[float]:
        """The time from each to the next."""
        return [later - earlier for earlier, later in pairwise(self.times)]


@pytest.mark.fault("C1")
async def test_a_refused_connection_is_tried_again_with_longer_waits(connect: Connect) -> None:
    """The waits double, the last refusal is the cause, and what is left of it all is the error."""
    starts, policy = Starts(), RetryPolicy(attempts=4, first_wait=0.02, max_wait=1.0)
    with dead("refused") as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        async with (
            nothing_left(),
            connect(url, retry=policy, trace_configs=[starts.trace]) as client,
        ):
            with pytest.raises(ConnectionFailed, match="Connection refused") as caught:
                await ids(client)
    error = caught.value
    assert type(error) is ConnectionFailed
    assert isinstance(error.__cause__, ConnectionRefusedError)
    assert (error.attempts, error.project_id, error.delivered) == (4, PROJECT, 0)
    # The jitter takes away up to half of a wait.
    for gap, least in zip(starts.gaps, [0.01, 0.02, 0.04], strict=True):
        assert gap >= least - CLOCK


@pytest.mark.fault("C1", "C3")
@pytest.mark.parametrize("kind", ["refused", FULL])
async def test_a_server_that_comes_up_is_reached_by_the_next_attempt(
    connect: Connect, kind: str
) -> None:
    """The port is dead for the first attempt only: one request arrives, and all jobs come."""
    starts, requests = Starts(), []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(ANSWER)

    async def come_up(*_: Any) -> None:
        if len(starts.times) == 2:
            if kind == "full":
                make_room(sock)
            await stack.enter_async_context(serving(answer, sock))

    starts.trace.on_connection_create_start.append(come_up)
    timeout = Timeouts(connect=0.3, read=30.0)
    with dead(kind) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        async with (
            nothing_left(),
            AsyncExitStack() as stack,
            connect(url, timeout=timeout, trace_configs=[starts.trace]) as client,
        ):
            assert await ids(client) == IDS
            assert (len(starts.times), len(requests)) == (2, 1)


@pytest.mark.fault("C3")
@pytest.mark.parametrize("kind", [FULL])
async def test_connecting_ends_on_time(connect: Connect, kind: str) -> None:
    """A server whose backlog is full is given up after `Timeouts.connect`, each time."""
    starts, started = Starts(), time.monotonic()
    with dead(kind) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        async with (
            nothing_left(),
            connect(url, timeout=IMPATIENT, trace_configs=[starts.trace]) as client,
        ):
            with pytest.raises(RequestTimeout, match="did not connect in time") as caught:
                await ids(client)
        assert time.monotonic() - started < BOUND
        make_room(sock)  # and nobody else got in
    assert len(starts.times) == caught.value.attempts == 3
    assert min(starts.gaps) >= IMPATIENT.connect - CLOCK


UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
LOOK_UPS = {
    "unknown": UNKNOWN,
    "no name server": socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    "no number": OSError(None, "DNS server returned answer with no data"),
}


@pytest.mark.fault("C2")
@pytest.mark.parametrize("fault", LOOK_UPS.values(), ids=LOOK_UPS)
async def test_a_failed_look_up_is_tried_again_and_keeps_the_cause(
    connect: Connect, fault: OSError
) -> None:
    """As often as the policy says; the cause of the error has the text of the resolver."""
    resolver, tried = Resolver(fault), []
    async with (
        nothing_left(),
        resolver.session(tried) as session,
        connect("https://plangrep.invalid", session=session) as client,
    ):
        with pytest.raises(ConnectionFailed, match="host name could not be looked up") as caught:
            await ids(client)
    assert type(caught.value) is ConnectionFailed
    assert resolver.asked == ["plangrep.invalid"] * 3
    assert caught.value.attempts == 3
    assert tried == []
    assert isinstance(caught.value.__cause__, OSError)
    assert str(fault.strerror) in str(caught.value.__cause__)


@pytest.mark.fault("C2")
async def test_a_look_up_that_works_the_second_time_is_no_failure(connect: Connect) -> None:
    """A failed look-up is not remembered: one request arrives, and all jobs come."""
    resolver = Resolver(UNKNOWN, ["127.0.0.1"])
    async with (
        nothing_left(),
        RawServer([sends(ANSWER)]) as server,
        resolver.session() as session,
        connect(f"http://localhost:{server.port}", session=session) as client,
    ):
        assert await ids(client) == IDS
        assert resolver.asked == ["localhost"] * 2


@pytest.mark.fault("C2")
async def test_the_time_for_connecting_covers_the_look_up(connect: Connect) -> None:
    """A name server that never answers ends in `RequestTimeout`, after `Timeouts.connect` each."""
    resolver, started = Resolver(None), time.monotonic()
    async with (
        nothing_left(),
        resolver.session() as session,
        connect("https://plangrep.invalid", session=session, timeout=IMPATIENT) as client,
    ):
        with pytest.raises(RequestTimeout, match="did not connect in time") as caught:
            await ids(client)
    assert caught.value.attempts == 3
    assert 3 * (IMPATIENT.connect - CLOCK) <= time.monotonic() - started < BOUND
    assert set(resolver.asked) == {"plangrep.invalid"}


@pytest.mark.fault("C8")
@pytest.mark.parametrize("kind", ["refused", FULL])
async def test_a_dead_address_costs_no_attempt_where_there_is_another(
    connect: Connect, kind: str
) -> None:
    """The second address is used, whether the first refuses or is silent: all jobs come."""
    resolver, tried = Resolver(["127.0.0.2", "127.0.0.1"]), []
    async with RawServer([sends(ANSWER)]) as server:
        with dead(kind, "127.0.0.2", server.port):
            async with (
                nothing_left(),
                resolver.session(tried) as session,
                connect(
                    f"http://localhost:{server.port}",
                    session=session,
                    retry=ONCE,
                    timeout=Timeouts(connect=BOUND, read=BOUND),
                ) as client,
            ):
                assert await ids(client) == IDS
        assert tried == ["127.0.0.2", "127.0.0.1"]
        assert (server.connections, len(server.requests)) == (1, 1)


async def close(conn: Connection) -> None:
    conn.close()


async def reset(conn: Connection) -> None:
    conn.reset()


@pytest.mark.fault("C9")
@pytest.mark.parametrize("failures", [(close, reset), (reset, close)], ids=["FIN RST", "RST FIN"])
@pytest.mark.parametrize("is_kept", [False, True], ids=["new connection", "kept connection"])
async def test_a_server_that_flaps_gets_one_request_per_attempt(
    connect: Connect, failures: tuple[Any, Any], is_kept: bool
) -> None:
    """Two failures and then an answer: three attempts and exactly three requests, and all jobs.

    aiohttp by itself would send again at once, on a connection that was kept above all.
    """
    begun: list[Any] = []

    async def note(*event: Any) -> None:
        begun.append(event)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(note)
    fine = sends(response(document([wire_job(0)])))
    async with (
        nothing_left(),
        RawServer([*([fine] if is_kept else []), *failures, fine]) as server,
        connect(server.base_url, trace_configs=[trace]) as client,
    ):
        if is_kept:
            assert await ids(client) == IDS
        assert await ids(client) == IDS
        assert len(begun) == len(server.requests) == 3 + is_kept
        assert server.connections == 3
