"""`list_jobs` against real servers on loopback: what arrives, when, and what stops."""

import asyncio
import gc
import json
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from plangrep_async import (
    AsyncPlangrep,
    ClientClosed,
    ConfigurationError,
    IncompleteResponse,
    InvalidJob,
    InvalidResponse,
    Job,
    PlangrepError,
    Timeouts,
)
from plangrep_async.converter import InvalidElement, make_converter
from plangrep_async.emulator import Emulator
from tests.conftest import PROJECT, document, wire_job
from tests.raw_server import CHUNKED, Connection, RawServer, chunked, head, response

Connect = Callable[..., AsyncPlangrep]

OK = head(headers=[CHUNKED])


def serving(*jobs: Any) -> Callable[[Connection], Any]:
    async def send_all(conn: Connection) -> None:
        await conn.send(response(document(list(jobs))))

    return send_all


async def ids(client: AsyncPlangrep, **options: Any) -> list[str]:
    return [job.id async for job in client.list_jobs(PROJECT, **options)]


async def read_until_error(
    client: AsyncPlangrep, error: type[PlangrepError], **options: Any
) -> tuple[list[str], Any]:
    """Read to the error that is expected; what came before it, and the error."""
    seen = []
    try:
        async for job in client.list_jobs(PROJECT, **options):
            seen.append(job.id)  # noqa: PERF401  # a comprehension would lose it to the error
    except error as caught:
        return seen, caught
    raise AssertionError(f"the stream ended normally after {len(seen)} jobs")


async def test_every_job_arrives_as_the_emulator_holds_it(connect: Connect) -> None:
    """All jobs of a project come in order, each equal to the server's, in either layout."""
    converter = make_converter()
    for pretty in (False, True):
        async with (
            Emulator(projects=1, jobs_per_project=700, seed=5, pretty=pretty) as emulator,
            connect(emulator.base_url, api_key=emulator.api_key) as client,
        ):
            (project_id,) = emulator.project_ids
            jobs = [job async for job in client.list_jobs(project_id)]
            expected = [converter.structure(job, Job) for job in emulator.jobs(project_id)]
            assert jobs == expected
            assert [converter.unstructure(job) for job in jobs] == list(emulator.jobs(project_id))


async def test_an_empty_list_ends_normally(connect: Connect) -> None:
    """A project without jobs gives none, and no error."""
    async with RawServer([serving()]) as server, connect(server.base_url) as client:
        assert await ids(client) == []


@pytest.mark.fault("B9")
async def test_the_request_is_as_documented(connect: Connect) -> None:
    """The path is quoted, the key is a bearer token, JSON and gzip asked for, and we say who."""
    async with (
        RawServer([serving()]) as server,
        connect(server.base_url + "/api/open/v1", user_agent_suffix="audit/7") as client,
    ):
        async for _ in client.list_jobs("a/b?c#d é"):
            pass
        (request,) = server.requests
        assert request.method == "GET"
        assert request.target == "/api/open/v1/projects/a%2Fb%3Fc%23d%20%C3%A9/jobs"
        assert request.headers["Authorization"] == "Bearer pgk_live_tests_only"
        assert request.headers["Accept"] == "application/json"
        assert request.headers["Accept-Encoding"] == "gzip, deflate"
        assert request.headers["User-Agent"].startswith("plangrep_async/")
        assert request.headers["User-Agent"].endswith(" audit/7")
        assert "Cookie" not in request.headers


@pytest.mark.fault("B12")
async def test_a_job_is_delivered_when_its_last_byte_is_here(connect: Connect) -> None:
    """A server that sends a job and then waits does not make the consumer wait for the next one."""
    received = asyncio.Event()

    async def one_by_one(conn: Connection) -> None:
        await conn.send(OK + chunked([b'{"jobs":['], terminator=False))
        for number in range(3):
            job = json.dumps(wire_job(number)).encode()
            comma = b"," if number < 2 else b""
            await conn.send(chunked([job[:200], job[200:] + comma], terminator=False))
            await received.wait()
            received.clear()
        await conn.send(chunked([b"]}"]))

    async with RawServer([one_by_one]) as server, connect(server.base_url) as client:
        seen = []
        async for job in client.list_jobs(PROJECT):
            seen.append(job.page_count)
            received.set()
        assert seen == [0, 1, 2]


@pytest.mark.fault("L1")
async def test_leaving_early_closes_the_connection_at_once(connect: Connect) -> None:
    """With `aclosing`, a break stops a download of 29 MB before 2 MB of it were sent."""
    body = document([wire_job(number) for number in range(50_000)])
    assert len(body) > 25_000_000

    async def send_all(conn: Connection) -> None:
        await conn.send(response(body))

    async with (
        RawServer([send_all, send_all], send_buffer_bytes=64 * 1024) as server,
        connect(server.base_url) as client,
    ):
        async with aclosing(client.list_jobs(PROJECT)) as jobs:
            async for job in jobs:
                if job.page_count == 10:
                    break
        await server.wait_closed_by_client(0)
        assert server.accepted[0].bytes_sent < 2_000_000

        async for job in client.list_jobs(PROJECT):
            if job.page_count == 10:
                break
        del job
        await server.wait_closed_by_client(1)
        assert server.accepted[1].bytes_sent < 2_000_000


