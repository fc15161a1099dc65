"""What is measured inside a contender's process, the same way for each of them.

A contender is a coroutine function that reads one project's jobs, or those of many, and hands them
to a `Tally`. It first runs once on a tiny document, so that no lazy import or first-use cache
counts, and then, with a new client and new connections, on the real one:

- **Seconds**: from before the client is made to the last job added up. **First job**: from the
  same start to the moment the first typed job is in the consumer's hand.
- **Memory growth**: the kernel's high-water mark of the resident set (`VmHWM`), reset through
  `/proc/self/clear_refs` after the warm-up, so that the shortest peak counts, and memory that C
  code takes as well. What the imports had left free is filled first: up to half a megabyte that
  no contender is charged for. Where the mark cannot be reset (not Linux), `ru_maxrss` stands in,
  which hides growth below an earlier peak.
- **Stalls**: a heartbeat every millisecond sees how late it wakes: how long anything else in the
  program, a health check for example, had to wait. A stall swallows the beats due during it, so
  the percentile counts those, too, each with its own lateness. About one millisecond is the floor,
  and on a busy machine whatever else runs there shows as well.
- **CPU**: user and system seconds from the start until the client is closed and the jobs are
  freed. The heartbeat is in it, and costs those the most who keep the loop free.

The kernel's own buffers are not in the resident set, nor is anything in the server.
"""

import asyncio
import contextlib
import gc
import json
import math
import resource
import statistics
import sys
import time
from array import array
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence, Sized
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import attrs

from benchmarks._data import Totals
from benchmarks._server import HOST, WARM_UP_PROJECT

_BEAT = 0.001

What = TypeVar("What")  # a project id, or many


class _Billing(Protocol):
    @property
    def credits_debited(self) -> int: ...


class _Job(Protocol):
    """What every contender's job has, whatever class it is."""

    @property
    def status(self) -> str: ...
    @property
    def page_count(self) -> int: ...
    @property
    def billing(self) -> _Billing: ...
    @property
    def files(self) -> Sized: ...


class Tally:
    """The consumer: adds up jobs and notes when the first and the last of them were in hand."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.first_at = math.inf
        self.last_at = math.nan

    def add_all(self, jobs: Iterable[_Job]) -> None:
        """Add up jobs that are all there; may be called again for those of another project."""
        count = page_count = files = credits_debited = completed = 0
        for job in jobs:
            if not count:
                self.first_at = min(self.first_at, time.perf_counter())
            count += 1
            page_count += job.page_count
            files += len(job.files)
            credits_debited += job.billing.credits_debited
            completed += job.status == "completed"
        self._done(count, page_count, files, credits_debited, completed)

    async def add_stream(self, jobs: AsyncIterable[_Job]) -> None:
        """Add up jobs as they come: the same loop, so that no contender pays for a wrapper."""
        count = page_count = files = credits_debited = completed = 0
        async for job in jobs:
            if not count:
                self.first_at = min(self.first_at, time.perf_counter())
            count += 1
            page_count += job.page_count
            files += len(job.files)
            credits_debited += job.billing.credits_debited
            completed += job.status == "completed"
        self._done(count, page_count, files, credits_debited, completed)

    def _done(self, *counts: int) -> None:
        self.last_at = time.perf_counter()
        self.totals += Totals(**dict(zip(attrs.fields_dict(Totals), counts, strict=True)))


# Base URL, project or projects, and consumer in; returns when the last job was handed over.
Stream = Callable[[str, str, Tally], Awaitable[None]]
Bulk = Callable[[str, Sequence[str], Tally], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Sample:
    """One run of one contender."""

    totals: Totals
    seconds: float
    first_job_seconds: float
    growth_bytes: int
    longest_stall_seconds: float
    p99_stall_seconds: float
    cpu_seconds: float

    @property
    def jobs_per_second(self) -> float:
        """Jobs in the document per second of the whole run."""
        return self.totals.jobs / self.seconds

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Sample":
        """Rebuild what a child printed."""
        return cls(**{**value, "totals": Totals(**value["totals"])})


class Heartbeat:
    """A task that beats once a millisecond while a block runs, and notes how late each beat is."""

    def __init__(self) -> None:
        self.late = array("d")
        """How late each beat was, in seconds."""
        self.ended = array("d")
        """When each beat took place, in seconds of `time.perf_counter()`."""
        self.busy = array("d")
        """CPU seconds that the loop's own thread had used since the beat before."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat())
        await asyncio.sleep(2 * _BEAT)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(2 * _BEAT)  # the last stall is seen by the beat after it
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _beat(self) -> None:
        while True:
            used = time.thread_time()
            due = time.perf_counter() + _BEAT
            await asyncio.sleep(_BEAT)
            self.ended.append(time.perf_counter())
            self.late.append(max(0.0, self.ended[-1] - due))
            self.busy.append(time.thread_time() - used)

    @property
    def longest(self) -> float:
        """Longest wait, in seconds."""
        return max(self.late)

    @property
    def p99(self) -> float:
        """Wait in seconds that 99 of 100 beats stayed below, the swallowed ones included."""
        return p99_wait(self.late)


def p99_wait(late: Iterable[float]) -> float:
    """Return what 99 of 100 beats waited at most, given how late those were that took place."""
    waits = [one - missed * _BEAT for one in late for missed in range(int(one / _BEAT) + 1)]
    return statistics.quantiles(waits, n=100, method="inclusive")[98]


class MemoryGrowth:
    """How far the resident set rises above where it is now, in bytes, however briefly."""

    def __init__(self) -> None:
        gc.collect()
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # proc_pid_clear_refs(5): reset VmHWM
        self._baseline = _peak_bytes()

    def peak(self) -> int:
        """Return the highest growth so far."""
        return _peak_bytes() - self._baseline


def _peak_bytes() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


async def measure(
    contender: Callable[[str, What, Tally], Awaitable[None]],
    base_url: str,
    *,
    warm_up: What,
    what: What,
) -> Sample:
    """Warm up, run once and measure."""
    await contender(base_url, warm_up, Tally())
    tally = Tally()
    memory = MemoryGrowth()
    async with Heartbeat() as heartbeat:
        cpu = time.process_time()
        start = time.perf_counter()
        await contender(base_url, what, tally)
        cpu = time.process_time() - cpu
        growth_bytes = memory.peak()
    return Sample(
        totals=tally.totals,
        seconds=tally.last_at - start,
        first_job_seconds=tally.first_at - start,
        growth_bytes=growth_bytes,
        longest_stall_seconds=heartbeat.longest,
        p99_stall_seconds=heartbeat.p99,
        cpu_seconds=cpu,
    )


def main(stream: Stream, bulk: Bulk) -> None:
    """Run a contender against the port in the first argument; print its sample as one line.

    With a second argument it reads that many projects, else one.
    """
    port, *projects = map(int, sys.argv[1:])
    base_url = f"http://{HOST}:{port}/api/open/v1"
    if projects:
        ids = [f"proj_{number}" for number in range(projects[0])]
        sample = asyncio.run(measure(bulk, base_url, warm_up=[WARM_UP_PROJECT], what=ids))
    else:
        sample = asyncio.run(
            measure(stream, base_url, warm_up=WARM_UP_PROJECT, what="proj_benchmark")
        )
    print(json.dumps(attrs.asdict(sample)))
