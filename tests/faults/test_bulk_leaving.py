"""A stream of many projects that is left early, in every way and at every moment (K4, K6)."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from plangrep_async import AsyncPlangrep, JobStream, NotFound, ProjectOutcome
from tests.faults.bulk import (
    PATIENT,
    Connect,
    asked,
    begins,
    by_project,
    ids_of,
    lists,
    names,
    refuses,
)
from tests.faults.streams import IDS, nothing_left, slots, tasks_but_of_servers, turns
from tests.faults.test_cancellation import MESSAGE, OPTIONS, Reader, troubled
from tests.raw_server import RawServer

MOST = 16


async def leave_after_one(client: AsyncPlangrep, ids: Any, how: str) -> None:
    """Read one job of many projects, and leave the block."""
    async with client.list_jobs_many(ids) as jobs:
        async for _ in jobs:
            if how == "return":
                return
            if how == "raise":
                raise LookupError("mine")
            if how == "cancel":
                task = asyncio.current_task()
                assert task is not None
                task.cancel(MESSAGE)
                await asyncio.sleep(0)
            break


@pytest.mark.fault("K4")
@pytest.mark.parametrize("how", ["break", "return", "raise", "cancel"])
async def test_leaving_after_the_first_job_ends_everything(connect: Connect, how: str) -> None:
    """Of 10,000 projects a few were asked; when the block is left no task and no request is."""
    taken = itertools.count()
    ids = (f"p{next(taken)}" for _ in range(10_000))
    async with (
        nothing_left(),
        RawServer(begins(3)) as server,
        connect(server.base_url, **PATIENT, max_concurrency=MOST) as client,
    ):
        before = tasks_but_of_servers()
        task = asyncio.create_task(leave_after_one(client, ids, how))
        await asyncio.wait([task])
        assert tasks_but_of_servers() == before
        assert slots(client) == client._lifetime.limiter.pace.in_flight == 0
        if how == "cancel":
            assert task.cancelled()
        else:
            error = task.exception()
            assert repr(error) == (repr(LookupError("mine")) if how == "raise" else "None")
        await asyncio.sleep(0.01)
        await server.wait_until(lambda: all(conn.ended for conn in server.accepted))
        assert {str(conn.ended).partition(" by ")[2] for conn in server.accepted} == {"client"}
        assert len(server.requests) <= MOST
        assert next(taken) <= MOST


@pytest.mark.fault("K4")
async def test_a_consumer_that_stops_holds_everybody(connect: Connect) -> None:
    """Without leaving: no more is in flight than is allowed, and no project is begun any more."""
    async with (
        nothing_left(),
        RawServer(lists(3)) as server,
        connect(server.base_url, **PATIENT, max_concurrency=4) as client,
        client.list_jobs_many(names(999)) as jobs,
    ):
        await anext(jobs)
        await asyncio.sleep(0.05)
        count = len(server.requests)
        await asyncio.sleep(0.05)
        assert len(server.requests) == count <= 5
        assert len(jobs._handover._waiting) <= 4
        assert jobs.progress.in_flight == 0
    assert len(asked(server)) == count


class ManyReader(Reader):
    """Reads three projects that meet every kind of trouble, and stops for each in a hook."""

    def __init__(self, cancel_at: int = -1, moment: str = "") -> None:
        super().__init__(cancel_at, moment)
        self.outcomes: list[ProjectOutcome] = []

    async def _read(self, client: AsyncPlangrep, project_id: str) -> None:
        ids = [f"{project_id} {letter}" for letter in "abc"]
        try:
            async with client.list_jobs_many(ids, on_project_end=self._note) as jobs:
                async for job in jobs:
                    self.seen.append(job.id)
        except BaseException as error:
            self.passed.append(error)
            raise

    async def _note(self, outcome: ProjectOutcome) -> None:
        await asyncio.sleep(0)
        self.outcomes.append(outcome)

    def check(self) -> None:
        """Demand that no project came more than once, or out of order."""
        of_each = Counter(self.seen)
        assert set(of_each) <= set(IDS)
        assert max(of_each.values(), default=0) <= 3
        # All send the same list: how often each job came can only fall from the first to the last.
        counts = [of_each[job] for job in IDS]
        assert counts == sorted(counts, reverse=True)
        names_ = [outcome.project_id for outcome in self.outcomes]
        assert len(names_) == len(set(names_))
        assert all(outcome.jobs == len(IDS) for outcome in self.outcomes)


def check_nothing_is_left(client: AsyncPlangrep) -> None:
    """Demand that nobody holds anything, before the client is closed."""
    assert client._lifetime.session._session is None or slots(client) == 0
    assert client._lifetime.limiter.pace.in_flight == 0
    assert all(turn.cancelled() for turn in client._lifetime.limiter._waiting)
    assert tasks_but_of_servers() == {asyncio.current_task()}


@pytest.mark.fault("K6")
@pytest.mark.parametrize("moment", ["at once", "a turn later", "when it could go on"])
async def test_cancellation_passes_at_every_await_of_the_consumer(
    connect: Connect, moment: str
) -> None:
    """Wherever it meets the stream, the hook or the block's end, it comes out as it went in."""
    async with nothing_left(), RawServer(troubled()) as server:
        for number in itertools.count():
            reader = ManyReader(number, moment)
            async with connect(server.base_url, **OPTIONS) as client:
                task = asyncio.create_task(reader.run(client, f"{moment} {number}"))
                await asyncio.wait([task], timeout=10)
                await turns()
                check_nothing_is_left(client)
                reader.check()
                if reader.suspensions <= number:
                    await task
                    assert len(reader.seen) == 3 * len(IDS)
                    assert len(reader.outcomes) == 3
                    break
                assert task.cancelled()
                assert [error.args for error in reader.passed] == [(MESSAGE,)]
                assert task.cancelling() == 1
    assert number > 6  # several waits for a parcel, three in the hook, one at the end


