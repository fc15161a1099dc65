"""The merge of many lists as a state machine: whatever happens, in any order, it adds up (K11)."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from plangrep_async import ClientClosed, ProjectOutcome
from plangrep_async._answer import Turn
from plangrep_async._batch import Batch
from plangrep_async._bulk import JobStream
from plangrep_async._ids import ProjectIds
from plangrep_async._pace import Pace
from plangrep_async._stream import JobReader
from tests.faults.streams import turns

T = TypeVar("T")
_Job = tuple[str, int]  # its project, and its place there

CHOICE = st.integers(0, 99)


class Failed(Exception):
    """What became of a project."""


class ScriptedReader:
    """Stands for the reader of one list: it gives what it is told to, when it is told to."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self.bytes_read = self.retries = 0
        self.is_closed = False
        self._told: deque[Sequence[_Job] | Failed | None] = deque()
        self._news = asyncio.Event()

    def tell(self, what: Sequence[_Job] | Failed | None) -> None:
        """Let it give a batch, fail, or end the list."""
        self._told.append(what)
        self._news.set()

    async def next_batch(self) -> Batch[_Job] | None:
        """Be the method of `JobReader`."""
        assert not self.is_closed
        while not self._told:
            self._news.clear()
            await self._news.wait()
        told = self._told.popleft()
        if isinstance(told, Failed):
            raise told
        if told is None:
            return None
        await self._turn()
        return Batch(list(told))

    def close(self) -> None:
        """Be the method of `JobReader`."""
        self.is_closed = True

    abort = close


