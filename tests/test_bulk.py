"""`list_jobs_many`: what a caller is promised of many projects read as one stream."""

import asyncio
import contextlib
import gc
import logging
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakSet

import pytest

from plangrep_async import (
    ClientClosed,
    ConfigurationError,
    InvalidJob,
    Job,
    JobStream,
    NotFound,
    ProjectOutcome,
    RetryPolicy,
    ServerError,
)
from plangrep_async._progress import warn_of
from plangrep_async.converter import InvalidElement, make_converter
from plangrep_async.emulator import Emulator
from tests.conftest import document, wire_job
from tests.faults.bulk import (
    PATIENT,
    Connect,
    begins,
    by_its_project,
    by_project,
    closed_by_client,
    ids_of,
    jobs_of,
    lists,
    names,
    project_of,
    refuses,
    wait_for,
    when_told,
)
from tests.faults.streams import nothing_left, turns
from tests.raw_server import CHUNKED, Connection, RawServer, chunked, head, response


class Hook:
    """An `on_project_end` that notes what it is told, and what was read until then."""

    def __init__(self, seen: list[str] | None = None) -> None:
        self.outcomes: dict[str, ProjectOutcome] = {}
        self.seen_before: dict[str, list[str]] = {}
        self._seen = [] if seen is None else seen

    async def __call__(self, outcome: ProjectOutcome) -> None:
        """Note an outcome, for the only time."""
        assert outcome.project_id not in self.outcomes
        await asyncio.sleep(0)
        self.outcomes[outcome.project_id] = outcome
        self.seen_before[outcome.project_id] = list(self._seen)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Give the warnings that the library has logged."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "plangrep_async" and record.levelno >= logging.WARNING
    ]


# What is read.


async def test_all_jobs_of_all_projects_arrive_as_the_emulator_holds_them(
    connect: Connect,
) -> None:
    """Those of one project in the order of the API, each equal to the server's."""
    converter = make_converter()
    async with (
        Emulator(projects=30, jobs_per_project=40, seed=3) as emulator,
        connect(emulator.base_url, api_key=emulator.api_key) as client,
    ):
        seen: dict[str, list[Job]] = {name: [] for name in emulator.project_ids}
        async with client.list_jobs_many(emulator.project_ids) as jobs:
            async for job in jobs:
                seen[job.project_id].append(job)
        for name in emulator.project_ids:
            assert seen[name] == [converter.structure(job, Job) for job in emulator.jobs(name)]
        assert len(emulator.requests) == 30
        assert all(request.complete for request in emulator.requests)


async def test_after_job_and_created_after_stop_each_list(connect: Connect) -> None:
    """Marks are ids or jobs, by project; a `Job` serves by its time where its id is gone."""
    newest = make_converter().structure(wire_job(0), Job).created_at
    gone = make_converter().structure(wire_job(150, id="gone"), Job)
    marks = {"p000": "p000-2", "p001": gone, "p009": "of a project that nobody asked for"}
    async with RawServer(lists(6)) as server, connect(server.base_url) as client:
        async with client.list_jobs_many(names(3), after_job=marks) as jobs:
            seen = await by_its_project(jobs)
        assert seen == {
            "p000": ids_of("p000", 2),
            "p001": ids_of("p001", 3),
            "p002": ids_of("p002", 6),
        }
        since = newest - timedelta(seconds=180)
        async with client.list_jobs_many(
            names(3), after_job=marks, created_after=since.astimezone(UTC)
        ) as jobs:
            seen = await by_its_project(jobs)
        assert seen == {
            "p000": ids_of("p000", 2),
            "p001": ids_of("p001", 3),
            "p002": ids_of("p002", 4),
        }


