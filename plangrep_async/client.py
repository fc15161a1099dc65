"""`AsyncPlangrep`: one short method for each thing that can be asked."""

import ssl as tls
import sys
import warnings
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from datetime import datetime
from inspect import iscoroutinefunction
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

from cattrs import Converter
from cattrs.errors import StructureHandlerNotFoundError

from plangrep_async._answer import Batch
from plangrep_async._credentials import Credentials, KeySource
from plangrep_async._elements import array_decoder
from plangrep_async._endpoint import check_base_url, jobs_path
from plangrep_async._retry import RetryPolicy
from plangrep_async._stream import JobQuery, JobReader, OnInvalid, list_jobs
from plangrep_async._transport import Session, Timeouts, Transport
from plangrep_async._version import __version__
from plangrep_async.converter import make_converter
from plangrep_async.errors import ConfigurationError
from plangrep_async.models import Job

if TYPE_CHECKING:
    import aiohttp

_LEAST_MAX_JOB_BYTES = 1 << 10
_OF_OTHER_PROCESSES: list[Session] = []  # of which a fork left a copy here


class AsyncPlangrep:
    """A client of the Plangrep API, for one event loop.

    Use it with `async with`, or call `aclose()`. It may be made outside an event loop; it belongs
    to the loop that uses it first.

    - `api_key`: the key, or a function (async, too) that returns one and is asked again after a
      401, once. Without it the environment variable `PLANGREP_API_KEY`.
    - `base_url`: without it the environment variable `PLANGREP_BASE_URL`, else the public API.
      Plain `http` is accepted for this very machine only.
    - `timeout`, `retry`: see `Timeouts` and `RetryPolicy`.
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
        max_job_bytes: int = 8 << 20,
        converter: Converter | None = None,
        session: "aiohttp.ClientSession | None" = None,
        ssl: tls.SSLContext | None = None,
        trust_env: bool = False,
        trace_configs: "Sequence[aiohttp.TraceConfig]" = (),
        user_agent_suffix: str | None = None,
    ) -> None:
        self._session: Session | None = None  # for `__del__`, should anything below raise
        self._base_url = ""  # and for `__repr__`
        try:
            credentials = Credentials(api_key)
            self._base_url = check_base_url(base_url)
        finally:
            del api_key, base_url  # a traceback may be shown with its variables
        _check_type("timeout", timeout, Timeouts)
        _check_type("retry", retry, RetryPolicy)
        _check_type("converter", converter, Converter | None)
        self._converter = make_converter() if converter is None else converter
        self._max_job_bytes = _checked_size(max_job_bytes)
        self._readers: WeakSet[JobReader] = WeakSet()
        _job_decoder(self._converter)
        self._session = Session(
            session, timeouts=timeout, ssl=ssl, trust_env=trust_env, trace_configs=trace_configs
        )
        self._transport = Transport(
            self._base_url,
            credentials,
            self._session,
            timeouts=timeout,
            retry=retry,
            user_agent=_user_agent(user_agent_suffix),
        )

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
        if on_invalid is not None and (not callable(on_invalid) or iscoroutinefunction(on_invalid)):
            raise ConfigurationError("on_invalid must be a plain function of an InvalidElement")
        query = JobQuery(
            path=jobs_path(project_id),
            project_id=project_id,
            after_job=after_job.id if isinstance(after_job, Job) else after_job,
            oldest=_oldest(after_job, created_after),
            on_invalid=on_invalid,
        )
        reader = JobReader(
            self._transport,
            query,
            decode=_job_decoder(self._converter),
            max_job_bytes=self._max_job_bytes,
            client=self,
        )
        self._readers.add(reader)
        return list_jobs(reader)

    async def aclose(self) -> None:
        """Close the client; any number of times. Streams still in use raise `ClientClosed`.

        In a process that was forked off, what belongs to the other process is left alone.
        """
        if self._session is not None:
            if not self._session.is_forked:
                for reader in list(self._readers):
                    reader.abort()
            await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncPlangrep(base_url={self._base_url!r})"

    def __del__(self) -> None:
        if self._session is not None and self._session.is_forked:
            _OF_OTHER_PROCESSES.append(self._session)  # or aiohttp would close it
        elif self._session is not None and self._session.needs_closing:
            self._session.abandon()  # first, for a warning may be an error
            warnings.warn(
                f"{self!r} was not closed: use `async with`, or await its aclose()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )


def _job_decoder(converter: Converter) -> Callable[[bytes], Iterable[Batch]]:
    try:
        return array_decoder(converter, Job)
    except StructureHandlerNotFoundError as error:
        missing = getattr(error.type_, "__name__", "a type")
    raise ConfigurationError(
        f"the converter cannot structure {missing}: start from "
        "plangrep_async.converter.make_converter()"
    )


def _check_type(name: str, value: object, expected: Any) -> None:
    if not isinstance(value, expected):
        kind = getattr(expected, "__name__", "cattrs Converter")
        raise ConfigurationError(f"{name} must be a {kind}, not a {type(value).__name__}")


def _oldest(after_job: str | Job | None, created_after: datetime | None) -> datetime | None:
    """Find the earliest creation time that is still wanted."""
    if not isinstance(after_job, str | Job | None):
        raise ConfigurationError("after_job must be the id of a job, or a Job")
    if created_after is not None and (
        not isinstance(created_after, datetime) or created_after.utcoffset() is None
    ):
        raise ConfigurationError("created_after must be a datetime with a time zone")
    times = [created_after, after_job.created_at if isinstance(after_job, Job) else None]
    return max((time for time in times if time is not None), default=None)


def _checked_size(max_job_bytes: int) -> int:
    if isinstance(max_job_bytes, bool) or not isinstance(max_job_bytes, int):
        raise ConfigurationError("max_job_bytes must be an integer")
    if max_job_bytes < _LEAST_MAX_JOB_BYTES:
        raise ConfigurationError(f"max_job_bytes must be at least {_LEAST_MAX_JOB_BYTES}")
    return max_job_bytes


def _user_agent(suffix: str | None) -> str:
    # RFC 9110, section 10.1.5.
    agent = f"plangrep_async/{__version__} Python/{sys.version_info[0]}.{sys.version_info[1]}"
    if suffix is None:
        return agent
    if not suffix or not all(" " <= character <= "~" for character in suffix):
        raise ConfigurationError("user_agent_suffix must be printable ASCII")
    return f"{agent} {suffix}"
