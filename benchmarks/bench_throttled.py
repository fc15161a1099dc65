"""Many projects from a server that refuses what comes too fast: how long, and how politely.

    python -m benchmarks.bench_throttled [--quick] [--projects N] [--json FILE]

`list_jobs_many` and a plain loop with fixed waits (`contenders.throttled`) read the same projects,
64 at a time, each from a server of its own that has just begun: the emulator, which lets 200
requests a second through and asks for a pause, and nginx, which lets 150 through and asks for
nothing. The ideal is projects divided by rate; both servers let a burst pass before they limit, so
a run can be a little better. Every job must have come once: a difference is exit code 1.

Where it would mislead: the ideal is the server's, so a faster client gains nothing here; and with
one client alone there is nobody whom the plain loop's refused requests could harm.
"""

import shutil
import sys
from collections.abc import Sequence

import attrs

from benchmarks._command import parser, positive, report
from benchmarks._limited import Arrivals
from benchmarks._processes import TotalsMismatch, limited, run_throttled
from benchmarks._report import machine, versions, where
from benchmarks.contenders.throttled import IN_FLIGHT

CONTENDERS = ("ours", "gather")
RATES = {"emulator": 200, "nginx": 150}  # requests a second
JOBS = 5  # of a project: few, so that only the limit counts
_STEP = 0.05  # seconds, of the histogram
_BEFORE, _AFTER = 4, 21  # steps


@attrs.frozen(kw_only=True)
class Throttled:
    """One run of one contender."""

    server: str
    contender: str
    seconds: float
    of_ideal: float
    requests: int
    refused: int
    failed_projects: int
    histogram: list[int]

    def __str__(self) -> str:
        """Return one line for the table."""
        return (
            f"{self.server:10}{self.contender:10}{self.seconds:10.2f}{self.of_ideal:10.2f}x"
            f"{self.requests:10,}{self.refused:10,}{100 * self.refused / self.requests:9.1f}%"
            f"{self.failed_projects:10}"
        )


@attrs.frozen(kw_only=True)
class ThrottledReport:
    """All that one run of this benchmark found."""

    machine: str
    versions: dict[str, str]
    projects: int
    results: list[Throttled]

    def __str__(self) -> str:
        """Return heading, table and histograms."""
        servers = dict.fromkeys(result.server for result in self.results)
        ideals = ", ".join(f"{name} {self.projects / RATES[name]:.1f} s" for name in servers)
        head = "".join(
            (
                f"{'server':10}{'contender':10}{'seconds':>10}{'of ideal':>11}",
                f"{'requests':>10}{'refused':>10}{'share':>10}{'failed':>10}",
            )
        )
        histograms = [
            f"{result.server:9} {result.contender:7}{_counts(result.histogram)}"
            for result in self.results
        ]
        what = f"{self.projects:,} projects with {JOBS} jobs each, {IN_FLIGHT} in flight"
        return "\n".join(
            [
                f"{what}; ideal: {ideals}",
                where(self.machine, self.versions),
                "Every job of the projects that did not fail came exactly once",
                "",
                head,
                *map(str, self.results),
                "",
                f"requests per {1000 * _STEP:.0f} ms around the first refusal, at the bar",
                *histograms,
            ]
        )


def measure_throttled(projects: int, *, servers: Sequence[str]) -> ThrottledReport:
    """Run the benchmark. Raises `TotalsMismatch` or `ChildFailed`."""
    return ThrottledReport(
        machine=machine(),
        versions=versions("aiohttp"),
        projects=projects,
        results=[
            _run(server, contender, projects) for server in servers for contender in CONTENDERS
        ],
    )


def _run(server: str, contender: str, projects: int) -> Throttled:
    with limited(server, RATES[server], projects, JOBS) as (greeting, arrivals):
        found = run_throttled(contender, greeting)
    expected = JOBS * (projects - found["failed_projects"])
    different = JOBS if server == "nginx" else expected  # nginx gives every project the same ones
    if (expected, different) != (found["jobs"], found["different_jobs"]):
        raise TotalsMismatch(f"{contender} counted {found}, and {expected} jobs were there")
    return Throttled(
        server=server,
        contender=contender,
        seconds=found["seconds"],
        of_ideal=found["seconds"] / (projects / RATES[server]),
        requests=len(arrivals),
        refused=sum(status == 429 for _, status in arrivals),
        failed_projects=found["failed_projects"],
        histogram=histogram(arrivals),
    )


def histogram(arrivals: Arrivals) -> list[int]:
    """Count the requests in each step around the first refusal; all zero where there was none."""
    counts = [0] * (_BEFORE + _AFTER)
    refused = [moment for moment, status in arrivals if status == 429]
    if refused:
        first = min(refused)
        for moment, _ in arrivals:
            step = _BEFORE + int((moment - first) // _STEP)
            if 0 <= step < len(counts):
                counts[step] += 1
    return counts


def _counts(histogram: Sequence[int]) -> str:
    cells = [f"{count:>4}" for count in histogram]
    return "".join(cells[:_BEFORE]) + " |" + "".join(cells[_BEFORE:])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    command = parser("benchmarks.bench_throttled", quick="300 projects")
    command.add_argument("--projects", type=positive, metavar="N", help="lists to read (2,000)")
    options = command.parse_args(arguments)
    projects = options.projects or (300 if options.quick else 2_000)
    servers = ["emulator"]
    if shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"):
        servers.append("nginx")
    else:
        print("nginx is not installed, so its part is left out", file=sys.stderr)
    return report(lambda: measure_throttled(projects, servers=servers), options.json)


if __name__ == "__main__":
    sys.exit(main())