async def test_what_is_no_job_goes_to_on_invalid_or_fails_its_project(connect: Connect) -> None:
    """With the hook every project goes on; without it the one with the bad element fails."""

    async def send(conn: Connection) -> None:
        first, second = jobs_of(project_of(conn), 2)
        await conn.send(response(document([first, 7, second])))

    invalid: list[InvalidElement] = []
    async with (
        RawServer(by_project({"p001": send}, lists(2))) as server,
        connect(server.base_url) as client,
    ):
        async with client.list_jobs_many(names(3), on_invalid=invalid.append) as jobs:
            assert await by_its_project(jobs) == {name: ids_of(name, 2) for name in names(3)}
        assert [element.index for element in invalid] == [1]
        async with client.list_jobs_many(names(3), on_error="collect") as jobs:
            seen = await by_its_project(jobs)
            (failure,) = jobs.failures.values()
        assert seen["p001"] == ids_of("p001", 1)
        assert isinstance(failure, InvalidJob)
        assert (failure.project_id, failure.index, failure.delivered) == ("p001", 1, 1)


# Failures.


async def read_until_error(jobs: JobStream, error: type[BaseException]) -> tuple[list[str], Any]:
    """Read to the error that is expected; what came before it, and the error."""
    seen = []
    try:
        async for job in jobs:
            seen.append(job.id)  # noqa: PERF401  # a comprehension would lose it to the error
    except error as caught:
        return seen, caught
    raise AssertionError(f"the stream ended normally after {len(seen)} jobs")


def has_failed(jobs: JobStream) -> bool:
    """Whether a project has failed, without looking at it as a caller would."""
    return bool(jobs._failures)


