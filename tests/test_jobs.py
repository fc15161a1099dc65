"""All jobs of a project at once, and the current ones, against real servers on loopback."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from plangrep_async import (
    AsyncPlangrep,
    ClientClosed,
    ConfigurationError,
    IncompleteResponse,
    InvalidJob,
    Job,
    NotFound,
    PermissionDenied,
    ProjectOutcome,
)
from plangrep_async._batch import Batch
from plangrep_async.converter import make_converter
from plangrep_async.emulator import Emulator, Fault
from tests.conftest import PROJECT, TOKEN, document, wire_job
from tests.faults.answers import LANES
from tests.faults.bulk import PATIENT, by_project, lists, names, project_of, refuses, wait_for
from tests.faults.streams import nothing_left, stall_after
from tests.raw_server import CHUNKED, Connection, RawServer, Script, chunked, head, response
from tests.secrets import leaks

Connect = Callable[..., AsyncPlangrep]

TERMINAL = ("completed", "completed_with_errors", "failed", "cancelled", "expired")
CURRENT = ("provisioning", "awaiting_uploads", "uploading", "preflighting", "processing", "paused")


def jobs(*statuses: str) -> list[dict[str, Any]]:
    """Make jobs of these statuses, newest first."""
    return [wire_job(number * 60, status=status) for number, status in enumerate(statuses)]


def serves(*statuses: str) -> Script:
    async def send(conn: Connection) -> None:
        await conn.send(response(document(jobs(*statuses))))

    return send


def cut_after(count: int, wire: list[dict[str, Any]]) -> Script:
    """Send so many jobs, then end the connection."""

    async def send(conn: Connection) -> None:
        part = document(wire[:count])[:-2]
        await conn.send(head(headers=[CHUNKED]) + chunked([part], terminator=False))
        await asyncio.sleep(0.02)  # until the client has read it
        conn.close()

    return send


def test_the_first_wanted_row_is_made_alone() -> None:
    """Of a batch whose objects are made in the iteration, and of one that holds them."""
    made: list[int] = []

    def make(rows: Any) -> list[str]:
        made.extend(rows)
        return [f"object {row}" for row in rows]

    assert Batch([1, 2, 3, 4], make).first(lambda row: row > 2) == "object 3"
    assert made == [3]
    assert Batch(["a", "b"]).first(lambda row: row == "b") == "b"
    assert Batch([1], make).first(lambda row: row > 2) is None


async def test_all_jobs_are_as_the_emulator_holds_them(connect: Connect) -> None:
    """In one tuple, in order, and each once although the answer breaks in the middle."""
    converter = make_converter()
    async with (
        nothing_left(),
        Emulator(jobs_per_project=1_500) as emulator,
        connect(emulator.base_url, api_key=emulator.api_key) as client,
    ):
        (project_id,) = emulator.project_ids
        emulator.faults[project_id] = [Fault(status=503), Fault(cut_after_bytes=300_000)]
        got = await client.get_jobs(project_id)
        assert got == tuple(converter.structure(job, Job) for job in emulator.jobs(project_id))
        assert [request.status for request in emulator.requests] == [503, 200, 200]


async def test_a_project_without_jobs_has_none(connect: Connect) -> None:
    """An empty tuple, and no current job."""
    async with RawServer(serves()) as server, connect(server.base_url) as client:
        assert await client.get_jobs(PROJECT) == ()
        assert await client.current_job(PROJECT) is None


@pytest.mark.fault("B2")
@pytest.mark.parametrize("method", ["get_jobs", "current_job"])
async def test_a_list_that_always_breaks_delivers_nothing(connect: Connect, method: str) -> None:
    """The error says so: what was read was given to nobody."""
    wire = jobs(*["completed"] * 9)
    async with (
        nothing_left(),
        RawServer([cut_after(3, wire)] * 3) as server,
        connect(server.base_url) as client,
    ):
        with pytest.raises(IncompleteResponse) as caught:
            await getattr(client, method)(PROJECT)
    assert (caught.value.delivered, caught.value.last_job_id) == (0, None)
    assert caught.value.project_id == PROJECT
    assert leaks(caught.value, TOKEN) == []


@pytest.mark.fault("S7")
async def test_a_bad_element_fails_the_whole_list(connect: Connect) -> None:
    """With its place; a current job before it is given all the same, one behind it is not."""
    wire = [*jobs("completed", "processing"), {"id": 7}, *jobs("uploading")]

    async def send(conn: Connection) -> None:
        await conn.send(response(document(wire if project_of(conn) == "a" else wire[2:])))

    async with RawServer(send) as server, connect(server.base_url) as client:
        with pytest.raises(InvalidJob) as caught:
            await client.get_jobs("a")
        assert (caught.value.index, caught.value.delivered) == (2, 0)
        found = await client.current_job("a")
        assert found is not None
        assert found.status == "processing"
        with pytest.raises(InvalidJob):
            await client.current_job("b")


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("status", CURRENT)
@pytest.mark.parametrize("place", [0, 5])
async def test_the_current_job_is_the_newest_that_is_not_terminal(
    connect: Connect, lane: str, status: str, place: int
) -> None:
    """A status that nobody knows yet counts as not terminal."""
    others = ("awaiting_uploads", *TERMINAL)
    script = serves(*TERMINAL[:place], status, *others)
    async with RawServer([script]) as server, connect(server.base_url, **LANES[lane]) as client:
        job = await client.current_job(PROJECT)
        assert job == make_converter().structure(jobs(*TERMINAL[:place], status)[-1], Job)


@pytest.mark.fault("B2")
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (["completed"] * 3 + ["processing"], ["processing"] + ["completed"] * 4, 0),
        (["completed"] * 3, ["uploading", "failed", "failed", "failed", "processing"], 0),
        # A replica that is behind: the newest job was terminal already, and is so for ever.
        (["completed"] * 3, [None, "processing", "completed", "completed", "uploading"], 4),
    ],
)
async def test_the_current_job_may_have_begun_since_a_cut(
    connect: Connect, before: list[str], after: list[str | None], expected: int
) -> None:
    """A project that works on one job or another at every moment is never said to be idle."""
    first = [wire_job(60 * n, status=status) for n, status in enumerate(before, 1)]
    second = [wire_job(60 * n, status=status) for n, status in enumerate(after) if status]

    async def later(conn: Connection) -> None:
        await conn.send(response(document(second)))

    async with (
        RawServer([cut_after(3, first), later]) as server,
        connect(server.base_url) as client,
    ):
        job = await client.current_job(PROJECT)
        assert job is not None
        assert job.id == wire_job(60 * expected)["id"]
        assert job.status == after[expected]


async def test_without_a_current_job_the_list_is_read_to_its_end(connect: Connect) -> None:
    """And its connection serves the next request."""
    async with (
        RawServer([serves(*TERMINAL * 40)] * 2) as server,
        connect(server.base_url) as client,
    ):
        assert await client.current_job(PROJECT) is None
        assert await client.current_job(PROJECT) is None
        assert server.connections == 1


@pytest.mark.fault("L1", "B12")
async def test_the_download_stops_when_the_job_is_found(connect: Connect) -> None:
    """It is given at once, though the list goes on, or the server has stopped sending."""
    async with (
        nothing_left(),
        Emulator(jobs_per_project=15_000) as emulator,
        connect(emulator.base_url, api_key=emulator.api_key) as client,
    ):
        expected = next(
            job for job in emulator.jobs(emulator.project_ids[0]) if job["status"] not in TERMINAL
        )
        job = await client.current_job(emulator.project_ids[0])
        assert job is not None
        assert job.id == expected["id"]
        await wait_for(lambda: emulator.requests[0].ended)
        assert not emulator.requests[0].complete
        assert emulator.requests[0].body_bytes_sent < 4_000_000

    async def stalls(conn: Connection) -> None:
        part = document(jobs("failed", "processing"))[:-2]
        await conn.send(head(headers=[CHUNKED]) + chunked([part], terminator=False))
        await conn.stall()

    async with (
        nothing_left(),
        RawServer([stalls]) as server,
        connect(server.base_url, **PATIENT) as client,
    ):
        job = await asyncio.wait_for(client.current_job(PROJECT), 5)
        assert job is not None
        assert job.status == "processing"
        await server.wait_closed_by_client(0)


@pytest.mark.fault("B2")
async def test_the_search_goes_on_behind_a_cut(connect: Connect) -> None:
    """Where a list broke it is resumed: what was looked at does not have to come again."""
    wire = jobs(*TERMINAL * 8, "processing", *TERMINAL)
    async with (
        nothing_left(),
        RawServer([cut_after(25, wire), cut_after(39, wire), cut_after(41, wire)]) as server,
        connect(server.base_url) as client,
    ):
        job = await client.current_job(PROJECT)
        assert job is not None
        assert job.id == wire[40]["id"]
        assert len(server.requests) == 3


@pytest.mark.fault("L2", "L4")
@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_the_search_ends_with_its_client_or_its_task(connect: Connect, how: str) -> None:
    """At once, and with its connection."""
    async with nothing_left(), RawServer([stall_after(3)]) as server:
        client = connect(server.base_url, **PATIENT)
        task = asyncio.create_task(client.current_job(PROJECT))
        await server.wait_until(lambda: len(server.requests) == 1)
        await asyncio.sleep(0.02)  # until it waits
        if how == "cancel":
            task.cancel()
        else:
            await client.aclose()
        with pytest.raises(asyncio.CancelledError if how == "cancel" else ClientClosed):
            await task
        await server.wait_closed_by_client(0)
        await client.aclose()


async def test_the_current_jobs_of_many_projects(connect: Connect) -> None:
    """One a project at most, as `current_job` gives it, and an outcome for each project."""
    outcomes: list[ProjectOutcome] = []

    async def note(outcome: ProjectOutcome) -> None:
        outcomes.append(outcome)

    async with (
        nothing_left(),
        Emulator(projects=40, jobs_per_project=50) as emulator,
        connect(emulator.base_url, api_key=emulator.api_key, max_concurrency=4) as client,
    ):
        one_by_one = {
            name: job
            for name in emulator.project_ids
            if (job := await client.current_job(name)) is not None
        }
        async with client.current_jobs(emulator.project_ids, on_project_end=note) as stream:
            found = [job async for job in stream]
            assert stream.progress.projects_done == 40
            assert stream.progress.jobs == len(found) == 30
        assert {job.project_id: job for job in found} == one_by_one
        assert {outcome.project_id: outcome.jobs for outcome in outcomes} == {
            name: int(name in one_by_one) for name in emulator.project_ids
        }


@pytest.mark.fault("K1", "K3")
async def test_current_jobs_of_which_some_fail(connect: Connect) -> None:
    """As in `list_jobs_many`: collected, or the end of all; one that stalls holds nobody up."""

    async def found_then_stall(conn: Connection) -> None:
        part = document(jobs("failed", "processing"))[:-2]
        await conn.send(head(headers=[CHUNKED]) + chunked([part], terminator=False))
        await conn.stall()

    scripts = {"p001": refuses(404), "p002": found_then_stall}
    async with (
        nothing_left(),
        RawServer(by_project(scripts, serves("expired", "uploading"))) as server,
        connect(server.base_url, **PATIENT) as client,
    ):
        async with client.current_jobs(names(5), on_error="collect") as stream:
            statuses = sorted([str(job.status) async for job in stream])
            assert {name: type(error) for name, error in stream.failures.items()} == {
                "p001": NotFound
            }
        assert statuses == ["processing", *["uploading"] * 3]
        with pytest.raises(NotFound):
            async with client.current_jobs(names(5)) as stream:
                _ = [job async for job in stream]


async def test_lists_of_current_jobs_are_read_no_further_than_they_must(connect: Connect) -> None:
    """The server sees each download stop, though nobody has asked for the next job yet."""
    big = [*jobs("processing"), *jobs(*["completed"] * 8_000)]
    body = document(big)

    async def send(conn: Connection) -> None:
        await conn.send(response(body))

    async with (
        nothing_left(),
        RawServer(send, send_buffer_bytes=16 << 10) as server,
        connect(server.base_url, **PATIENT) as client,
        client.current_jobs(names(6)) as stream,
    ):
        async for job in stream:
            assert job.status == "processing"
        for number in range(6):
            await server.wait_closed_by_client(number)
        assert all(conn.bytes_sent < len(body) / 2 for conn in server.accepted)


def test_options_of_current_jobs_are_checked_by_the_call() -> None:
    """As those of `list_jobs_many`."""
    client = AsyncPlangrep("key")
    for bad in ({"on_error": "ignore"}, {"on_project_end": 3}):
        with pytest.raises(ConfigurationError, match=next(iter(bad))):
            client.current_jobs(names(1), **bad)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="project_ids"):
        client.current_jobs("proj_1")


async def test_many_lists_at_once(connect: Connect) -> None:
    """Calls of all kinds side by side share the client's places."""
    async with (
        nothing_left(),
        RawServer(lists(30)) as server,
        connect(server.base_url, max_concurrency=2) as client,
    ):
        got = await asyncio.gather(*(client.get_jobs(name) for name in names(20)))
        none = await asyncio.gather(*(client.current_job(name) for name in names(20)))
        assert [len(jobs) for jobs in got] == [30] * 20
        assert none == [None] * 20


@pytest.mark.fault("H8")
async def test_a_refusal_names_the_project(connect: Connect) -> None:
    """Whatever was asked of it."""
    async with RawServer(refuses(403)) as server, connect(server.base_url) as client:
        for ask in (client.get_jobs, client.current_job):
            with pytest.raises(PermissionDenied) as caught:
                await ask(PROJECT)
            assert caught.value.project_id == PROJECT
            assert f"(project {PROJECT})" in str(caught.value)
