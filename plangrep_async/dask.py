"""The jobs of many projects as a Dask DataFrame, each partition fetched where it is computed.

    jobs = read_jobs(project_ids, max_concurrency=32)
    jobs.to_parquet("jobs", schema=job_schema(), write_index=False, overwrite=True)

The bounds are those of the cluster. A `distributed.Semaphore` has a lease for each request that may
be in flight. A partition waits for one of them, takes what is free of its fair part, which is the
bound divided by the threads of the cluster, and has a client with as many requests in flight and
that part of the rate. So workers may come and go: the leases never add up to more than the bound,
and a few workers have all of it. A worker that is not heard of for 30 seconds loses its leases
(`distributed.scheduler.locks.lease-timeout`); until then the others go on with theirs.

Without a cluster one partition of the process is fetched at a time, with all of the bound: a second
event loop beside it would win nothing.
"""

import asyncio
import math
import os
import pkgutil
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from weakref import WeakKeyDictionary

import attrs

from plangrep_async._checks import check_count, check_rate, check_type
from plangrep_async._credentials import ENVIRONMENT_VARIABLE
from plangrep_async._endpoint import check_base_url, jobs_path
from plangrep_async._options import oldest_wanted
from plangrep_async._retry import RetryPolicy
from plangrep_async._transport import Timeouts
from plangrep_async.client import AsyncPlangrep
from plangrep_async.errors import ConfigurationError
from plangrep_async.export import job_batch, job_schema
from plangrep_async.models import Job

if TYPE_CHECKING:
    import dask.dataframe as dd

_BATCH_SIZE = 1_024  # jobs and files that are objects at a time
_PATIENCE = 0.05  # seconds to wait for one more lease, which somebody may be about to give back

_alone = threading.Lock()  # held by who fetches in a process that is no worker
_semaphores: "WeakKeyDictionary[Any, dict[int, Any]]" = WeakKeyDictionary()  # of each worker


def read_jobs(
    project_ids: Iterable[str],
    *,
    projects_per_partition: int = 100,
    max_concurrency: int = 16,
    requests_per_second: float | None = None,
    created_after: datetime | None = None,
    api_key: Callable[[], str] | Callable[[], Awaitable[str]] | None = None,
    base_url: str | None = None,
    timeout: Timeouts = Timeouts(),
    retry: RetryPolicy = RetryPolicy(),
) -> "dd.DataFrame":
    """Give the jobs of projects as a Dask DataFrame, which fetches them when it is computed.

    The columns are those of `export.job_schema()`, in pandas types that pyarrow backs; divisions
    are not known. A partition is the next `projects_per_partition` projects, in the order given,
    each with its newest job first. It is in memory as a whole, twice while it is made. `result_url`
    is not there, for it carries a token, and workers spill to disk.

    - `max_concurrency`, `requests_per_second`: the bounds for all workers together. Each partition
      learns anew how much the server allows: say it where it is known. Frames of equal
      `max_concurrency` that are computed at the same time share the leases. A partition that finds
      none free waits, and a thread of its worker with it.
    - `api_key`: a function, as for `AsyncPlangrep`, that workers import by its name. Without it
      each takes `PLANGREP_API_KEY` from its environment. The task graph holds no key.
    - `created_after`: as for `AsyncPlangrep.list_jobs`.
    - `base_url`, `timeout`, `retry`: as for `AsyncPlangrep`, in the environment of the worker.

    Each call is a read of its own, and fetches anew; a frame that is computed twice does it twice,
    and what is derived from one that was persisted uses what is there.

    Computing raises the error of a project that failed after its retries, with its `project_id`. To
    try again, call again: a cluster keeps what became of a task for as long as somebody holds it.
    Raises `ConfigurationError` here for what cannot work, and where Dask is not installed.
    """
    try:
        from dask.dataframe import from_map  # noqa: PLC0415  # it comes with an extra

        key_function = None if api_key is None else _importable_name(api_key)
        address = None if base_url is None else check_base_url(base_url)
    except ImportError as error:
        raise ConfigurationError("Dask is missing: pip install 'plangrep-async[dask]'") from error
    finally:
        del api_key, base_url  # a traceback may be shown with its variables
    check_count("projects_per_partition", projects_per_partition, least=1)
    check_count("max_concurrency", max_concurrency, least=1)
    check_rate("requests_per_second", requests_per_second)
    oldest_wanted(None, created_after)  # refuses what is no time
    check_type("timeout", timeout, Timeouts)
    check_type("retry", retry, RetryPolicy)
    ids, size = _checked_ids(project_ids), projects_per_partition
    shards = [tuple(ids[start : start + size]) for start in range(0, len(ids), size)] or [()]
    fetch = _Fetch(
        read=uuid4().hex,
        process=os.getpid(),
        partitions=len(shards),
        max_concurrency=max_concurrency,
        requests_per_second=requests_per_second,
        created_after=created_after,
        key_function=key_function,
        options={"base_url": address, "timeout": timeout, "retry": retry},
    )
    meta = _frame([], [], job_schema().names)
    return from_map(fetch, shards, meta=meta, label="read_jobs")


