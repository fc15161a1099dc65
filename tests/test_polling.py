"""`wait_for_job`: when it asks, when it stops, and what it outlives."""

import asyncio
import json
import logging
import pickle
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from plangrep_async import (
    ApiStatusError,
    AsyncPlangrep,
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    IncompleteResponse,
    InvalidJob,
    InvalidResponse,
    Job,
    NotFound,
    PermissionDenied,
    PlangrepError,
    RateLimited,
    RequestTimeout,
    RetryPolicy,
    ServerError,
    TlsFailed,
    WaitTimeout,
)
from plangrep_async._polling import may_pass, poll_waits, wait_timeout
from plangrep_async.converter import make_converter
from plangrep_async.emulator import Emulator
from tests.conftest import KEY, TOKEN, wire_job
from tests.faults.bulk import PATIENT, refuses, wait_for
from tests.faults.streams import nothing_left, stall
from tests.raw_server import Connection, RawServer, Script, json_response, response
from tests.secrets import leaks

pytestmark = pytest.mark.fault("K13")

Connect = Callable[..., AsyncPlangrep]

ONCE = RetryPolicy(attempts=1)
TERMINAL = ("completed", "completed_with_errors", "failed", "cancelled", "expired")


def is_(status: str, **changes: Any) -> Script:
    """Say that the job is in this status."""

    async def send(conn: Connection) -> None:
        await conn.send(json_response({"job": wire_job(1, status=status, **changes)}))

    return send


async def resets(conn: Connection) -> None:
    conn.reset()


async def cuts(conn: Connection) -> None:
    await conn.send(response(b'{"job":'))


async def poll(
    client: AsyncPlangrep, *, interval: float = 0.002, patience: float | None = 5
) -> Job:
    """Wait as `wait_for_job` does, with an interval that the documentation would not allow."""
    return await client._documents.terminal_job("job_1", poll_waits(interval), patience=patience)


def test_waits_have_jitter_and_are_never_shorter_than_the_interval() -> None:
    """From the interval to a fifth more, and no two clients in step."""
    wait = poll_waits(10.0, Random(1))
    waits = [wait(None) for _ in range(1_000)]
    assert 10.0 <= min(waits) < 10.1
    assert 11.9 < max(waits) <= 12.0
    other, same = poll_waits(10.0, Random(2)), poll_waits(10.0, Random(1))
    assert [same(None) for _ in range(9)] == waits[:9] != [other(None) for _ in range(9)]
    assert poll_waits(5.0)(None) != poll_waits(5.0)(None)


def test_a_retry_after_is_a_floor() -> None:
    """A longer one lengthens the next wait, a shorter one does nothing."""
    wait = poll_waits(10.0, Random(1))
    longer = RateLimited("busy", status=429, retry_after=60.0)
    assert all(60.0 <= wait(longer) <= 66.0 for _ in range(100))
    for short in (
        RateLimited("busy", status=429, retry_after=3.0),
        ServerError("down", status=503),
        ConnectionFailed("refused"),
    ):
        assert all(10.0 <= wait(short) <= 12.0 for _ in range(100))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionFailed("x"), True),
        (RequestTimeout("x"), True),
        (IncompleteResponse("x"), True),
        (RateLimited("x", status=429), True),
        (ApiStatusError("x", status=408), True),
        *((ServerError("x", status=status), True) for status in (500, 501, 502, 503, 504, 520)),
        (TlsFailed("x"), False),
        (AuthenticationError("x", status=401), False),
        (PermissionDenied("x", status=403), False),
        (NotFound("x", status=404), False),
        (ApiStatusError("x", status=400), False),
        (InvalidResponse("x"), False),
        (InvalidJob("x", index=0), False),
        (ClientClosed("x"), False),
        (ConfigurationError("x"), False),
    ],
    ids=repr,
)
def test_what_is_outlived(error: PlangrepError, expected: bool) -> None:
    """What may pass, and nothing that a person has to mend."""
    assert may_pass(error) is expected


@pytest.mark.parametrize("interval", [4.999, 0, 0.001, -1, float("nan"), float("inf"), True, "15"])
async def test_an_interval_below_the_documented_one_is_refused(interval: Any) -> None:
    """As is what is no number of seconds; nothing is sent."""
    async with RawServer([]) as server, AsyncPlangrep(KEY, base_url=server.base_url) as client:
        with pytest.raises(ConfigurationError, match="poll_interval must be"):
            await client.wait_for_job("job_1", poll_interval=interval)
        assert server.connections == 0


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "5"])
async def test_a_timeout_that_is_none_is_refused(seconds: Any) -> None:
    """Nothing is sent; `None` is no time-out."""
    async with RawServer([]) as server, AsyncPlangrep(KEY, base_url=server.base_url) as client:
        with pytest.raises(ConfigurationError, match="timeout must be"):
            await client.wait_for_job("job_1", timeout=seconds)
        with pytest.raises(ConfigurationError, match="job id"):
            await client.wait_for_job("..")
        assert server.connections == 0


