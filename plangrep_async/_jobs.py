"""What is made of the reader of a project's list: jobs one by one, all of them, or the current one.

The first is a generator; the others deliver at the end, and so nothing where they fail.
"""

from collections.abc import AsyncGenerator
from typing import Any

from plangrep_async._batch import Batch
from plangrep_async._stream import JobReader
from plangrep_async.errors import PlangrepError
from plangrep_async.models import Job


async def list_jobs(reader: JobReader) -> AsyncGenerator[Job, None]:
    """Give the jobs one by one; leaving closes the connection."""
    try:
        while (batch := await reader.next_batch()) is not None:
            for place, job in enumerate(batch, 1):
                yield job
                if reader.network.is_aborted:
                    reader.take_back(len(batch) - place, job)
                    reader.check()
    finally:
        reader.close()


async def read_all(reader: JobReader) -> tuple[Job, ...]:
    """Give all jobs, or raise with none of them delivered."""
    jobs: list[Job] = []
    try:
        while (batch := await reader.next_batch()) is not None:
            jobs.extend(batch)
        return tuple(jobs)
    except PlangrepError as error:
        _deliver_nothing(error)
        raise
    finally:
        reader.close()
        jobs.clear()  # a traceback that is kept would keep them


class CurrentJobReader:
    """Reads a list as far as its newest job that is not terminal, and gives that one, if any."""

    def __init__(self, reader: JobReader) -> None:
        self._reader = reader

    @property
    def bytes_read(self) -> int:
        """Bytes of bodies that were read until now, unpacked."""
        return self._reader.bytes_read

    @property
    def retries(self) -> int:
        """Attempts that failed and were followed by another one."""
        return self._reader.retries

    async def next_batch(self) -> Batch[Job] | None:
        """Give the job, and then the end."""
        job = await self.read()
        return None if job is None else Batch([job])

    async def read(self) -> Job | None:
        """Give the job, or `None` at the end of the list; closes the connection either way."""
        try:
            while (batch := await self._reader.next_batch()) is not None:
                if (job := batch.first(_is_current)) is not None:
                    return job
        except PlangrepError as error:
            _deliver_nothing(error)
            raise
        finally:
            self.close()
        return None

    def close(self) -> None:
        """Close the connection, unless the answer was read to its end; any number of times."""
        self._reader.close()


def _is_current(row: Any) -> bool:
    return not row.status.is_terminal


def _deliver_nothing(error: PlangrepError) -> None:
    """Take back what a reader says of jobs that it gave: nobody has got them."""
    error.delivered, error.last_job_id = 0, None