async def test_the_first_failure_comes_after_the_jobs_before_it_and_ends_all(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Queued jobs are given, then the error is raised, once, and then the stream is at its end."""
    go_on = asyncio.Event()
    scripts = {"p001": when_told(go_on, refuses(404)), "p002": begins(2), "p003": begins(0)}
    async with (
        nothing_left(),
        RawServer(by_project(scripts, lists(3))) as server,
        connect(server.base_url, **PATIENT, max_concurrency=4) as client,
        client.list_jobs_many(names(9)) as jobs,
    ):
        await wait_for(lambda: len(jobs._handover._waiting) == 3)
        go_on.set()
        await wait_for(lambda: has_failed(jobs))
        seen, error = await read_until_error(jobs, NotFound)
        assert sorted(seen) == sorted(ids_of("p000", 3) + ids_of("p002", 2))
        assert error.project_id == "p001"
        assert dict(jobs.failures) == {"p001": error}
        with pytest.raises(StopAsyncIteration):
            await anext(jobs)
        assert len(server.requests) == 4
        await closed_by_client(server, "p002")
        await closed_by_client(server, "p003")
    assert warnings(caplog) == []


@pytest.mark.fault("L5")
async def test_a_failure_that_nobody_waited_for_is_logged(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Leaving before its turn raises nothing, and one warning names the project and the error."""
    go_on = asyncio.Event()
    async with (
        nothing_left(),
        RawServer(by_project({"p001": when_told(go_on, refuses(404))}, lists(3))) as server,
        connect(server.base_url) as client,
        client.list_jobs_many(names(2)) as jobs,
    ):
        await anext(jobs)
        go_on.set()
        await wait_for(lambda: has_failed(jobs))
    assert warnings(caplog) == ["nobody has seen that 1 project failed: p001 (NotFound)"]


async def test_an_error_of_the_consumers_own_is_not_replaced(connect: Connect) -> None:
    """What the block raises comes out of it, whatever has failed meanwhile."""
    async with RawServer(refuses(404)) as server, connect(server.base_url) as client:
        with pytest.raises(LookupError, match="mine"):  # noqa: PT012  # the block is the test
            async with client.list_jobs_many(names(2)) as jobs:
                await wait_for(lambda: has_failed(jobs))
                raise LookupError("mine")


async def test_collecting_goes_on_and_says_which_failed_and_why(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """All other projects are complete, and failures that were looked at are not logged."""
    scripts = {"p001": refuses(404), "p003": refuses(500), "p004": lists(0)}
    async with (
        RawServer(by_project(scripts, lists(3))) as server,
        connect(server.base_url) as client,
    ):
        async with client.list_jobs_many(names(6), on_error="collect") as jobs:
            seen = await by_its_project(jobs)
        assert seen == {name: ids_of(name, 3) for name in ("p000", "p002", "p005")}
        kinds = {name: type(error) for name, error in jobs.failures.items()}
        assert kinds == {"p001": NotFound, "p003": ServerError}
        assert [error.project_id for error in jobs.failures.values()] == list(kinds)
        with pytest.raises(TypeError):
            jobs.failures["p000"] = ValueError()  # type: ignore[index]  # that is the test


async def test_collected_failures_can_be_read_behind_the_block(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """They are there, and leaving the block does not complain of them."""
    async with RawServer(refuses(404)) as server, connect(server.base_url) as client:
        async with client.list_jobs_many(names(7), on_error="collect") as jobs:
            assert [job async for job in jobs] == []
        assert warnings(caplog) == []
        assert sorted(jobs.failures) == names(7)


def test_a_warning_names_the_first_of_many(caplog: pytest.LogCaptureFixture) -> None:
    """Five of them, in one line; and there is none of nothing."""
    warn_of({})
    warn_of({name: NotFound("gone", status=404) for name in names(7)})
    (warning,) = warnings(caplog)
    assert warning.startswith("nobody has seen that 7 projects failed: p000 (NotFound), ")
    assert warning.count("(NotFound)") == 5
    assert warning.endswith(", and 2 more")


# Progress.


@pytest.mark.parametrize("is_sized", [True, False])
async def test_progress_says_how_far_the_stream_is(connect: Connect, is_sized: bool) -> None:
    """Jobs are those given out; the total is known from the ids' length, or at their end."""
    failed_once = set[str]()

    async def fail_once(conn: Connection) -> None:
        if "failed" in failed_once:
            await lists(3)(conn)
        else:
            failed_once.add("failed")
            await refuses(500)(conn)

    sent = {name: len(document(jobs_of(name, 3))) for name in names(4)}
    ids = names(4) if is_sized else iter(names(4))
    async with (
        RawServer(by_project({"p002": fail_once, "p003": refuses(404)}, lists(3))) as server,
        connect(server.base_url, max_concurrency=2) as client,
    ):
        jobs = client.list_jobs_many(ids, on_error="collect")
        before = jobs.progress
        assert (before.projects_done, before.jobs, before.bytes, before.retries) == (0, 0, 0, 0)
        assert before.projects_total == (4 if is_sized else None)
        assert (before.in_flight, before.max_in_flight) == (0, 2)
        assert before.requests_per_second is None
        async with jobs:
            for number in range(1, 10):
                await anext(jobs)
                assert jobs.progress.jobs == number
                assert jobs.progress.projects_done <= 1 + number // 3  # one has failed
            with pytest.raises(StopAsyncIteration):
                await anext(jobs)
        after = jobs.progress
        assert (after.projects_done, after.projects_total, after.jobs) == (4, 4, 9)
        assert after.bytes == sum(sent.values()) - sent["p003"]
        assert (after.retries, after.in_flight) == (1, 0)
        assert len(server.requests) == 5
        assert set(jobs.failures) == {"p003"}


async def test_progress_shows_requests_in_flight_and_what_the_server_allows(
    connect: Connect,
) -> None:
    """A 503 halves how many may be in flight, a 429 sets how many may begin a second."""
    scripts = {"p000": begins(1), "p001": begins(1), "p002": refuses(503), "p003": refuses(429)}
    retry = RetryPolicy(attempts=1)
    async with (
        RawServer(by_project(scripts, lists(1))) as server,
        connect(server.base_url, timeout=PATIENT["timeout"], retry=retry) as client,
    ):
        jobs = client.list_jobs_many(names(4), on_error="collect")
        async with jobs:
            for _ in range(2):
                await anext(jobs)
            await wait_for(lambda: len(jobs._failures) == 2)
            progress = jobs.progress
            assert progress.in_flight == 2
            assert 1 <= progress.max_in_flight <= 8
            assert progress.requests_per_second is not None
            assert progress.bytes == sum(
                len(document(jobs_of(name, 1))) - 2 for name in ("p000", "p001")
            )
            assert len(jobs.failures) == 2
        assert jobs.progress.in_flight == 0


async def test_jobs_that_were_not_given_out_do_not_count(connect: Connect) -> None:
    """After leaving early, progress has the jobs that were read, not those that had arrived."""
    async with RawServer(lists(9)) as server, connect(server.base_url) as client:
        async with client.list_jobs_many(["p000"]) as jobs:
            for _ in range(4):
                await anext(jobs)
        assert (jobs.progress.jobs, jobs.progress.projects_done) == (4, 0)


# The hook.


@pytest.mark.parametrize("on_error", ["raise", "collect"])
async def test_the_hook_is_told_once_after_the_last_job_of_each_project(
    connect: Connect, on_error: Any
) -> None:
    """Empty and failed projects included, with how many jobs came and why it failed."""
    seen: list[str] = []
    hook = Hook(seen)

    async def cut(conn: Connection) -> None:
        await conn.send(response(document([*jobs_of("p002", 2), 7])))

    scripts = {"p001": lists(0), "p002": cut}
    async with (
        RawServer(by_project(scripts, lists(3))) as server,
        connect(server.base_url, max_concurrency=1) as client,
    ):
        jobs = client.list_jobs_many(names(4), on_error=on_error, on_project_end=hook)
        async with jobs:
            with contextlib.suppress(InvalidJob):
                async for job in jobs:
                    seen.append(job.id)  # noqa: PERF401  # the hook looks at it
            failure = jobs.failures["p002"]
    expected = [
        ProjectOutcome("p000", 3),
        ProjectOutcome("p001", 0),
        ProjectOutcome("p002", 2, failure),
        ProjectOutcome("p003", 3),
    ]
    if on_error == "raise":
        expected.pop()  # it was never asked for
    assert list(hook.outcomes.values()) == expected
    for outcome in expected:
        before = hook.seen_before[outcome.project_id]
        assert [i for i in before if i.startswith(outcome.project_id)] == ids_of(
            outcome.project_id, outcome.jobs
        )


async def test_a_plain_function_may_be_the_hook(connect: Connect) -> None:
    """What it returns is awaited only where it can be."""
    told: list[ProjectOutcome] = []
    async with RawServer(lists(1)) as server, connect(server.base_url) as client:
        hook: Any = told.append
        async with client.list_jobs_many(names(2), on_project_end=hook) as jobs:
            assert len([job async for job in jobs]) == 2
    assert sorted(outcome.project_id for outcome in told) == names(2)


async def test_a_hook_that_raises_does_so_in_the_consumer_and_the_stream_goes_on(
    connect: Connect,
) -> None:
    """Its error comes out of the step that called it, and the next steps give all the rest."""

    async def refuse(outcome: ProjectOutcome) -> None:
        raise LookupError(outcome.project_id)

    async with (
        nothing_left(),
        RawServer(lists(2)) as server,
        connect(server.base_url) as client,
        client.list_jobs_many(names(3), on_project_end=refuse) as jobs,
    ):
        seen, raised = [], []
        while True:
            try:
                seen.append((await anext(jobs)).id)
            except LookupError as error:
                raised.append(error.args[0])
            except StopAsyncIteration:
                break
        assert sorted(raised) == names(3)
        assert sorted(seen) == sorted(job for name in names(3) for job in ids_of(name, 2))


@pytest.mark.fault("K6")
@pytest.mark.parametrize("trouble", ["raises", "is cancelled"])
async def test_a_hook_in_trouble_does_not_hide_that_its_project_failed(
    connect: Connect, trouble: str
) -> None:
    """The project's own error is raised by the step after the one that the hook ended."""

    async def hook(outcome: ProjectOutcome) -> None:
        if trouble == "raises":
            raise TimeoutError
        await asyncio.Event().wait()

    async with (
        nothing_left(),
        RawServer([refuses(404)]) as server,
        connect(server.base_url) as client,
        client.list_jobs_many(["p000"], on_project_end=hook) as jobs,
    ):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(jobs), 0.1)
        with pytest.raises(NotFound):
            await anext(jobs)
        with pytest.raises(StopAsyncIteration):
            await anext(jobs)


# How it is used.


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"project_ids": "p000"}, "project_ids must be an iterable of ids, .*not a str"),
        ({"project_ids": b"p000"}, "not a bytes"),
        ({"project_ids": 7}, "not a int"),
        ({"on_error": "x"}, 'on_error must be "raise" or "collect"'),
        ({"after_job": ["p000-1"]}, "after_job must be a Mapping, not a list"),
        ({"created_after": "2024"}, "created_after must be a datetime with a time zone"),
        ({"created_after": datetime(2024, 1, 1)}, "with a time zone"),  # noqa: DTZ001
        ({"on_project_end": "x"}, "on_project_end must be an async function of a ProjectOutcome"),
        ({"on_invalid": 7}, "on_invalid must be a plain function"),
    ],
    ids=str,
)
async def test_wrong_arguments_are_refused_at_once(
    connect: Connect, arguments: dict[str, Any], fault: str
) -> None:
    """The call raises, and says what to give instead; nothing was asked for."""
    async with RawServer([]) as server, connect(server.base_url) as client:
        with pytest.raises(ConfigurationError, match=fault):
            client.list_jobs_many(**{"project_ids": names(1), **arguments})
        assert server.connections == 0


