"""Jobs as a Dask DataFrame on a cluster: the bounds of all workers, their key, and their death."""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator

import cloudpickle
import dask
import pytest
from distributed import wait

from plangrep_async import AuthenticationError, RetryPolicy, ServerError
from plangrep_async.dask import read_jobs
from plangrep_async.emulator import Emulator, Fault, Limits, RequestRecord
from tests.clusters import cluster, serving
from tests.conftest import QUICK
from tests.secrets import LogWatch, holds, leaks
from tests.test_dask import ids_of, jobs_of


def slow(requests: int, bound: int) -> Limits:
    """Make each answer take so long that a busy machine uses up the bound, too: 2 s in all."""
    return Limits(latency=2 * bound / requests)


@pytest.mark.parametrize(
    ("workers", "threads", "bound", "partitions"),
    [(2, 1, 6, 4), (2, 2, 5, 8), (1, 4, 2, 8), (2, 2, 16, 1)],
)
def test_the_bound_is_that_of_all_workers(
    workers: int, threads: int, bound: int, partitions: int
) -> None:
    """It is used up by few threads and by many, and never exceeded."""
    with (
        serving(projects=24, jobs_per_project=1, limits=slow(24, bound)) as emulator,
        cluster(workers, threads=threads),
    ):
        frame = read_jobs(
            emulator.project_ids,
            projects_per_partition=24 // partitions,
            max_concurrency=bound,
        )
        assert ids_of(frame.compute()) == jobs_of(emulator)
        assert emulator.most_in_flight == bound


def test_frames_that_are_computed_together_share_the_bound() -> None:
    """Two reads with the same bound are not twice as many requests."""
    limits = slow(60, bound=4)
    with serving(projects=30, jobs_per_project=1, limits=limits) as emulator, cluster(2, threads=2):
        frames = [
            read_jobs(emulator.project_ids, projects_per_partition=size, max_concurrency=4)
            for size in (5, 6)
        ]
        for computed in dask.compute(*frames):
            assert ids_of(computed) == jobs_of(emulator)
        assert emulator.most_in_flight == 4


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for something to be so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.005)


def test_workers_that_come_later_keep_the_bound() -> None:
    """The first one has all of it for a partition, and shares the next ones."""
    with (
        serving(projects=40, jobs_per_project=1, limits=slow(40, bound=6)) as emulator,
        cluster(1) as (local, client),
    ):
        frame = read_jobs(emulator.project_ids, projects_per_partition=6, max_concurrency=6)
        future = client.compute(frame)
        until(lambda: emulator.requests)
        local.scale(3)
        until(lambda: len(client.has_what()) == 3)
        assert ids_of(future.result()) == jobs_of(emulator)
        assert emulator.most_in_flight == 6


def test_the_rate_is_that_of_all_workers() -> None:
    """A worker has no more of it than of the requests in flight."""
    with serving(projects=30, jobs_per_project=1) as emulator, cluster(2, threads=2):
        frame = read_jobs(emulator.project_ids, projects_per_partition=3, requests_per_second=80)
        begin = time.monotonic()
        assert ids_of(frame.compute()) == jobs_of(emulator)
        assert emulator.requests[-1].arrived - begin >= 30 / 80 - 0.05


def test_workers_that_are_throttled_go_on_until_all_is_there() -> None:
    """A server that answers 429 costs time, and no job comes twice."""
    limits = Limits(requests_per_second=50, burst=1, retry_after=None)
    with serving(projects=12, jobs_per_project=2, limits=limits) as emulator, cluster(2):
        frame = read_jobs(
            emulator.project_ids, projects_per_partition=6, retry=RetryPolicy(first_wait=0.02)
        )
        assert ids_of(frame.compute()) == jobs_of(emulator)
        assert 429 in {request.status for request in emulator.requests}


@contextlib.contextmanager
def watched(secret: str) -> Iterator[LogWatch]:
    """Look for a secret in all that Dask logs, which does not reach the root's handlers."""
    watch = LogWatch(secret)
    names = [name for name in logging.Logger.manager.loggerDict if name.startswith("distributed")]
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    logging.getLogger("distributed").addHandler(watch)
    try:
        yield watch
    finally:
        logging.getLogger("distributed").removeHandler(watch)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@pytest.mark.parametrize("fault", [500, 401])
def test_the_key_is_nowhere_but_in_the_environment(fault: int) -> None:
    """Not in what the scheduler knows of a task that failed, in a log, or in the error."""
    with (
        serving(projects=3, jobs_per_project=1) as emulator,
        watched(emulator.api_key) as watch,
        cluster(2) as (local, client),
    ):
        bad = emulator.project_ids[1]
        emulator.faults[bad] = [Fault(status=fault, times=None)]
        frame = read_jobs(emulator.project_ids, projects_per_partition=1, retry=QUICK)
        future = client.compute(frame)
        wait(future)
        error = future.exception()
        assert isinstance(error, AuthenticationError if fault == 401 else ServerError)
        assert error.project_id == bad
        assert leaks(error, emulator.api_key) == []
        assert not holds(cloudpickle.dumps(error).decode("latin-1"), emulator.api_key)
        for task in local.scheduler.tasks.values():
            facts = [task.key, task.exception_text, task.traceback_text, task.run_spec]
            shown = [repr(facts), cloudpickle.dumps(facts).decode("latin-1")]
            assert not holds("".join(shown), emulator.api_key)
        assert any(bad in str(task.exception_text) for task in local.scheduler.tasks.values())
    assert watch.leaks == []


def test_the_leases_are_given_back() -> None:
    """After a failure, too: what comes next has all of the bound."""
    with serving(projects=8, jobs_per_project=1, limits=slow(8, bound=4)) as emulator, cluster(1):
        emulator.faults[emulator.project_ids[0]] = [Fault(status=500)] * QUICK.attempts
        with pytest.raises(ServerError):
            read_jobs(emulator.project_ids, max_concurrency=4, retry=QUICK).compute()
        emulator.most_in_flight = 0
        frame = read_jobs(emulator.project_ids, max_concurrency=4, retry=QUICK)
        assert ids_of(frame.compute()) == jobs_of(emulator)
        assert emulator.most_in_flight == 4


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_job_and_doubles_none() -> None:
    """Its partition is fetched again by another one, within the bound."""
    with (
        serving(projects=40, jobs_per_project=3, limits=slow(40, bound=4)) as emulator,
        cluster(2, processes=True) as (_, client),
    ):
        stalled = emulator.project_ids[0]
        emulator.faults[stalled] = [Fault(stall_after_bytes=100)]  # and the worker waits there
        frame = read_jobs(emulator.project_ids, projects_per_partition=10, max_concurrency=4)
        future = client.compute(frame)
        until(lambda: any(one.body_bytes_sent for one in requests_for(emulator, stalled)))
        (victim,) = [
            worker
            for worker, keys in client.processing().items()
            if any(isinstance(key, tuple) and key[1] == 0 for key in keys)
        ]
        os.kill(client.run(os.getpid, workers=[victim])[victim], signal.SIGKILL)
        assert ids_of(future.result(timeout=40)) == jobs_of(emulator)
        assert len(requests_for(emulator, stalled)) == 2
        assert emulator.most_in_flight <= 4


def requests_for(emulator: Emulator, project_id: str) -> list[RequestRecord]:
    return [request for request in emulator.requests if request.project_id == project_id]