@attrs.frozen(kw_only=True, eq=False)
class _Fetch:
    """Makes the frame of a partition. The task graph has it, so what it holds is no secret."""

    read: str
    process: int  # that made the graph
    partitions: int
    max_concurrency: int
    requests_per_second: float | None
    created_after: datetime | None
    key_function: str | None
    options: Mapping[str, Any]

    def __dask_tokenize__(self) -> str:
        return self.read

    def __call__(self, project_ids: Sequence[str], columns: list[str]) -> Any:
        """Fetch the projects; `columns` is what Dask's optimizer has found to be used."""
        if not project_ids:
            return _frame([], [], columns)
        with self._part() as leases:
            batches, places = _run(self._fetch(project_ids, columns, leases))
        return _frame(batches, places, columns)

    async def _fetch(self, project_ids: Sequence[str], columns: list[str], leases: int) -> Any:
        """Give the jobs as batches in the order in which they came, and the places they belong."""
        key = self.key_function and pkgutil.resolve_name(self.key_function)
        client = AsyncPlangrep(key, max_concurrency=leases, **self.options)
        place = {project_id: number for number, project_id in enumerate(project_ids)}
        places, batches, pending, size = list[int](), list[Any](), list[Job](), 0
        async with client:
            if self.requests_per_second is not None:
                rate = self.requests_per_second * leases / self.max_concurrency
                client._lifetime.limiter.pace.cap(rate)  # noqa: SLF001
                await asyncio.sleep(1 / rate)  # since the last request of who had the leases before
            async with client.list_jobs_many(project_ids, created_after=self.created_after) as jobs:
                async for job in jobs:
                    pending.append(job)
                    places.append(place.get(job.project_id, -1))
                    size += 1 + len(job.files)
                    if size >= _BATCH_SIZE:
                        batches.append(job_batch(pending).select(columns))
                        pending, size = [], 0
        batches.append(job_batch(pending).select(columns))
        return batches, places

    @contextmanager
    def _part(self) -> Iterator[int]:
        """Hold a part of the bound; the value is how many requests may be in flight."""
        semaphore = _semaphore(self.max_concurrency)
        if semaphore is None:
            if os.getpid() != self.process:
                raise ConfigurationError(
                    "processes that are no workers of a cluster share no bound: compute with a "
                    "distributed.Client, or with the scheduler 'threads' or 'synchronous'"
                )
            with _alone:
                yield self.max_concurrency
            return
        # As `Client.nthreads` does it, but without a client on each worker.
        threads = sum(semaphore.sync(semaphore.scheduler.ncores).values())
        fair = math.ceil(self.max_concurrency / max(1, min(threads, self.partitions)))
        held = 0
        try:
            while held < fair and semaphore.acquire(timeout=_PATIENCE if held else None):
                held += 1
            yield held
        finally:
            for _ in range(held):
                semaphore.release()


def _semaphore(leases: int) -> Any:
    """Give the semaphore of this worker's cluster, or nothing where this is no worker."""
    try:
        distributed = sys.modules["distributed"]  # which a worker has imported
        worker = distributed.get_worker()
    except (KeyError, ValueError):
        return None
    # One for all tasks: its timer, which renews leases, is there for as long as the worker lives.
    known = _semaphores.setdefault(worker, {})
    if leases not in known:
        known.setdefault(leases, distributed.Semaphore(leases, f"plangrep_async-{leases}"))
    return known[leases]


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run it in an event loop of its own: in this thread, unless one is running here already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as executor:  # a notebook with the synchronous scheduler
        return executor.submit(asyncio.run, coroutine).result()


def _frame(batches: list[Any], places: list[int], columns: list[str]) -> Any:
    """Make a frame of the batches, its rows in the order of their places."""
    import pandas as pd  # noqa: PLC0415  # it comes with an extra, as pyarrow
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    schema = job_schema().empty_table().select(columns).schema
    order = pc.array_sort_indices(pa.array(places, pa.int64()))  # a stable sort
    table = pa.Table.from_batches(batches, schema=schema).take(order)
    return table.to_pandas(types_mapper=pd.ArrowDtype)


def _checked_ids(project_ids: Iterable[str]) -> list[str]:
    """Give each id once; refuse what is none."""
    if isinstance(project_ids, str | bytes) or not isinstance(project_ids, Iterable):
        raise ConfigurationError("project_ids must be a list of ids, or another iterable")
    ids = list(dict.fromkeys(project_ids))
    for project_id in ids:
        jobs_path(project_id)
    return ids


def _importable_name(function: Any) -> str:
    """Give the name by which workers import a function; refuse what could hold a key itself."""
    try:
        if callable(function) and getattr(function, "__module__", None) != "__main__":
            with suppress(ImportError, AttributeError, ValueError):
                name = f"{function.__module__}:{function.__qualname__}"
                if pkgutil.resolve_name(name) is function:
                    return name
        raise ConfigurationError(
            "api_key must be a function of a module that the workers have, so that they import it "
            f"by its name; without one they take {ENVIRONMENT_VARIABLE} from their environment"
        )
    finally:
        del function