async def test_no_marks_are_no_marks(connect: Connect) -> None:
    """`None` for all projects, and for one, is a list that is read to its end."""
    none: Any = {"p000": None}
    async with RawServer(lists(2)) as server, connect(server.base_url) as client:
        for marks in (None, none):
            async with client.list_jobs_many(names(1), after_job=marks) as jobs:
                assert await by_its_project(jobs) == {"p000": ids_of("p000", 2)}


@pytest.mark.parametrize("wants", ["new", "current"])
async def test_where_a_head_is_wanted_little_is_read(connect: Connect, wants: str) -> None:
    """A stop, or a current job, in the first 32 KiB costs no more of the list than these."""
    body = document(
        [wire_job(n, status="processing" if n == 9 else "completed") for n in range(3_000)]
    )

    async def send(conn: Connection) -> None:
        await conn.send(response(body))

    async with RawServer(send) as server, connect(server.base_url) as client:
        if wants == "new":
            stream = client.list_jobs_many(
                names(3), after_job=dict.fromkeys(names(3), "job_000009")
            )
        else:
            stream = client.current_jobs(names(3))
        async with stream as jobs:
            assert len([job async for job in jobs]) == (27 if wants == "new" else 3)
        assert 0 < jobs.progress.bytes <= 3 * (32 << 10)


