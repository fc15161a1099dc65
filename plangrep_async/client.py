"""`AsyncPlangrep`: one short method for each thing that can be asked."""

import ssl as tls
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from cattrs import Converter

from plangrep_async._answer import let_others
from plangrep_async._bulk import JobStream, OnError, OnProjectEnd
from plangrep_async._checks import check_count, check_type
from plangrep_async._credentials import Credentials, KeySource
from plangrep_async._documents import Documents
from plangrep_async._endpoint import check_base_url
from plangrep_async._jobs import list_jobs
from plangrep_async._lifetime import Lifetime
from plangrep_async._options import user_agent
from plangrep_async._polling import check_wait, poll_waits
from plangrep_async._query import OnInvalid
from plangrep_async._readers import Readers
from plangrep_async._retry import RetryPolicy
from plangrep_async._transport import Session, Timeouts
from plangrep_async.converter import make_converter
from plangrep_async.models import Job, Project

if TYPE_CHECKING:
    import aiohttp


class AsyncPlangrep:
    """A client of the Plangrep API, for one event loop.

    Use it with `async with`, or call `aclose()`. It may be made outside an event loop; it belongs
    to the loop that uses it first.

    - `api_key`: the key, or a function (async, too) that returns one and is asked again after a
      401, once. Without it the environment variable `PLANGREP_API_KEY`.
    - `base_url`: without it the environment variable `PLANGREP_BASE_URL`, else the public API.
      Plain `http` is accepted for this very machine only.
    - `timeout`, `retry`: see `Timeouts` and `RetryPolicy`.
    - `max_concurrency`: how many requests may be in flight, of all methods together; fewer while
      the server is short of breath, and no more a second than it lets through.
    - `max_job_bytes`: a job whose JSON is longer is an `InvalidResponse`; bounds the memory.
    - `converter`: one from `plangrep_async.converter.make_converter()` with hooks of your own.
    - `session`: your own `aiohttp.ClientSession`; it is never closed nor changed, its cookie jar,
      pool and proxies are yours. The client's own drops a connection on which something came
      that nobody had asked for; aiohttp's takes it for the next answer.
    - `ssl`: an `ssl.SSLContext` for a private certificate authority.
    - `trust_env`: use the proxies and `.netrc` of the environment.
    - `trace_configs`: `aiohttp.TraceConfig` objects for the session.
    - `user_agent_suffix`: what to add to the `User-Agent`, such as `my-service/1.2`.

    Raises `ConfigurationError`, which is a `ValueError`, for what cannot work.
    """

    def __init__(
        self,
        api_key: KeySource | None = None,
        *,
        base_url: str | None = None,
        timeout: Timeouts = Timeouts(),
        retry: RetryPolicy = RetryPolicy(),
        max_concurrency: int = 16,
        max_job_bytes: int = 8 << 20,
        converter: Converter | None = None,
        session: "aiohttp.ClientSession | None" = None,
        ssl: tls.SSLContext | None = None,
        trust_env: bool = False,
        trace_configs: "Sequence[aiohttp.TraceConfig]" = (),
        user_agent_suffix: str | None = None,
    ) -> None:
        self._base_url = ""  # for `__repr__`, should anything below raise
        try:
            credentials = Credentials(api_key)
            self._base_url = check_base_url(base_url)
        finally:
            del api_key, base_url  # a traceback may be shown with its variables
        check_type("timeout", timeout, Timeouts)
        check_type("retry", retry, RetryPolicy)
        rules = make_converter() if converter is None else converter
        check_type("converter", rules, Converter)
        check_type("trust_env", trust_env, bool)
        check_count("max_concurrency", max_concurrency, least=1)
        check_count("max_job_bytes", max_job_bytes, least=1 << 10)
        self._lifetime = Lifetime(
            repr(self),
            Session(
                session, timeouts=timeout, ssl=ssl, trust_env=trust_env, trace_configs=trace_configs
            ),
            credentials,
            base_url=self._base_url,
            timeouts=timeout,
            retry=retry,
            max_concurrency=max_concurrency,
            user_agent=user_agent(user_agent_suffix),
        )
        self._readers = Readers(self._lifetime, rules, max_job_bytes=max_job_bytes)
        self._documents = Documents(self._lifetime, rules, max_job_bytes=max_job_bytes)

    def list_jobs(
        self,
        project_id: str,
        *,
        after_job: str | Job | None = None,
        created_after: datetime | None = None,
        on_invalid: OnInvalid | None = None,
    ) -> AsyncGenerator[Job, None]:
        """Stream all jobs of a project, newest first.

        Leaving the loop stops the download: at once under `contextlib.aclosing`, else one turn of
        the event loop later.

        - `after_job`: stop before this job. Given as a `Job`, its time serves when its id is gone.
        - `created_after`: an aware datetime; stop before the first job created earlier.
        - `on_invalid`: called with each element that is no job (a `converter.InvalidElement`),
          and the stream goes on; without it such an element raises `InvalidJob`.

        With a stop, only the head of the list is downloaded. A job behind it that has changed is
        not seen again, and the id of a job that is gone reads to the end.

        Raises `ConfigurationError` here; `PlangrepError`s come from the iteration, after every
        job that arrived before them.
        """
        read = self._readers.of_jobs(created_after, on_invalid)
        return list_jobs(read(project_id, after_job, let_others))

    def list_jobs_many(
        self,
        project_ids: Iterable[str] | AsyncIterable[str],
        *,
        on_error: OnError = "raise",
        after_job: Mapping[str, str | Job] | None = None,
        created_after: datetime | None = None,
        on_invalid: OnInvalid | None = None,
        on_project_end: OnProjectEnd | None = None,
    ) -> JobStream:
        """Stream the jobs of many projects: `async with … as jobs`, then `async for job in jobs`.

        Ids are read when somebody is free for them, and each is fetched once. Jobs of one project
        come newest first, those of different projects as they arrive; `job.project_id` says whose
        one is. A consumer that takes its time holds up the download, and memory stays bounded.

        - `on_error`: `"raise"` ends everything with the first failure, after the jobs that had
          come before it; `"collect"` goes on with the others, and `failures` says which failed.
        - `after_job`: where to stop, by project, as for `list_jobs`.
        - `created_after`, `on_invalid`: as for `list_jobs`, for every project.
        - `on_project_end`: awaited with a `ProjectOutcome` once for each project, failed and empty
          ones included, when its last job was consumed.

        Raises `ConfigurationError` here, and what an iterable of ids raises in the iteration.
        """
        marks = {} if after_job is None else after_job
        check_type("after_job", marks, Mapping)
        read = self._readers.of_jobs(created_after, on_invalid)
        return self._readers.of_many(
            project_ids,
            lambda project_id, turn: read(project_id, marks.get(project_id), turn),
            on_error=on_error,
            on_project_end=on_project_end,
        )

    async def get_jobs(self, project_id: str, *, max_age: float = 0.0) -> tuple[Job, ...]:
        """Give all jobs of a project, newest first, in one piece.

        Calls for the same project that are in flight share one request. It ends with the last of
        them that is cancelled, and its error is raised by each of them.

        - `max_age`: also take a list that was asked for less than so many seconds ago. The lists
          of at most 128 projects are kept for that, only of those asked for with a `max_age`; they
          take some 2 KB a job.

        Raises what `list_jobs` does, with nothing `delivered`.
        """
        return await self._readers.whole_list(project_id, max_age=max_age)

    async def current_job(self, project_id: str) -> Job | None:
        """Give the newest job that is not terminal, or `None`; a status not known counts as such.

        The list is downloaded as far as this job, to its end where there is none.
        """
        return await self._readers.of_current_job(project_id).read()

    def current_jobs(
        self,
        project_ids: Iterable[str] | AsyncIterable[str],
        *,
        on_error: OnError = "raise",
        on_project_end: OnProjectEnd | None = None,
    ) -> JobStream:
        """Stream the `current_job` of many projects, where they have one; see `list_jobs_many`."""
        return self._readers.of_many(
            project_ids,
            self._readers.of_current_job,
            on_error=on_error,
            on_project_end=on_project_end,
        )

    async def list_projects(self) -> AsyncGenerator[Project, None]:
        """Give all projects of the organisation, in the order of the API.

        The list is short, and read to its end before the first project is given.
        """
        for project in await self._documents.projects():
            yield project

    async def get_project(self, project_id: str) -> Project:
        """Give one project as it is now.

        Raises `NotFound` where this organisation has none of that id.
        """
        return await self._documents.project(project_id)

    async def get_job(self, job_id: str) -> Job:
        """Give one job as it is now. One that is no job raises `InvalidJob`, with `index` 0.

        Raises `NotFound` where this organisation has none of that id.
        """
        return await self._documents.job(job_id)

    async def get_job_result(
        self, job_id: str, *, max_result_bytes: int = 64 << 20
    ) -> Mapping[str, Any]:
        """Give the result document of a job that is completed: dicts, lists, texts and numbers.

        Timestamps stay texts; of members of one object with the same name the last one counts. A
        number that is out of range is an `InvalidResponse`, as is a document of more than
        `max_result_bytes`. What a job without a result answers is not documented: `NotFound`, or
        another `ApiStatusError`.

        It is held whole, in some five times its size, and decoded in 10 to 30 ms a MiB, with turns
        for others in the loop; but CPython's garbage collector may stop all for 3 ms a MiB.
        """
        return await self._documents.result(job_id, max_bytes=max_result_bytes)

    async def wait_for_job(
        self,
        job_id: str,
        *,
        poll_interval: float = 15.0,
        timeout: float | None = None,  # noqa: ASYNC109  # the error has the job
    ) -> Job:
        """Ask for a job until it is terminal, and give it then.

        - `poll_interval`: seconds from an answer to the next request, and up to a fifth more. The
          documentation allows no less than 5 and recommends 10 to 30.
        - `timeout`: seconds until `WaitTimeout`, which has the job as it was seen last.

        What may pass (no connection, 429, 5xx) is outlived, after all retries and with any
        `retry_after`, for as long as it takes; other errors are raised.
        """
        check_wait(poll_interval, timeout)
        waits = poll_waits(poll_interval)
        return await self._documents.terminal_job(job_id, waits, patience=timeout)

    async def aclose(self) -> None:
        """Close the client; any number of times. Streams still in use raise `ClientClosed`.

        In a process that was forked off, what belongs to the other process is left alone.
        """
        await self._lifetime.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncPlangrep(base_url={self._base_url!r})"
