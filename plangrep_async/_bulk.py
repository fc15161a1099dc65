"""Many projects as one stream: workers that read one list each, and a consumer that sets the pace.

A worker has read one piece ahead at most (`_handover.py`), so memory is bounded by the number of
workers times one piece, a project that stalls holds nobody else, and a consumer that stops holds
everybody. The workers are tasks of the block `async with`: nothing is open across a `yield`, and
leaving the block ends all of them (PEP 789).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from inspect import isawaitable
from traceback import clear_frames
from types import MappingProxyType
from typing import Any, Literal, Self

from plangrep_async._answer import Turn
from plangrep_async._handover import Handover
from plangrep_async._ids import ProjectIds
from plangrep_async._interrupt import all_done
from plangrep_async._jobs import CurrentJobReader
from plangrep_async._pace import Pace
from plangrep_async._progress import Progress, ProjectOutcome, warn_of
from plangrep_async._stream import JobReader
from plangrep_async.errors import ClientClosed, ConfigurationError
from plangrep_async.models import Job

_log = logging.getLogger("plangrep_async")
_NO_END = "a function of the caller's raised StopAsyncIteration"  # a loop would just end with it
OnError = Literal["raise", "collect"]
OpenReader = Callable[[str, Turn], JobReader | CurrentJobReader]
"""Makes what reads a project's list, and waits for its turns."""
OnProjectEnd = Callable[[ProjectOutcome], Awaitable[None]]


