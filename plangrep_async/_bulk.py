"""Many projects as one stream: workers that read one list each, and a consumer that sets the pace.

A worker hands a batch over and waits until it was taken before it reads on, so memory is bounded by
the number of workers times one batch, a project that stalls holds nobody else, and a consumer that
stops holds everybody. The workers are tasks of the block `async with`: nothing is open across a
`yield`, and leaving the block ends all of them (PEP 789).
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from inspect import isawaitable
from operator import length_hint
from traceback import clear_frames
from types import MappingProxyType, TracebackType
from typing import Literal, Self

import attrs

from plangrep_async._ids import ProjectIds
from plangrep_async._interrupt import all_done
from plangrep_async._pace import Pace
from plangrep_async._progress import Progress, ProjectOutcome, warn_of
from plangrep_async._stream import JobReader
from plangrep_async.errors import ClientClosed, ConfigurationError
from plangrep_async.models import Job

_log = logging.getLogger("plangrep_async")
_NO_END = "a function of the caller's raised StopAsyncIteration"  # a loop would just end with it
OnError = Literal["raise", "collect"]
OnProjectEnd = Callable[[ProjectOutcome], Awaitable[None]]


@attrs.frozen
class _Parcel:
    """What a worker hands over, and the news for it that it was taken."""

    content: Sequence[Job] | ProjectOutcome
    taken: asyncio.Future[None]


class JobStream(AsyncIterator[Job]):
    """The jobs of many projects: `async with … as jobs`, then `async for job in jobs`.

    Jobs of one project come newest first; those of different projects come as they arrive. Several
    tasks may read from one stream. Leaving the block closes all connections, and everything has
    ended when it is left. Made by `AsyncPlangrep.list_jobs_many`.
    """

    def __init__(
        self,
        project_ids: ProjectIds,
        open_reader: Callable[[str], JobReader],
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
        self._parcels: deque[_Parcel] = deque()
        self._news = asyncio.Event()  # a parcel, or an end
        self._batch: Iterator[Job] = iter(())  # what is given out now
        self._final: BaseException | None = None  # to be raised after all that came before it
        self._is_over = False

        self._failures: dict[str, Exception] = {}
        self._were_failures_seen = False
        self._raised: BaseException | None = None
        self._readers: set[JobReader] = set()
        self._projects_done = 0
        self._jobs = 0  # of all batches that were taken
        self._bytes = 0  # of all readers that have ended, as the retries
        self._retries = 0

    @property
    def failures(self) -> Mapping[str, Exception]:
        """Which projects have failed until now, and why."""
        self._were_failures_seen |= bool(self._failures)
        return MappingProxyType(self._failures)

    @property
    def progress(self) -> Progress:
        """How far the stream is now."""
        return Progress(
            projects_done=self._projects_done,
            projects_total=self._ids.total,
            jobs=self._jobs - length_hint(self._batch),
            bytes=self._bytes + sum(reader.bytes_read for reader in self._readers),
            retries=self._retries + sum(reader.retries for reader in self._readers),
            in_flight=self._pace.in_flight,
            max_in_flight=int(self._pace.limit),
            requests_per_second=self._pace.rate,
        )

    async def __aenter__(self) -> Self:
        if self._workers is not None:
            raise ConfigurationError("this stream was entered before: call list_jobs_many again")
        count = max(1, min(self._most_workers, self._ids.most))  # ids may come later
        self._workers = {asyncio.create_task(self._work()) for _ in range(count)}
        for worker in self._workers:
            worker.add_done_callback(self._note_end)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        owed = self._final
        if owed not in (None, self._raised, *self._failures.values()) and not self._is_over:
            _log.warning("a stream was left before it could raise %s", type(owed).__name__)
        self._end(ClientClosed("this stream was left: call list_jobs_many again"))
        await all_done(self._workers or set())
        if self._raises or not self._were_failures_seen:
            warn_of({n: e for n, e in self._failures.items() if e is not self._raised})

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Job:
        for job in self._batch:
            return job
        while await self._has_more():
            for job in self._batch:
                return job
            content = self._take()
            if isinstance(content, ProjectOutcome):
                await self._finish(content)
            else:
                self._jobs += len(content)
                self._batch = iter(content)
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

    async def _has_more(self) -> bool:
        """Wait for a job or a parcel, which another consumer may have left here; false at the end.

        A parcel is not to be taken before all jobs of the last one were given out.
        """
        if self._workers is None:
            raise ConfigurationError("use `async with client.list_jobs_many(...) as jobs:`")
        while not (length_hint(self._batch) or self._parcels):
            is_ended = self._is_over or (self._raises and self._final is not None)
            if is_ended or not self._workers:
                return False
            self._news.clear()
            await self._news.wait()
        return True

    def _take(self) -> Sequence[Job] | ProjectOutcome:
        parcel = self._parcels.popleft()
        if not parcel.taken.done():  # its worker may have been cancelled
            parcel.taken.set_result(None)
        return parcel.content

    async def _finish(self, outcome: ProjectOutcome) -> None:
        self._projects_done += 1
        if outcome.error is not None and self._raises:
            self._final = outcome.error  # now, for the hook may raise or be cancelled
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
        self._jobs -= length_hint(self._batch)
        self._batch = iter(())
        self._parcels.clear()
        self._cancel_workers()
        self._news.set()

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
                self._cancel_workers()

    async def _fetch(self, project_id: str) -> None:
        """Hand over all jobs of a project, and what became of it."""
        jobs, failure = 0, None
        reader: JobReader | None = None
        try:
            reader = self._open_reader(project_id)
            self._readers.add(reader)
            while (batch := await reader.next_batch()) is not None:
                jobs += len(batch)
                await self._hand_over(batch)
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
            self._failures[project_id] = failure
            if self._raises:
                self._cancel_workers()
        await self._hand_over(ProjectOutcome(project_id, jobs, failure))

    async def _hand_over(self, content: Sequence[Job] | ProjectOutcome) -> None:
        """Wait until the consumer has taken it."""
        parcel = _Parcel(content, asyncio.get_running_loop().create_future())
        self._parcels.append(parcel)
        self._news.set()
        await parcel.taken

    def _cancel_workers(self) -> None:
        self._ids.stop()
        for worker in self._workers or ():
            if worker is not asyncio.current_task():
                worker.cancel()

    def _note_end(self, worker: asyncio.Task[None]) -> None:
        if self._workers is not None:
            self._workers.discard(worker)
        self._news.set()
