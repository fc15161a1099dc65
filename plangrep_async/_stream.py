"""One project's list of jobs as a stream: open, read, decode, stop where the caller wants.

Batches and not single jobs are handed on, each by a coroutine that can be retried and cancelled as
a whole; `_jobs.py` makes of them what is given to the caller.
"""

import attrs

from plangrep_async._answer import Answer, Turn
from plangrep_async._batch import Batch
from plangrep_async._elements import Decode
from plangrep_async._interrupt import Interruptible
from plangrep_async._jsonarray import ArrayDecoder
from plangrep_async._lifetime import Lifetime
from plangrep_async._query import JobQuery
from plangrep_async._resume import OrderBroken, PlaceNotFound, ResumePoint
from plangrep_async._retry import is_transient
from plangrep_async._transport import HEAD_BYTES, READ_BYTES
from plangrep_async.converter import InvalidElement
from plangrep_async.errors import (
    ClientClosed,
    IncompleteResponse,
    InvalidJob,
    PlangrepError,
    RateLimited,
)
from plangrep_async.models import Job

_MOST_OPENINGS = 20  # of one list: a server that breaks after each job must find an end


class JobReader:
    """Reads one list to its end, batch by batch, for one task at a time."""

    def __init__(
        self,
        lifetime: Lifetime,
        query: JobQuery,
        *,
        decode: Decode[Job],
        max_job_bytes: int,
        turn: Turn,
    ) -> None:
        self._lifetime = lifetime  # collected before its streams, it would close their connections
        self._query = query
        self._decode = decode
        self._max_job_bytes = max_job_bytes
        self._turn = turn
        self.retries = 0
        """Attempts that failed and were followed by another one."""

        self._response: Answer[Job] | None = None
        self._elements = 0  # how many of them the response gave
        self._failure: Exception | None = None  # to be raised after all that came before it
        self._point = ResumePoint()
        self._openings = 0
        self._delivered = 0
        self._last_job_id: str | None = None
        self._has_failed = False  # the last attempt
        self._bytes_before = 0  # of earlier responses
        self._is_finished = False
        self.network = Interruptible()

    @property
    def bytes_read(self) -> int:
        """Bytes of bodies that were read until now, unpacked."""
        return self._bytes_before + (self._response.bytes_read if self._response else 0)

    async def next_batch(self) -> Batch[Job] | None:
        """Give the next jobs, at least one of them, or `None` at the end of the list.

        Raises one of our errors; after that, and after `close()`, nothing more comes.
        """
        try:
            batch = None if self._is_finished else await self._next_batch()
        except (PlangrepError, TimeoutError) as error:
            failure: Exception = error
        else:
            self.check()
            if batch is None:
                self.close()
            else:
                self._delivered += len(batch)
                self._last_job_id = batch.rows[-1].id
            return batch
        self.close()
        self.check()
        if isinstance(failure, PlangrepError):
            if self._delivered and is_transient(failure) and not isinstance(failure, RateLimited):
                failure = _broken(failure)
            failure.project_id = self._query.project_id
            failure.delivered = self._delivered
            failure.last_job_id = self._last_job_id
        try:
            raise failure
        finally:
            del failure  # whose traceback has this frame: else both wait for the collector

    def close(self) -> None:
        """Close the connection, unless the answer was read to its end; any number of times."""
        self._is_finished = True
        self._drop_response()

    def abort(self) -> None:
        """End the stream from outside: who waits for it, or asks next, gets `ClientClosed`."""
        self.network.abort()
        self.close()

    def check(self) -> None:
        """Raise `ClientClosed` if the stream was ended from outside."""
        if self.network.is_aborted:
            raise ClientClosed(
                "the client was closed while its stream was in use",
                project_id=self._query.project_id,
                delivered=self._delivered,
                last_job_id=self._last_job_id,
            )

    def take_back(self, count: int, last: Job) -> None:
        """Note that so many jobs of the last batch, those behind `last`, were not handed out."""
        self._delivered -= count
        self._last_job_id = last.id

    async def _next_batch(self) -> Batch[Job] | None:
        batch = await self.network.wait_for(self._lifetime.transport.retry.run(self._attempt))
        if batch is None and self._failure is not None:
            failure, self._failure = self._failure, None
            try:
                raise failure
            finally:
                del failure  # whose traceback has this frame
        return batch

    async def _attempt(self) -> Batch[Job] | None:
        """Give the next batch of this response, or of a new one where there is none."""
        self.retries += self._has_failed
        self._has_failed = True  # until it has not
        try:
            while not self._is_finished and self._failure is None:
                if self._response is None:
                    self._response = await self._open()
                batch = await self._response.next_batch()
                if batch is None:
                    self._point.end_response()
                    break
                if jobs := self._select(batch):
                    self._point.deliver(jobs.rows)
                    self._has_failed = False
                    return jobs
        except OrderBroken as error:
            self._failure = _out_of_order(error)
        except PlaceNotFound:
            what = self._response.what if self._response else ""
            fault = f"{what}: what was delivered last is not in the list any more"
        except PlangrepError:
            self._drop_response()
            raise
        else:
            return None
        self._drop_response()
        if self._failure is None:
            raise IncompleteResponse(fault)
        return None

    async def _open(self) -> Answer[Job]:
        if self._openings == _MOST_OPENINGS:
            raise OrderBroken(f"it broke {_MOST_OPENINGS} times")
        self._point.begin_response()
        body = await self._lifetime.transport.open(self._query.path)
        self._openings += 1
        self._elements = 0
        decoder = ArrayDecoder("jobs", self._decode, max_element_bytes=self._max_job_bytes)
        piece_bytes = HEAD_BYTES if self._query.has_stop else READ_BYTES
        return Answer(body, decoder, self._turn, piece_bytes=piece_bytes)

    def _select(self, batch: Batch[Job | InvalidElement]) -> Batch[Job]:
        """Take what is wanted of a batch; note the failure, or the end, that follows it."""
        first, self._elements = self._elements, self._elements + len(batch)
        if (
            self._query.takes_all
            and InvalidElement not in map(type, batch.rows)
            and self._point.takes_all(batch.rows)
        ):
            return batch  # type: ignore[return-value]  # that is what was just seen
        jobs: list[Job] = []
        for index, element in enumerate(batch, first):
            if isinstance(element, InvalidElement):
                if not self._point.is_found:
                    continue  # it was reported, or raised, in the response before
                if self._query.on_invalid is None:
                    self._failure = InvalidJob(
                        f"element {index}: {element.reason}", index=index, path=element.path
                    )
                    break
                try:
                    self._query.on_invalid(attrs.evolve(element, index=index))
                except Exception as error:  # noqa: BLE001  # the caller's, after the jobs before it
                    self._failure = error
                    break
            elif self._query.stops_at(element):
                if not self._point.is_found:
                    raise PlaceNotFound  # what lies between it and the place would be lost
                self.close()
                break
            elif (
                self._query.wants_current
                and not element.status.is_terminal
                and self._point.is_born_since(element)
            ):
                jobs.append(element)  # nothing above it is current, whatever was read before
                break
            else:
                try:
                    is_new = self._point.is_new(element)
                except OrderBroken as error:
                    self._failure = _out_of_order(error)  # after the jobs before it
                    break
                if is_new:
                    jobs.append(element)
        return Batch(jobs)

    def _drop_response(self) -> None:
        if self._response is not None:
            self._response.close()
            self._bytes_before += self._response.bytes_read
            self._response = None


def _out_of_order(error: OrderBroken) -> IncompleteResponse:
    return IncompleteResponse(f"the stream broke and cannot be continued: {error}")


def _broken(failure: PlangrepError) -> IncompleteResponse:
    """Say that a stream could not be continued, and keep why."""
    if isinstance(failure, IncompleteResponse):
        return failure
    broken = IncompleteResponse(
        f"the stream broke and could not be continued: {failure.message}",
        attempts=failure.attempts,
    )
    broken.__cause__ = failure
    return broken