class JobStream(AsyncIterator[Job]):
    """The jobs of many projects: `async with … as jobs`, then `async for job in jobs`.

    Jobs of one project come newest first; those of different projects come as they arrive. Several
    tasks may read from one stream. Leaving the block closes all connections, and everything has
    ended when it is left. Made by `list_jobs_many` and `current_jobs` of `AsyncPlangrep`.
    """

    def __init__(
        self,
        project_ids: ProjectIds,
        open_reader: OpenReader,
        *,
        workers: int,
        pace: Pace,
        on_error: OnError,
        on_project_end: OnProjectEnd | None,
    ) -> None:
        self._ids = project_ids
        self._open_reader = open_reader
        self._most_workers = workers
        self._pace = pace
        self._raises = on_error == "raise"
        self._on_project_end = on_project_end

        self._workers: set[asyncio.Task[None]] | None = None  # until the block is entered
        self._handover = Handover()
        self._batch: Iterator[Job] = iter(())  # what is given out now
        self._left = 0  # jobs of it
        self._final: BaseException | None = None  # to be raised after all that came before it
        self._is_over = False

        self._failures: dict[str, Exception] = {}
        self._raised: BaseException | None = None
        self._readers: set[JobReader | CurrentJobReader] = set()
        self._projects_done = 0
        self._jobs = 0  # of all batches that were taken
        self._bytes = 0  # of all readers that have ended, as the retries
        self._retries = 0

    @property
    def failures(self) -> Mapping[str, Exception]:
        """Which projects have failed until now, and why."""
        return MappingProxyType(self._failures)

    @property
    def progress(self) -> Progress:
        """How far the stream is now."""
        return Progress(
            projects_done=self._projects_done,
            projects_total=self._ids.total,
            jobs=self._jobs - self._left,
            bytes=self._bytes + sum(reader.bytes_read for reader in self._readers),
            retries=self._retries + sum(reader.retries for reader in self._readers),
            in_flight=self._pace.in_flight,
            max_in_flight=int(self._pace.limit),
            requests_per_second=self._pace.rate,
        )

    async def __aenter__(self) -> Self:
        if self._workers is not None:
            raise ConfigurationError("this stream was entered before: ask for another one")
        count = max(1, min(self._most_workers, self._ids.most))  # ids may come later
        self._workers = {asyncio.create_task(self._work()) for _ in range(count)}
        for worker in self._workers:
            worker.add_done_callback(self._note_end)
        return self

    async def __aexit__(self, *_: object) -> None:
        owed = self._final
        if owed not in (None, self._raised, *self._failures.values()) and not self._is_over:
            _log.warning("a stream was left before it could raise %s", type(owed).__name__)
        self._end(ClientClosed("this stream was left: ask for another one"))
        self._cancel_workers()  # also those who were running when it was ended from outside
        await all_done(self._workers or set())
        if self._raises:  # else they are there to be asked for
            warn_of({n: e for n, e in self._failures.items() if e is not self._raised})

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Job:
        while True:
            for job in self._batch:
                self._left -= 1
                return job
            if not await self._advance():
                break
        self._cancel_workers()
        if (final := self._final) is not None:
            if not isinstance(final, ClientClosed):
                self._final = None  # it is raised once, and then the stream is at its end
            self._raised = final
            if isinstance(final, StopAsyncIteration):
                raise RuntimeError(_NO_END) from final
            raise final
        raise StopAsyncIteration

    def abort(self) -> None:
        """End the stream from outside: who waits for it, or asks next, gets `ClientClosed`."""
        self._end(ClientClosed("the client was closed while its stream was in use"))

    # What the consumer does.

    async def _advance(self) -> bool:
        """Take what comes next, or wait for it, as other consumers may do too; false at the end.

        Nothing is taken before all jobs of the last batch were given out.
        """
        if self._workers is None:
            raise ConfigurationError("use `async with … as jobs:`, then `async for job in jobs:`")
        if self._handover:
            taken = await self._handover.take()
            if isinstance(taken, ProjectOutcome):
                await self._finish(taken)
            elif isinstance(taken, BaseException):
                self._cancel_workers()
                self._handover.clear()
            elif taken is not None:
                self._batch, self._left = iter(taken), len(taken)
                self._jobs += self._left
        elif self._is_over or not self._workers or (self._raises and self._final is not None):
            return False
        else:
            await self._handover.change()
        return True

    async def _finish(self, outcome: ProjectOutcome) -> None:
        self._projects_done += 1
        if outcome.error is not None and self._raises:
            self._final = outcome.error  # now, for the hook may raise or be cancelled
            self._cancel_workers()
            self._handover.clear()
        if self._on_project_end is not None:
            try:
                done = self._on_project_end(outcome)
                if isawaitable(done):
                    await done
            except StopAsyncIteration as error:
                raise RuntimeError(_NO_END) from error

    def _end(self, final: Exception) -> None:
        """End everything now."""
        if self._is_over:
            return
        self._is_over = True
        self._final = final
        self._jobs -= self._left
        self._left, self._batch = 0, iter(())
        self._handover.clear()
        self._cancel_workers()

    # What the workers do.

    async def _work(self) -> None:
        try:
            while (project_id := await self._ids.next()) is not None:
                await self._fetch(project_id)
        except GeneratorExit:
            raise  # of a loop that has ended
        except BaseException as error:  # of the ids or hooks, or the client was closed
            worker = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and worker and worker.cancelling():
                raise
            self._ids.stop()
            self._final = self._final or error
            if self._raises or isinstance(error, ClientClosed):
                self._cancel_idle_workers()
                await self._handover.tell(error)  # behind all that came before it

    async def _fetch(self, project_id: str) -> None:
        """Hand over all jobs of a project, and what became of it."""
        jobs, failure = 0, None
        reader: JobReader | CurrentJobReader | None = None
        try:
            reader = self._open_reader(project_id, self._handover.turn)
            self._readers.add(reader)
            while (batch := await reader.next_batch()) is not None:
                jobs += len(batch)
                self._handover.put(batch)
        except ClientClosed:
            raise
        except Exception as error:  # noqa: BLE001  # hooks of the caller's may raise anything
            failure = error
        finally:
            if reader is not None:
                reader.close()
                self._readers.discard(reader)
                self._bytes += reader.bytes_read
                self._retries += reader.retries
        if failure is not None:
            # Kept for long, it would keep the jobs and bytes in the variables of its traceback.
            clear_frames(failure.__traceback__ and failure.__traceback__.tb_next)
            batch = None
            if self._raises and self._failures:
                return  # another one was first, and is what will be raised
            self._failures[project_id] = failure
            if self._raises:
                self._cancel_idle_workers()
        await self._handover.tell(ProjectOutcome(project_id, jobs, failure))

    def _cancel_idle_workers(self) -> None:
        """End those who hold nothing: what came before a failure is given before it."""
        self._cancel_workers(but=self._handover.workers)

    def _cancel_workers(self, but: Collection[asyncio.Task[Any] | None] = ()) -> None:
        self._ids.stop()
        for worker in self._workers or ():
            if worker is not asyncio.current_task() and worker not in but:
                worker.cancel()

    def _note_end(self, worker: asyncio.Task[None]) -> None:
        if self._workers is not None:
            self._workers.discard(worker)
        self._handover.notify()