async def test_bytes_that_had_arrived_before_a_cut_count(connect: Connect) -> None:
    """What is read out of a broken connection was downloaded as well as the rest."""
    body = document([wire_job(number) for number in range(150)])[:-2]

    async def cut(conn: Connection) -> None:
        await conn.send(head(headers=[CHUNKED]) + chunked([body[:20_000]], terminator=False))
        await asyncio.sleep(0.02)
        await conn.send(chunked([body[20_000:]], terminator=False))
        await asyncio.sleep(0.02)
        conn.close()

    async with (
        RawServer([cut]) as server,
        connect(server.base_url, retry=RetryPolicy(attempts=1)) as client,
    ):
        async with client.list_jobs_many(names(1), on_error="collect") as jobs:
            await anext(jobs)
            await server.wait_until(lambda: server.accepted[0].ended is not None)
            await asyncio.sleep(0.05)  # until the client has seen it as well
            assert len([job async for job in jobs]) == 149
        assert jobs.progress.bytes == len(body)
        assert jobs.failures.keys() == {"p000"}


async def test_marks_of_a_wrong_type_fail_their_project(connect: Connect) -> None:
    """They are looked at when its turn comes: no request is sent for it."""
    marks: Any = {"p001": 7}
    async with RawServer([lists(1)]) as server, connect(server.base_url) as client:
        async with client.list_jobs_many(names(2), after_job=marks, on_error="collect") as jobs:
            assert await by_its_project(jobs) == {"p000": ids_of("p000", 1)}
        assert isinstance(jobs.failures["p001"], ConfigurationError)