@pytest.mark.parametrize("status", TERMINAL)
async def test_a_job_that_is_terminal_is_given_at_once(connect: Connect, status: str) -> None:
    """With one request, however long the interval."""
    async with (
        nothing_left(),
        RawServer([is_(status)]) as server,
        connect(server.base_url) as client,
    ):
        job = await client.wait_for_job("job_1", poll_interval=5)
        assert job.status == status
        assert job.result_url is not None


async def test_it_asks_until_the_job_is_terminal(connect: Connect) -> None:
    """A test moves the job through its life, and every state but the last is waited through."""
    async with (
        nothing_left(),
        Emulator(projects=1) as emulator,
        connect(emulator.base_url, api_key=emulator.api_key) as client,
    ):
        wire = next(
            job for job in emulator.jobs(emulator.project_ids[0]) if job["status"] == "provisioning"
        )
        waiting = asyncio.create_task(
            client._documents.terminal_job(wire["id"], poll_waits(0.002), patience=None)
        )
        for status in ("awaiting_uploads", "uploading", "preflighting", "processing", "completed"):
            count = len(emulator.requests) + 2
            await wait_for(lambda count=count: len(emulator.requests) >= count)  # type: ignore[misc]
            assert not waiting.done()
            assert emulator.advance(wire["id"])["status"] == status
        assert await waiting == make_converter().structure(emulator.job(wire["id"]), Job)


async def test_a_status_that_nobody_knows_is_not_terminal(connect: Connect) -> None:
    """The next question may find one that is."""
    async with (
        RawServer([is_("paused"), is_("failed")]) as server,
        connect(server.base_url) as client,
    ):
        assert (await poll(client)).status == "failed"


async def test_questions_come_no_faster_than_the_interval(connect: Connect) -> None:
    """Seen by the server, from the end of an answer to the next request."""
    async with (
        RawServer([*[is_("processing")] * 3, is_("completed")]) as server,
        connect(server.base_url) as client,
    ):
        await poll(client, interval=0.03)
        arrived = [request.arrived for request in server.requests]
        assert arrived[3] - arrived[0] >= 0.08


@pytest.mark.parametrize(
    "trouble",
    [refuses(503), refuses(500), refuses(429), refuses(520), resets, cuts],
    ids=["503", "500", "429", "520", "reset", "cut"],
)
async def test_what_may_pass_is_outlived(
    connect: Connect, trouble: Script, caplog: pytest.LogCaptureFixture
) -> None:
    """Again and again, after the retries of each question; the log says so."""
    caplog.set_level(logging.INFO, logger="plangrep_async")
    scripts = [is_("processing"), trouble, trouble, trouble, is_("completed")]
    async with (
        nothing_left(),
        RawServer(scripts) as server,
        connect(server.base_url, retry=ONCE) as client,
    ):
        assert (await poll(client)).status == "completed"
        assert len(server.requests) == 5
    assert sum("waiting for a job goes on" in text for text in caplog.messages) == 3


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        (refuses(401), AuthenticationError),
        (refuses(403), PermissionDenied),
        (refuses(404), NotFound),
        (refuses(400), ApiStatusError),
        (is_("completed", pageCount="7"), InvalidJob),
        (refuses(302), InvalidResponse),
    ],
    ids=["401", "403", "404", "400", "no job", "redirect"],
)
async def test_what_does_not_pass_is_raised(
    connect: Connect, trouble: Script, expected: type[PlangrepError]
) -> None:
    """At once, also after many good answers; it names the job."""
    async with (
        nothing_left(),
        RawServer([is_("processing"), is_("processing"), trouble]) as server,
        connect(server.base_url) as client,
    ):
        with pytest.raises(expected) as caught:
            await poll(client)
        assert caught.value.job_id == "job_1"


async def test_a_retry_after_of_a_refusal_is_waited_for(connect: Connect) -> None:
    """It is longer than the interval: the next question comes no earlier."""
    async with (
        RawServer([refuses(503, ("Retry-After", "0.2")), is_("completed")]) as server,
        connect(server.base_url, retry=ONCE) as client,
    ):
        await poll(client)
        first, second = server.requests
        assert second.arrived - first.arrived >= 0.19


@pytest.mark.parametrize(("interval", "most"), [(600, 1), (0.005, 100)])
async def test_a_time_out_has_the_job_as_it_was_seen_last(
    connect: Connect, interval: float, most: int
) -> None:
    """Between two questions; without its secret, and it survives a pickle."""
    async with (
        nothing_left(),
        RawServer(is_("processing", pageCount=9)) as server,
        connect(server.base_url) as client,
    ):
        with pytest.raises(WaitTimeout) as caught:
            await poll(client, interval=interval, patience=0.3)
        assert 1 <= len(server.requests) <= most
    error = caught.value
    assert error.job is not None
    assert (error.job.status, error.job.page_count) == ("processing", 9)
    assert (error.job_id, error.project_id) == ("job_1", error.job.project_id)
    assert str(error).startswith("the job was still processing after 0.3 s (project proj_")
    assert error.__cause__ is None
    assert leaks(error, TOKEN) == []
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # just made
    assert (again.job, str(again)) == (error.job, str(error))


