"""A web service under load: what it asks of the API, how soon it answers, how free its loop stays.

    python -m benchmarks.bench_service [--quick] [--seconds S] [--visitors N] [--pause S]
                                       [--json FILE]

Many visitors ask the README's FastAPI service for the newest jobs of a few projects, which it keeps
for five seconds. One of them reads a large list instead, as lines of JSON, several times. The
service (one uvicorn process), the API (the emulator) and all visitors together are a process each.

That the service asks the API more often than once in five seconds for a project, or that a large
list is not whole, is exit code 1.

Where it would mislead: on a machine with two cores three processes wait for each other, so that
latencies and lag are those of a busy machine (`its own CPU` is what of a lag the service used
itself, and not waited for a core); and loopback has no latency of its own. `--pause 0` lets
visitors ask again at once: what is measured then is how fast one process can answer, and latency is
how long the others take.
"""

import json
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import attrs

from benchmarks._command import parser, positive, report
from benchmarks._measure import p99_wait
from benchmarks._processes import ChildFailed, TotalsMismatch, reporting, run_visitors
from benchmarks._report import machine, versions, where

MAX_AGE = 5.0  # seconds, as the README's service has it
JOBS = 200  # of a project


@attrs.frozen(kw_only=True)
class Load:
    """What the service is asked for."""

    visitors: int = 200
    seconds: float = 30.0
    pause: float = 1.0
    """Seconds from an answer to the visitor's next question, on average."""
    projects: int = 20
    large_jobs: int = 33_000
    """Jobs of the large list: 29 MB."""
    streams: int = 3
    """How often it is read."""

    @property
    def most_requests(self) -> int:
        """How often the API may be asked for one project."""
        return int(self.seconds // MAX_AGE) + 1


QUICK = Load(visitors=20, seconds=2, pause=0.1, projects=4, large_jobs=2_000, streams=1)


@attrs.frozen(kw_only=True)
class Moments:
    """What was seen while a large list was on its way, or while none was."""

    when: str
    answers: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    longest_ms: float
    lag_p99_ms: float
    longest_lag_ms: float
    longest_busy_ms: float
    """The most CPU time that the service itself used between two turns of a waiting task."""

    def __str__(self) -> str:
        """Return one line for the table."""
        waits = (self.p50_ms, self.p90_ms, self.p99_ms, self.longest_ms)
        lags = (self.lag_p99_ms, self.longest_lag_ms, self.longest_busy_ms)
        return (
            f"{self.when:22}{self.answers:>9,}"
            + "".join(f"{wait:>9.1f}" for wait in waits)
            + "".join(f"{lag:>14.1f}" for lag in lags)
        )


@attrs.frozen(kw_only=True)
class ServiceReport:
    """All that one run of this benchmark found."""

    machine: str
    versions: dict[str, str]
    load: Load
    large_bytes: int
    requests: int
    """Requests for lists of the small projects that reached the API."""
    shortest_gap: float
    """Seconds between two of them for one project; 0 where none was asked for twice."""
    large_seconds: list[float]
    results: list[Moments]
    resident_mb: float
    growth_mb: float

    def __str__(self) -> str:
        """Return heading, table and the rest in words."""
        load = self.load
        most = load.projects * load.most_requests
        answers = sum(result.answers for result in self.results)
        large = f"{load.large_jobs:,} jobs, {self.large_bytes / 1e6:.1f} MB"
        seconds = ", ".join(f"{one:.2f}" for one in self.large_seconds)
        gap = f"; for one project {self.shortest_gap:.2f} s apart" if self.shortest_gap else ""
        head = f"{'':22}{'answers':>9}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'longest':>9}"
        what = (
            f"{load.visitors} visitors for {load.seconds:g} s, {load.pause:g} s between questions",
            f"{load.projects} projects with {JOBS} jobs each, max_age={MAX_AGE:g}",
        )
        memory = f"{self.resident_mb:.0f} MB before, {self.growth_mb:.1f} MB more at most"
        return "\n".join(
            [
                "; ".join(what),
                where(self.machine, self.versions),
                "",
                f"{head}{'lag p99 ms':>14}{'longest lag':>14}{'its own CPU':>14}",
                *map(str, self.results),
                "",
                f"{answers:,} answers took {self.requests:,} requests of {most:,} allowed{gap}",
                f"the large list ({large}) took {seconds} s to one visitor",
                f"memory of the service: {memory}",
            ]
        )


def measure_service(load: Load) -> ServiceReport:
    """Run the benchmark. Raises `TotalsMismatch` or `ChildFailed`."""
    arguments = (load.projects, JOBS, load.large_jobs)
    with (
        reporting("_service", "api", *arguments) as (greeting, requests),
        reporting("_service", "service", given=greeting) as (port, seen),
    ):
        found = run_visitors(_wishes(load, int(port), greeting))
    beats, resident, growth = seen
    *small, large = json.loads(greeting)["project_ids"]
    windows = [(began, ended) for began, ended, _ in found["streams"]]
    check(load, Counter(name for _, name in requests if name != large), found["streams"])
    gaps = [gap for project in small for gap in _gaps(requests, project)]
    return ServiceReport(
        machine=machine(),
        versions=versions("aiohttp", "fastapi", "starlette", "uvicorn"),
        load=load,
        large_bytes=json.loads(greeting)["large_bytes"],
        requests=sum(name != large for _, name in requests),
        shortest_gap=min(gaps, default=0.0),
        large_seconds=[ended - began for began, ended in windows],
        results=sort_by_windows(found["answers"], beats, windows),
        resident_mb=resident / 1e6,
        growth_mb=growth / 1e6,
    )


def check(
    load: Load, requests: Mapping[str, int], streams: Sequence[tuple[float, float, int]]
) -> None:
    """Demand that the API was asked for no project too often, and that large lists were whole."""
    if max(requests.values(), default=0) > load.most_requests:
        raise TotalsMismatch(f"a project was asked for {max(requests.values())} times")
    for *_, lines in streams:
        if lines != load.large_jobs:
            raise TotalsMismatch(f"{lines} of {load.large_jobs} lines came")


def _wishes(load: Load, port: int, greeting: str) -> dict[str, Any]:
    return {
        "port": port,
        "visitors": load.visitors,
        "seconds": load.seconds,
        "pause": load.pause,
        "project_ids": json.loads(greeting)["project_ids"],
        "streams": load.streams,
    }


def _gaps(requests: Sequence[tuple[float, str]], project: str) -> list[float]:
    """Return the seconds between the requests for a project."""
    moments = sorted(moment for moment, name in requests if name == project)
    return [later - sooner for sooner, later in pairwise(moments)]


def sort_by_windows(
    answers: Sequence[tuple[float, float]],
    beats: Sequence[tuple[float, float, float]],
    windows: Sequence[tuple[float, float]],
) -> list[Moments]:
    """Sort what was seen by whether a large list was on its way when it began or ended."""

    def is_inside(began: float, ended: float) -> bool:
        return any(began < last and ended > first for first, last in windows)

    results = []
    for when, wanted in (("with a large list", True), ("without", False)):
        waits = [wait for asked, wait in answers if is_inside(asked, asked + wait) is wanted]
        seen = [beat for beat in beats if is_inside(beat[0] - beat[1], beat[0]) is wanted]
        late = [one for _, one, _ in seen]
        if len(waits) < 2 or len(late) < 2:
            raise ChildFailed(f"nothing was seen {when}")
        hundredths = [1000 * wait for wait in statistics.quantiles(waits, n=100)]
        results.append(
            Moments(
                when=when,
                answers=len(waits),
                p50_ms=hundredths[49],
                p90_ms=hundredths[89],
                p99_ms=hundredths[98],
                longest_ms=1000 * max(waits),
                lag_p99_ms=1000 * p99_wait(late),
                longest_lag_ms=1000 * max(late),
                longest_busy_ms=1000 * max(busy for *_, busy in seen),
            )
        )
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    command = parser("benchmarks.bench_service", quick="20 visitors for 2 s")
    command.add_argument("--seconds", type=positive, metavar="S", help="of asking (30)")
    command.add_argument("--visitors", type=positive, metavar="N", help="at one time (200)")
    command.add_argument(
        "--pause", type=float, metavar="S", help="seconds between questions, on average (1)"
    )
    options = command.parse_args(arguments)
    given = {name: getattr(options, name) for name in ("seconds", "visitors", "pause")}
    given = {name: value for name, value in given.items() if value is not None}
    load = attrs.evolve(QUICK if options.quick else Load(), **given)
    return report(lambda: measure_service(load), options.json)


if __name__ == "__main__":
    sys.exit(main())