async def test_no_ids_are_a_stream_that_is_at_its_end(connect: Connect) -> None:
    """Nothing is asked for, and nothing waits."""
    async with RawServer([]) as server, connect(server.base_url) as client:
        for ids in ([], iter([])):
            async with client.list_jobs_many(ids) as jobs:
                assert [job async for job in jobs] == []
            assert jobs.progress.projects_total == 0
        assert server.connections == 0


async def test_a_stream_is_read_inside_its_block_only(connect: Connect) -> None:
    """Before, and after, and in a second block, the error says what to do; nothing is asked for."""
    async with RawServer([lists(1)]) as server, connect(server.base_url) as client:
        jobs = client.list_jobs_many(["p000"])
        with pytest.raises(ConfigurationError, match="use `async with"):
            await anext(jobs)
        assert server.connections == 0
        async with jobs:
            assert [job.id async for job in jobs] == ids_of("p000", 1)
        for _ in range(2):
            with pytest.raises(ClientClosed, match="was left: ask for another one"):
                await anext(jobs)
        with pytest.raises(ConfigurationError, match="entered before"):
            await jobs.__aenter__()


@pytest.mark.fault("L2")
@pytest.mark.parametrize("on_error", ["raise", "collect"])
async def test_closing_the_client_ends_the_stream(
    connect: Connect, caplog: pytest.LogCaptureFixture, on_error: Any
) -> None:
    """Who waits for a job, or asks later, gets `ClientClosed`; the connections are closed."""
    async with nothing_left(), RawServer(begins(2)) as server:
        client = connect(server.base_url, **PATIENT)
        async with client.list_jobs_many(names(3), on_error=on_error) as jobs:
            reading = asyncio.create_task(read_until_error(jobs, ClientClosed))
            await wait_for(lambda: jobs.progress.jobs == 6)
            await turns()
            await client.aclose()
            seen, _ = await asyncio.wait_for(reading, 2)
            assert len(seen) == 6
            with pytest.raises(ClientClosed, match="the client was closed"):
                await anext(jobs)
            for number in range(3):
                await server.wait_closed_by_client(number)
        assert len(server.requests) == 3
    assert warnings(caplog) == []