class Project:
    """What was told to the reader of a project, and what came out."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reader: ScriptedReader | None = None
        self.produced = 0
        self.is_over = False  # nothing more is told
        self.failure: Failed | None = None
        self.seen: list[int] = []
        self.outcome: ProjectOutcome | None = None


class Merge(RuleBasedStateMachine):
    """Several consumers of one stream, readers that do as they are told, and who ends it all."""

    @initialize(
        count=st.integers(0, 5),
        workers=st.integers(1, 3),
        on_error=st.sampled_from(["raise", "collect"]),
        is_async=st.booleans(),
    )
    def begin(self, count: int, workers: int, on_error: Any, is_async: bool) -> None:
        """Enter the block of a stream."""
        self.loop = asyncio.new_event_loop()
        self.projects = {name: Project(name) for name in map(str, range(count))}
        self.workers = workers
        self.raises = on_error == "raise"
        self.asking: list[asyncio.Task[None]] = []
        self.raised: list[Exception] = []
        self.ends = 0  # how often a consumer was told that there is nothing more
        self.closed: str | None = None
        ids = self._slow_ids() if is_async else list(self.projects)
        self.stream = JobStream(
            ProjectIds(ids),
            self._open_reader,
            workers=workers,
            pace=Pace(workers),
            on_error=on_error,
            on_project_end=self._note_outcome,
        )
        self._run(self.stream.__aenter__())

    @precondition(lambda self: self.telling())
    @rule(choice=CHOICE, count=st.integers(1, 3))
    def produce(self, choice: int, count: int) -> None:
        """Let a list go on."""
        project = self._choose(self.telling(), choice)
        first, project.produced = project.produced, project.produced + count
        self._reader(project).tell(
            [(project.name, number) for number in range(first, first + count)]
        )

    @precondition(lambda self: self.telling())
    @rule(choice=CHOICE)
    def finish(self, choice: int) -> None:
        """Let a list end."""
        project = self._choose(self.telling(), choice)
        project.is_over = True
        self._reader(project).tell(None)

    @precondition(lambda self: self.telling())
    @rule(choice=CHOICE)
    def fail(self, choice: int) -> None:
        """Let a list fail."""
        project = self._choose(self.telling(), choice)
        project.is_over, project.failure = True, Failed(project.name)
        self._reader(project).tell(project.failure)

    @precondition(lambda self: len(self.asking) < 3)
    @rule(count=st.integers(1, 3))
    def ask(self, count: int) -> None:
        """Let consumers ask for a job each."""
        self.asking += [self.loop.create_task(self._ask()) for _ in range(count)]

    @precondition(lambda self: self.asking)
    @rule(choice=CHOICE)
    def cancel_step(self, choice: int) -> None:
        """Let a consumer give up waiting."""
        self._choose(self.asking, choice).cancel()

    @rule(count=st.integers(1, 12))
    def go_round(self, count: int) -> None:
        """Let the event loop turn."""
        self._run(turns(count))

    @precondition(lambda self: not self.closed)
    @rule(how=st.sampled_from(["the client was closed"] * 2 + ["this stream was left"]))
    def close(self, how: str) -> None:
        """Close the client, or leave the block while others read."""
        self.closed = how
        self._run(self._abort() if "client" in how else self._leave())

    @invariant()
    def adds_up(self) -> None:
        """Demand what always holds."""
        self.asking = [task for task in self.asking if not task.done()]
        for project in self.projects.values():
            assert project.seen == list(range(len(project.seen)))
            assert len(project.seen) <= project.produced
        open_now = [p for p in self.projects.values() if p.reader and not p.reader.is_closed]
        assert len(open_now) <= self.workers
        assert len(self.stream._handover._waiting) <= self.workers
        assert self.stream.progress.jobs == sum(len(p.seen) for p in self.projects.values())
        told = [p for p in self.projects.values() if p.outcome]
        assert self.stream.progress.projects_done == len(told)
        if not self.closed:
            assert self.raised == [] or (self.raises and len(self.raised) == 1)

    def teardown(self) -> None:
        """Let all lists end, read to the end, leave, and demand that it all was there."""
        if not hasattr(self, "loop"):
            return
        try:
            self._run(self._to_the_end())
            self.adds_up()
            assert asyncio.all_tasks(self.loop) == set()
            assert all(p.reader is None or p.reader.is_closed for p in self.projects.values())
            if not self.closed:
                self._check_complete()
        finally:
            self.loop.close()

    def _check_complete(self) -> None:
        failed = {p.name: p.failure for p in self.projects.values() if p.failure}
        failures = dict(self.stream.failures)
        assert failures.items() <= failed.items()
        if self.raises and failures:
            assert len(failures) == 1
            assert self.raised == list(failures.values())
            (name,) = failures
            complete = [self.projects[name]]
        else:
            assert self.raised == []
            assert failures == failed
            complete = list(self.projects.values())
        for project in complete:
            assert len(project.seen) == project.produced
            assert project.outcome is not None
        assert self.ends > 0

    async def _to_the_end(self) -> None:
        async with asyncio.timeout(2):
            while not self.ends and not self.closed:
                for project in self.telling():
                    project.is_over = True
                    self._reader(project).tell(None)
                self.asking.append(asyncio.create_task(self._ask()))
                await turns(3)
            await self._leave()
            await asyncio.gather(*self.asking, return_exceptions=True)

    async def _ask(self) -> None:
        try:
            job = await anext(self.stream)
        except StopAsyncIteration:
            self.ends += 1
        except Failed as error:
            self.raised.append(error)
        except ClientClosed:
            assert self.closed or self.ends  # it may be asked while the block is being left
        else:
            name, number = cast("_Job", job)
            assert self.projects[name].outcome is None
            self.projects[name].seen.append(number)

    async def _note_outcome(self, outcome: ProjectOutcome) -> None:
        project = self.projects[outcome.project_id]
        assert project.outcome is None
        project.outcome = outcome
        assert project.is_over
        assert outcome.error is project.failure
        assert len(project.seen) == outcome.jobs == project.produced
        await asyncio.sleep(0)

    async def _abort(self) -> None:
        self.stream.abort()

    async def _leave(self) -> None:
        await self.stream.__aexit__(None, None, None)

    async def _slow_ids(self) -> AsyncIterator[str]:
        for name in self.projects:
            await asyncio.sleep(0)
            yield name

    def _open_reader(self, project_id: str, turn: Turn) -> JobReader:
        project = self.projects[project_id]
        assert project.reader is None
        project.reader = ScriptedReader(turn)
        return cast("JobReader", project.reader)

    def telling(self) -> list[Project]:
        """Give the projects whose list is open and not told to end."""
        projects = getattr(self, "projects", {}).values()
        return [p for p in projects if p.reader and not p.reader.is_closed and not p.is_over]

    def _reader(self, project: Project) -> ScriptedReader:
        assert project.reader is not None
        return project.reader

    def _choose(self, among: Sequence[T], choice: int) -> T:
        return among[choice % len(among)]

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        self.loop.run_until_complete(work)


@pytest.mark.fault("K11")
def test_whatever_happens_every_job_comes_once_and_nothing_is_left() -> None:
    """Lists go on, fail and end, consumers ask and give up, and someone closes it, in any order."""
    run_state_machine_as_test(
        Merge,
        settings=settings(
            max_examples=150,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
