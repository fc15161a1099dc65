"""What reads the lists of jobs, made for one client: with its transport, rules, and lifetime."""

from collections.abc import AsyncIterable, Callable, Iterable
from datetime import datetime

from cattrs import Converter

from plangrep_async._answer import Turn, let_others
from plangrep_async._bulk import JobStream, OnError, OnProjectEnd, OpenReader
from plangrep_async._checks import check_hook, check_seconds
from plangrep_async._endpoint import jobs_path
from plangrep_async._ids import ProjectIds
from plangrep_async._jobs import CurrentJobReader, read_all
from plangrep_async._lifetime import Lifetime
from plangrep_async._options import decoder, oldest_wanted
from plangrep_async._query import JobQuery, OnInvalid
from plangrep_async._singleflight import SingleFlight
from plangrep_async._stream import JobReader
from plangrep_async.errors import ConfigurationError
from plangrep_async.models import Job

MakeReader = Callable[[str, str | Job | None, Turn], JobReader]
"""Makes the reader of a project's list: of an id, of the job to stop at, and with its turns."""


class Readers:
    """A reader ends with the client's lifetime, which it keeps alive."""

    def __init__(self, lifetime: Lifetime, converter: Converter, *, max_job_bytes: int) -> None:
        self._lifetime = lifetime
        self._decode_jobs = decoder(converter, Job)  # refuses a converter that cannot work
        self._max_job_bytes = max_job_bytes
        self._whole_lists: SingleFlight[tuple[Job, ...]] = SingleFlight(lifetime)

    def of_jobs(
        self,
        created_after: datetime | None,
        on_invalid: OnInvalid | None,
        *,
        wants_current: bool = False,
    ) -> MakeReader:
        """Give what makes the reader of a project that stops at a job."""
        check_hook("on_invalid", on_invalid, "an InvalidElement")
        oldest_wanted(None, created_after)  # refuses what is no time

        def make(project_id: str, after_job: str | Job | None, turn: Turn) -> JobReader:
            query = JobQuery(
                path=jobs_path(project_id),
                project_id=project_id,
                after_job=after_job.id if isinstance(after_job, Job) else after_job,
                oldest=oldest_wanted(after_job, created_after),
                on_invalid=on_invalid,
                wants_current=wants_current,
            )
            reader = JobReader(
                self._lifetime,
                query,
                decode=self._decode_jobs,
                max_job_bytes=self._max_job_bytes,
                turn=turn,
            )
            return self._lifetime.track(reader)

        return make

    async def whole_list(self, project_id: str, *, max_age: float) -> tuple[Job, ...]:
        """Give all jobs of a project, from one reader for all who ask at the same time."""
        check_seconds("max_age", max_age)
        jobs_path(project_id)  # refuses what is no id, and so no key
        read = self.of_jobs(None, None)
        return await self._whole_lists.get(
            project_id, lambda: read_all(read(project_id, None, let_others)), max_age=max_age
        )

    def of_current_job(self, project_id: str, turn: Turn = let_others) -> CurrentJobReader:
        """Make the reader of the newest job of a project that is not terminal."""
        read = self.of_jobs(None, None, wants_current=True)
        return CurrentJobReader(read(project_id, None, turn))

    def of_many(
        self,
        project_ids: Iterable[str] | AsyncIterable[str],
        open_reader: OpenReader,
        *,
        on_error: OnError,
        on_project_end: OnProjectEnd | None,
    ) -> JobStream:
        """Make a stream of what these readers give of many projects."""
        if on_error not in ("raise", "collect"):
            raise ConfigurationError('on_error must be "raise" or "collect"')
        check_hook("on_project_end", on_project_end, "a ProjectOutcome", is_awaited=True)
        stream = JobStream(
            ProjectIds(project_ids),
            open_reader,
            workers=self._lifetime.max_concurrency,
            pace=self._lifetime.limiter.pace,
            on_error=on_error,
            on_project_end=on_project_end,
        )
        return self._lifetime.track(stream)