class WatchedWorkers(ManyReader):
    """Is cancelled when its workers wait for the nth time, counted together."""

    consumer: asyncio.Task[None]

    def make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> asyncio.Task[Any]:
        """Be the event loop's factory of tasks."""
        if coroutine.__qualname__ == JobStream._work.__qualname__:
            coroutine = self._watched(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    async def run(self, client: AsyncPlangrep, project_id: str) -> None:
        """Read to the end, or to the cancellation."""
        await self._read(client, project_id)

    async def _watched(self, coroutine: Coroutine[Any, Any, None]) -> None:
        await self._watch(coroutine)

    def _suspended(self, future: asyncio.Future[Any] | None) -> None:
        if self.suspensions == self.cancel_at:
            self.consumer.cancel(MESSAGE)
        self.suspensions += 1


@pytest.mark.fault("K6")
async def test_cancellation_of_the_consumer_at_every_await_of_the_workers(
    connect: Connect,
) -> None:
    """Whatever they are doing then, they end with the block, and so do their requests."""
    most, reached = 2, set()
    loop = asyncio.get_running_loop()
    async with nothing_left(), RawServer(troubled()) as server:
        for number in itertools.count():
            reader = WatchedWorkers(number)
            before = len(server.requests)
            async with connect(server.base_url, **OPTIONS, max_concurrency=most) as client:
                loop.set_task_factory(reader.make_task)
                reader.consumer = asyncio.create_task(reader.run(client, f"workers {number}"))
                await asyncio.wait([reader.consumer], timeout=10)
                loop.set_task_factory(None)
                check_nothing_is_left(client)
                reader.check()
                if reader.suspensions <= number:
                    await reader.consumer
                    assert len(reader.seen) == 3 * len(IDS)
                    break
                assert reader.consumer.cancelled()
                assert [error.args for error in reader.passed] == [(MESSAGE,)]
                reached.add((len(server.requests) - before, len(reader.outcomes)))
            await server.wait_until(lambda: all(conn.ended for conn in server.accepted))
    # Before any request; refused; in bodies; cut; and when some of the projects were done.
    assert (0, 0) in reached
    # Two workers in step may end the first two projects in one turn: one done is not always seen.
    done = {outcomes for _, outcomes in reached}
    assert 0 in done
    assert done & {1, 2}
    assert {requests for requests, _ in reached} >= {0, most, 2 * most, 9}


@pytest.mark.fault("K6")
async def test_leaving_waits_for_workers_even_if_it_is_cancelled(connect: Connect) -> None:
    """A second cancellation, during the end of the block, comes out of it when all have ended."""
    ended = asyncio.Event()
    go_on = asyncio.Event()

    async def stubborn() -> AsyncIterator[str]:
        try:
            await asyncio.Event().wait()
            yield "never"
        finally:
            await go_on.wait()
            ended.set()

    async with RawServer([]) as server, connect(server.base_url) as client:

        async def read() -> None:
            async with client.list_jobs_many(stubborn()) as jobs:
                await anext(jobs)

        before = asyncio.all_tasks()
        task = asyncio.create_task(read())
        for _ in range(3):
            await turns()
            task.cancel(MESSAGE)
        await asyncio.wait([task], timeout=0.05)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError, match=MESSAGE):
            await task
        assert ended.is_set()
        assert asyncio.all_tasks() == before


@pytest.mark.fault("K6")
async def test_a_failure_ends_the_others_and_waits_for_no_one(connect: Connect) -> None:
    """What the workers of other projects wait for is cancelled: a stall, a sleep, a permit."""
    scripts = {"p000": begins(1), "p001": refuses(503, ("Retry-After", "20")), "p002": begins(0)}
    async with (
        nothing_left(),
        RawServer(by_project(scripts, refuses(404))) as server,
        connect(server.base_url, **PATIENT, max_concurrency=8) as client,
        asyncio.timeout(10),
        client.list_jobs_many(names(4)) as jobs,
    ):
        seen = []
        with pytest.raises(NotFound):  # noqa: PT012  # a job may come before it
            async for job in jobs:
                seen.append(job.id)  # noqa: PERF401  # a comprehension would lose it
        assert seen in ([], ids_of("p000", 1))
        with pytest.raises(StopAsyncIteration):
            await anext(jobs)
        assert jobs._workers == set()
        assert slots(client) == client._lifetime.limiter.pace.in_flight == 0
