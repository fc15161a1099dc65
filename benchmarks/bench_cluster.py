"""The jobs of many projects on a Dask cluster: that all is right, and what it costs.

    python -m benchmarks.bench_cluster [--quick] [--projects N] [--jobs N] [--rounds K]
                                       [--json FILE]

First two worker processes read all projects from the emulator, which notes how many requests are in
flight, and then from one that answers 429 above 300 requests a second, and has one job a project,
or it would not come to so many. A difference from the emulator's own sums, or more requests in
flight than allowed, is exit code 1.

Then the same sums are taken from a static server that gives every project the same list, by one
client without Dask, by Dask in one process, and by one and by two workers: in turn, in several
rounds, of which the medians count. A cluster runs, and has imported everything, when its clock
starts.

Where it would mislead: server, scheduler and workers share the machine's cores, so with two of them
a second worker has no core of its own, and the emulator, which makes its jobs up while it answers,
takes one. And no server here limits what one client can do, as a real one will.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from benchmarks._command import parser, positive, report
from benchmarks._data import Library, Spec, Totals
from benchmarks._processes import TotalsMismatch, recorded, run_cluster, serving_for_dask
from benchmarks._report import machine, versions, where

CONTENDERS = {
    "client": "list_jobs_many",
    "0": "read_jobs, no cluster",
    "1": "read_jobs, 1 worker",
    "2": "read_jobs, 2 workers",
}
IN_FLIGHT = 16
RATE = 300  # requests a second, of the emulator that limits them


@attrs.frozen(kw_only=True)
class Proof:
    """What two workers found at the emulator, which has the same sums, and what it saw of them."""

    projects: int
    rate: int
    seconds: float
    totals: Totals
    requests: int
    refused: int
    most_in_flight: int
    server_cpu: float
    worker_cpu: float

    def __str__(self) -> str:
        """Return one line for the table."""
        limit = f"{self.rate} requests/s" if self.rate else "no limit"
        return (
            f"{limit:16}{self.projects:>10,}{self.totals.jobs:>10,}{self.seconds:>10.1f}"
            f"{self.requests:>10,}{self.refused:>10,}{self.most_in_flight:>14}"
            f"{self.server_cpu:>14.1f}{self.worker_cpu:>12.1f}"
        )


@attrs.frozen(kw_only=True)
class Run:
    """One contender at the static server: medians of its rounds."""

    contender: str
    jobs: int
    seconds: float
    lowest: float
    highest: float
    own_cpu: float
    worker_cpu: float
    server_cpu: float

    def __str__(self) -> str:
        """Return one line for the table."""
        span = f"{self.lowest:.2f}-{self.highest:.2f}"
        return (
            f"{self.contender:24}{self.jobs / self.seconds:>10,.0f}{self.seconds:>10.2f}{span:>15}"
            f"{self.own_cpu:>13.2f}{self.worker_cpu:>13.2f}{self.server_cpu:>13.2f}"
        )


@attrs.frozen(kw_only=True)
class ClusterReport:
    """All that one run of this benchmark found."""

    machine: str
    versions: dict[str, str]
    what: str
    rounds: int
    proofs: list[Proof]
    runs: list[Run]

    def __str__(self) -> str:
        """Return heading and both tables."""
        proof_head = (
            f"{'emulator':16}{'projects':>10}{'jobs':>10}{'seconds':>10}{'requests':>10}"
            f"{'refused':>10}{'most at once':>14}{'emulator CPU':>14}{'worker CPU':>12}"
        )
        head = (
            f"{'static server':24}{'jobs/s':>10}{'seconds':>10}{'all rounds':>15}"
            f"{'own CPU':>13}{'worker CPU':>13}{'server CPU':>13}"
        )
        return "\n".join(
            [
                where(self.machine, self.versions),
                f"{IN_FLIGHT} requests in flight, of all workers together",
                "Two workers found the emulator's own sums, and kept the bound",
                "",
                proof_head,
                *map(str, self.proofs),
                "",
                f"{self.what}; medians of {self.rounds} rounds; CPU in seconds",
                "",
                head,
                *map(str, self.runs),
            ]
        )


def measure_cluster(
    projects: int, jobs: int, *, rounds: int, run: Callable[..., dict[str, Any]] = run_cluster
) -> ClusterReport:
    """Run the benchmark. Raises `TotalsMismatch` or `ChildFailed`."""
    proofs = [_prove(projects, each, rate, run) for each, rate in ((jobs, 0), (1, RATE))]
    spec = Spec(jobs=jobs)
    return ClusterReport(
        machine=machine(),
        versions=versions("dask", "distributed", "pandas", "pyarrow", "aiohttp"),
        what=f"{projects:,} projects, each with {spec}",
        rounds=rounds,
        proofs=proofs,
        runs=_compare(projects, spec, rounds, run),
    )


def _prove(projects: int, jobs: int, rate: int, run: Callable[..., dict[str, Any]]) -> Proof:
    with recorded(projects, jobs, rate) as (greeting, seen):
        found = run("2", greeting, IN_FLIGHT)
    if found["totals"] != seen["totals"]:
        raise TotalsMismatch(f"the workers counted {found['totals']}, and there is {seen}")
    if seen["most_in_flight"] > IN_FLIGHT:
        raise TotalsMismatch(f"{seen['most_in_flight']} requests were in flight")
    return Proof(
        projects=projects,
        rate=rate,
        seconds=found["seconds"],
        totals=Totals(**found["totals"]),
        requests=seen["requests"],
        refused=seen["refused"],
        most_in_flight=seen["most_in_flight"],
        server_cpu=found["server_cpu"],
        worker_cpu=found["worker_cpu"],
    )


def _compare(
    projects: int, spec: Spec, rounds: int, run: Callable[..., dict[str, Any]]
) -> list[Run]:
    with tempfile.TemporaryDirectory() as directory:
        document = Library(Path(directory)).document(spec)
        expected = attrs.asdict(document.totals * projects)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
        with serving_for_dask(document, projects) as greeting:
            for name in list(CONTENDERS) * rounds:
                found[name].append(run(name, greeting, IN_FLIGHT))
    for name, results in found.items():
        if any(result["totals"] != expected for result in results):
            raise TotalsMismatch(f"{name} counted {results[0]['totals']}, and not {expected}")
    return [_run(CONTENDERS[name], expected["jobs"], results) for name, results in found.items()]


def _run(contender: str, jobs: int, results: Sequence[dict[str, Any]]) -> Run:
    seconds = [result["seconds"] for result in results]
    medians = {
        name: statistics.median(result[name] for result in results)
        for name in ("seconds", "own_cpu", "worker_cpu", "server_cpu")
    }
    return Run(contender=contender, jobs=jobs, lowest=min(seconds), highest=max(seconds), **medians)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    command = parser("benchmarks.bench_cluster", quick="200 projects, 20 jobs and 1 round")
    command.add_argument("--projects", type=positive, metavar="N", help="lists to read (5,000)")
    command.add_argument("--jobs", type=positive, metavar="N", help="jobs in each of them (100)")
    command.add_argument("--rounds", type=positive, metavar="K", help="runs of each (3)")
    options = command.parse_args(arguments)
    projects = options.projects or (200 if options.quick else 5_000)
    jobs = options.jobs or (20 if options.quick else 100)
    rounds = options.rounds or (1 if options.quick else 3)
    return report(lambda: measure_cluster(projects, jobs, rounds=rounds), options.json)


if __name__ == "__main__":
    sys.exit(main())