@pytest.mark.fault("L3")
@pytest.mark.parametrize("when", ["before the call", "before the block", "between two jobs"])
async def test_a_stream_of_a_closed_client_says_so(
    connect: Connect, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    """Whenever it was closed, the next step raises `ClientClosed`, and leaving logs nothing."""
    scripts = [lists(3), ...] if when == "between two jobs" else []
    async with nothing_left(), RawServer(scripts) as server:
        client = connect(server.base_url)
        if when == "before the call":
            await client.aclose()
        jobs = client.list_jobs_many(names(3))
        if when == "before the block":
            await client.aclose()
        async with jobs:
            if when == "between two jobs":
                await anext(jobs)
                await client.aclose()
            for _ in range(2):
                with pytest.raises(ClientClosed):
                    await anext(jobs)
    assert warnings(caplog) == []


@pytest.mark.fault("L11")
async def test_several_consumers_share_the_jobs(connect: Connect) -> None:
    """Each job goes to one of them, none is lost, and the hook comes after all of a project."""
    hook = Hook(seen := [])
    async with (
        nothing_left(),
        RawServer(lists(25)) as server,
        connect(server.base_url, max_concurrency=5) as client,
        client.list_jobs_many(names(20), on_project_end=hook) as jobs,
    ):

        async def consume() -> int:
            count = 0
            async for job in jobs:
                seen.append(job.id)
                count += 1
                await asyncio.sleep(0)
            return count

        counts = await asyncio.gather(*(consume() for _ in range(4)))
        assert min(counts) > 0
        expected = Counter(job for name in names(20) for job in ids_of(name, 25))
        assert Counter(seen) == expected
        assert jobs.progress.jobs == sum(counts) == 500
        for name, before in hook.seen_before.items():
            assert set(ids_of(name, 25)) <= set(before)
        assert len(hook.outcomes) == 20


@pytest.mark.fault("L4")
async def test_a_step_that_is_cancelled_loses_nothing(connect: Connect) -> None:
    """Unlike one of an async generator it may be tried again: `wait_for` around it is fine."""

    async def send_slowly(conn: Connection) -> None:
        body = document(jobs_of(project_of(conn), 6))
        await conn.send(head(headers=[CHUNKED]))
        for start in range(0, len(body), 700):
            await asyncio.sleep(0.004)
            await conn.send(chunked([body[start : start + 700]], terminator=False))
        await conn.send(chunked([]))

    async with (
        nothing_left(),
        RawServer(send_slowly) as server,
        connect(server.base_url) as client,
        client.list_jobs_many(names(3)) as jobs,
    ):
        seen, timeouts = [], 0
        while True:
            try:
                seen.append((await asyncio.wait_for(anext(jobs), 0.001)).id)
            except TimeoutError:
                timeouts += 1
            except StopAsyncIteration:
                break
        assert timeouts > 0
        for name in names(3):
            assert [i for i in seen if i.startswith(name)] == ids_of(name, 6)
        assert len(seen) == 18
        assert len(server.requests) == 3


async def nothing_more() -> None:
    """Raise what a loop takes for its normal end."""

    async def empty() -> AsyncIterator[None]:
        return
        yield

    await anext(empty())


@pytest.mark.parametrize("where", ["on_project_end", "on_invalid"])
async def test_a_hook_that_raises_the_end_of_iteration_is_no_end(
    connect: Connect, where: str
) -> None:
    """`StopAsyncIteration` of the caller's becomes a `RuntimeError`, as in any generator."""

    async def on_project_end(_: ProjectOutcome) -> None:
        await nothing_more()

    def on_invalid(_: InvalidElement) -> None:
        raise StopAsyncIteration

    hooks: dict[str, Any] = {"on_project_end": on_project_end, "on_invalid": on_invalid}

    async def answer(conn: Connection) -> None:
        await conn.send(response(document([wire_job(0), {}])))

    async with RawServer([answer, ...]) as server, connect(server.base_url) as client:
        with pytest.raises(RuntimeError, match="StopAsyncIteration") as caught:
            async with client.list_jobs_many(
                ["a"], on_error="raise", **{"on_invalid": lambda _: None, where: hooks[where]}
            ) as jobs:
                _ = [job async for job in jobs]
        assert isinstance(caught.value.__cause__, StopAsyncIteration)


async def test_a_hook_that_raises_what_is_no_exception_ends_the_stream_with_it(
    connect: Connect,
) -> None:
    """Not even a `BaseException` of the caller's looks like the normal end."""

    class Stop(BaseException):
        pass

    def on_invalid(_: InvalidElement) -> None:
        raise Stop

    async def answer(conn: Connection) -> None:
        await conn.send(response(document([wire_job(0), {}])))

    async with RawServer([answer, ...]) as server, connect(server.base_url) as client:
        with pytest.raises(Stop):
            async with client.list_jobs_many(
                ["a"], on_error="collect", on_invalid=on_invalid
            ) as jobs:
                _ = [job async for job in jobs]


async def test_failures_keep_no_jobs_alive(connect: Connect) -> None:
    """An error that is kept holds none of what was read before it."""

    async def answer(conn: Connection) -> None:
        await conn.send(response(document([wire_job(n) for n in range(500)])[:-2] + b",?]}"))

    alive = WeakSet[Job]()
    async with RawServer([answer, ...]) as server, connect(server.base_url) as client:
        async with client.list_jobs_many(list("abcd"), on_error="collect") as jobs:
            async for job in jobs:
                alive.add(job)
        assert len(jobs.failures) == 4
        del job
        gc.collect()
        assert len(alive) == 0


@pytest.mark.parametrize("status", [pytest.param(429, marks=pytest.mark.slow), 503])
async def test_retries_that_help_are_not_used_up(connect: Connect, status: int) -> None:
    """Each of 100 lists is refused once: none of them fails for those before it."""

    async def answer(conn: Connection) -> None:
        if conn.request.number % 2:
            await conn.send(response(document([wire_job(0)])))
        else:
            await conn.send(response(status=status))

    async with RawServer([answer, ...]) as server, connect(server.base_url) as client:
        for number in range(100):
            assert len([job async for job in client.list_jobs(f"p{number}")]) == 1
        assert len(server.requests) == 200