@pytest.mark.fault("H1")
async def test_a_time_out_bounds_a_request_in_flight(connect: Connect) -> None:
    """Its connection is closed, and no job was ever seen."""
    async with (
        nothing_left(),
        RawServer([stall]) as server,
        connect(server.base_url, **PATIENT) as client,
    ):
        with pytest.raises(WaitTimeout, match="no answer about the job in") as caught:
            await client.wait_for_job("job_1", timeout=0.2)
        await server.wait_closed_by_client(0)
        assert (caught.value.job, caught.value.job_id) == (None, "job_1")


async def test_a_time_out_says_what_went_wrong_last(connect: Connect) -> None:
    """As its cause; the job is that of the answer before."""

    async def fail_later(conn: Connection) -> None:
        await (refuses(503) if conn.request.number else is_("uploading"))(conn)

    async with (
        RawServer(fail_later) as server,
        connect(server.base_url, retry=ONCE) as client,
    ):
        with pytest.raises(WaitTimeout) as caught:
            await poll(client, interval=0.02, patience=0.4)
        assert isinstance(caught.value.__cause__, ServerError)
        assert caught.value.job is not None
        assert caught.value.job.status == "uploading"
        assert leaks(caught.value, TOKEN) == []


@pytest.mark.fault("L4")
@pytest.mark.parametrize("script", [is_("processing"), stall], ids=["between", "in flight"])
async def test_a_time_out_of_the_callers_own_stays_theirs(connect: Connect, script: Script) -> None:
    """Shorter or longer than ours, it is a plain `TimeoutError`, and ours is none."""
    async with (
        nothing_left(),
        RawServer(script) as server,
        connect(server.base_url, **PATIENT) as client,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await client.wait_for_job("job_1", timeout=30)
        async with asyncio.timeout(30):
            with pytest.raises(WaitTimeout):
                await client.wait_for_job("job_1", timeout=0.03)


@pytest.mark.fault("K6")
@pytest.mark.parametrize("script", [is_("processing"), stall], ids=["between", "in flight"])
async def test_a_cancellation_passes(connect: Connect, script: Script) -> None:
    """With its message, and nothing is left."""
    async with (
        nothing_left(),
        RawServer(script) as server,
        connect(server.base_url, **PATIENT) as client,
    ):
        task = asyncio.create_task(client.wait_for_job("job_1", timeout=30))
        await server.wait_until(lambda: len(server.requests) == 1)
        await asyncio.sleep(0.02)  # until it waits
        task.cancel("by the caller")
        with pytest.raises(asyncio.CancelledError, match="by the caller"):
            await task


@pytest.mark.fault("L2")
@pytest.mark.parametrize("script", [is_("processing"), stall], ids=["between", "in flight"])
async def test_closing_the_client_ends_the_waiting(connect: Connect, script: Script) -> None:
    """At once, not at the next question."""
    async with nothing_left(), RawServer(script) as server:
        client = connect(server.base_url, **PATIENT)
        task = asyncio.create_task(client.wait_for_job("job_1", poll_interval=600))
        await server.wait_until(lambda: len(server.requests) == 1)
        await asyncio.sleep(0.02)  # until it waits
        await client.aclose()
        with pytest.raises(ClientClosed) as caught:
            await asyncio.wait_for(task, 2)
        assert caught.value.job_id == "job_1"


@pytest.mark.fault("L2")
@pytest.mark.parametrize("steps", range(8))
async def test_closing_the_client_ends_the_waiting_while_a_refusal_arrives(
    connect: Connect, steps: int
) -> None:
    """In whichever turn of the loop it comes, no question is waited for that cannot be sent."""
    async with nothing_left(), RawServer([refuses(503), ...]) as server:
        client = connect(server.base_url, retry=ONCE)
        task = asyncio.create_task(client.wait_for_job("job_1", poll_interval=600))
        await server.wait_until(lambda: len(server.requests) == 1)
        for _ in range(steps):
            await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(ClientClosed) as caught:
            await asyncio.wait_for(task, 2)
        assert caught.value.job_id == "job_1"


async def test_a_time_out_of_the_key_function_is_not_ours(connect: Connect) -> None:
    """What the caller's own function raises comes through as it is."""

    async def ask() -> str:
        raise TimeoutError("the vault is slow")

    async with RawServer([]) as server, connect(server.base_url, api_key=ask) as client:
        with pytest.raises(TimeoutError, match="vault"):
            await client.wait_for_job("job_1", timeout=30)


def test_the_text_of_a_time_out_is_one_safe_line() -> None:
    """A status is the server's text, and may be any."""
    wire = wire_job(1, status="\x1b[2J\n" * 1000, projectId="p\n")
    error = wait_timeout("job_1", make_converter().structure(wire, Job), 1.0)
    assert str(error).isprintable()
    assert len(str(error)) < 600
    assert json.dumps(TOKEN)[1:-1] not in repr(error)