@pytest.mark.fault("L1")
async def test_a_stream_dropped_without_closing_closes_one_turn_later(connect: Connect) -> None:
    """Once the last reference to a half-read stream is gone, the loop closes its connection."""

    async def stall(conn: Connection) -> None:
        await conn.send(OK + chunked([document([wire_job(1)])[:-2]], terminator=False))
        await conn.stall()

    async with RawServer([stall]) as server, connect(server.base_url) as client:
        jobs = client.list_jobs(PROJECT)
        await anext(jobs)
        del jobs
        gc.collect()
        await server.wait_closed_by_client(0)


@pytest.mark.parametrize("as_job", [False, True])
async def test_after_job_stops_before_that_job_and_the_download(
    connect: Connect, as_job: bool
) -> None:
    """`after_job` gives the newer jobs only, and the rest of the list is not downloaded."""
    wire = [wire_job(number) for number in range(50_000)]
    body = document(wire)

    async def send_all(conn: Connection) -> None:
        await conn.send(response(body))

    known = make_converter().structure(wire[3], Job)
    async with (
        RawServer([send_all], send_buffer_bytes=64 * 1024) as server,
        connect(server.base_url) as client,
    ):
        got = await ids(client, after_job=known if as_job else known.id)
        assert got == ["job_000000", "job_000001", "job_000002"]
        await server.wait_closed_by_client(0)
        assert server.bytes_sent < 2_000_000


async def test_after_job_given_as_a_job_stops_by_time_when_its_id_is_gone(connect: Connect) -> None:
    """The time of a removed job still tells where to stop; its id alone reads to the end."""
    wire = [wire_job(number * 60) for number in range(6)]
    gone = make_converter().structure(wire.pop(3), Job)
    async with RawServer([serving(*wire), ...]) as server, connect(server.base_url) as client:
        assert await ids(client, after_job=gone) == ["job_000000", "job_000060", "job_000120"]
        assert len(await ids(client, after_job=gone.id)) == 5


async def test_created_after_keeps_jobs_of_that_moment(connect: Connect) -> None:
    """Jobs created at the given moment or later are kept, in whatever zone it is given."""
    wire = [wire_job(number * 60) for number in range(6)]
    moment = make_converter().structure(wire[2], Job).created_at
    elsewhere = moment.astimezone(tz=None)
    async with RawServer([serving(*wire), ...]) as server, connect(server.base_url) as client:
        for given in (moment, elsewhere):
            assert await ids(client, created_after=given) == [job["id"] for job in wire[:3]]
        assert await ids(client, created_after=moment + timedelta(milliseconds=1)) == [
            job["id"] for job in wire[:2]
        ]
        assert await ids(client, created_after=moment, after_job="job_000060") == ["job_000000"]


async def test_a_bad_element_raises_after_all_good_ones_before_it(connect: Connect) -> None:
    """`InvalidJob` names index, path and project, comes last, and is not tried again."""
    bad = wire_job(2, pageCount="canary", resultUrl=None)
    async with (
        RawServer([serving(wire_job(0), wire_job(1), bad, wire_job(3))]) as server,
        connect(server.base_url) as client,
    ):
        seen, error = await read_until_error(client, InvalidJob)
        assert seen == ["job_000000", "job_000001"]
        assert (error.index, error.path, error.project_id) == (2, "$.page_count", PROJECT)
        assert (error.delivered, error.last_job_id) == (2, "job_000001")
        assert "expected an integer, got a string" in str(error)
        assert "canary" not in repr(error)


async def test_on_invalid_takes_bad_elements_and_the_stream_goes_on(connect: Connect) -> None:
    """Each bad element is reported with its index, reason and bytes; good ones keep coming."""
    records: list[InvalidElement] = []
    wire = [wire_job(0), None, wire_job(2), {"id": "x"}, wire_job(4)]
    async with RawServer([serving(*wire)]) as server, connect(server.base_url) as client:
        got = await ids(client, on_invalid=records.append)
    assert got == ["job_000000", "job_000002", "job_000004"]
    assert [(record.index, json.loads(record.raw)) for record in records] == [
        (1, None),
        (3, {"id": "x"}),
    ]
    assert "required field missing @ $.created_at" in records[1].reason


async def test_bad_elements_behind_a_stop_are_not_reported(connect: Connect) -> None:
    """What lies behind the mark is nobody's concern, even in the same piece."""
    records: list[InvalidElement] = []
    async with (
        RawServer([serving(wire_job(0), wire_job(1), None)]) as server,
        connect(server.base_url) as client,
    ):
        assert await ids(client, after_job="job_000001", on_invalid=records.append) == [
            "job_000000"
        ]
    assert records == []


async def test_a_callers_datetime_hook_is_seen_in_the_stream(connect: Connect) -> None:
    """A converter with a hook of the caller's own is used for what is streamed."""
    converter = make_converter()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    converter.register_structure_hook(datetime, lambda *_: epoch)
    async with (
        RawServer([serving(wire_job(0))]) as server,
        connect(server.base_url, converter=converter) as client,
    ):
        (job,) = [job async for job in client.list_jobs(PROJECT)]
        assert job.created_at == epoch


@pytest.mark.fault("B6")
@pytest.mark.parametrize("given", [0, 1, 5])
async def test_a_broken_stream_never_ends_normally(connect: Connect, given: int) -> None:
    """A body that is cut after some jobs gives those jobs and then `IncompleteResponse`."""
    whole = document([wire_job(number) for number in range(8)])
    end = whole.index(b'"job_%06d"' % given) + 3 if given else 9

    async def cut(conn: Connection) -> None:
        await conn.send(response(whole[:end], content_length=False))
        conn.close()

    async with RawServer(cut) as server, connect(server.base_url) as client:
        seen, error = await read_until_error(client, IncompleteResponse)
        assert seen == [f"job_{number:06}" for number in range(given)]
        assert error.delivered == given
        assert error.last_job_id == (seen[-1] if given else None)


async def test_a_body_that_is_not_the_promised_json_is_refused_once(connect: Connect) -> None:
    """HTML with a status of 200 is an `InvalidResponse`; asking again would not help."""

    async def page(conn: Connection) -> None:
        await conn.send(response(b"<html>maintenance</html>"))

    async with RawServer([page]) as server, connect(server.base_url) as client:
        with pytest.raises(InvalidResponse, match="not a JSON object"):
            await ids(client)


async def test_a_job_larger_than_max_job_bytes_is_refused(connect: Connect) -> None:
    """One element above the bound is an error that names the option; those before it come."""
    huge = wire_job(1, externalId="x" * 5000)
    async with (
        RawServer([serving(wire_job(0), huge)]) as server,
        connect(server.base_url, max_job_bytes=2048) as client,
    ):
        seen, error = await read_until_error(client, InvalidResponse)
        assert seen == ["job_000000"]
        assert "max_job_bytes" in str(error)


@pytest.mark.fault("L2")
async def test_closing_the_client_ends_a_stream_that_waits_for_bytes(connect: Connect) -> None:
    """A consumer that waits for the next job gets `ClientClosed` at once, and not a time-out."""

    async def stall(conn: Connection) -> None:
        await conn.send(OK + chunked([document([wire_job(1)])[:-2]], terminator=False))
        await conn.stall()

    async with RawServer([stall]) as server:
        client = connect(server.base_url, timeout=Timeouts(read=60.0))
        jobs = client.list_jobs(PROJECT)
        await anext(jobs)
        waiting = asyncio.create_task(anext(jobs))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        await client.aclose()
        with pytest.raises(ClientClosed) as caught:
            await asyncio.wait_for(waiting, 2)
        assert caught.value.project_id == PROJECT
        await server.wait_closed_by_client(0)


@pytest.mark.fault("L2")
async def test_closing_the_client_ends_a_stream_between_two_jobs(connect: Connect) -> None:
    """The next step of a stream that was paused in its consumer raises `ClientClosed`."""
    async with RawServer([serving(wire_job(0), wire_job(1))]) as server:
        client = connect(server.base_url)
        jobs = client.list_jobs(PROJECT)
        await anext(jobs)
        await client.aclose()
        with pytest.raises(ClientClosed):
            await anext(jobs)


@pytest.mark.fault("L5", "B14")
async def test_the_consumers_time_never_counts(connect: Connect) -> None:
    """A consumer that takes longer than every time-out still gets all jobs."""
    wire = [wire_job(number) for number in range(2_000)]
    async with (
        RawServer([serving(*wire)], send_buffer_bytes=16 * 1024) as server,
        connect(server.base_url) as client,
    ):
        count = 0
        async for _ in client.list_jobs(PROJECT):
            count += 1
            if count in (1, 1_500):
                await asyncio.sleep(0.7)
        assert count == 2_000


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"after_job": 5}, "after_job"),
        ({"after_job": ""}, "after_job"),
        ({"created_after": datetime(2024, 1, 1)}, "created_after"),  # noqa: DTZ001
        ({"created_after": "2024-01-01"}, "created_after"),
    ],
)
async def test_wrong_arguments_are_refused_at_the_call(
    connect: Connect, options: dict[str, Any], names: str
) -> None:
    """Arguments are checked before anything is sent, by the call itself."""
    async with connect("http://127.0.0.1:9") as client:
        with pytest.raises(ConfigurationError, match=names):
            client.list_jobs(PROJECT, **options)
        with pytest.raises(ConfigurationError, match="project id"):
            client.list_jobs("")
