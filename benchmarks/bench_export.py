"""The memory of the writers of `plangrep_async.export`: it must not depend on how many jobs come.

    python -m benchmarks.bench_export [--quick] [--jobs N] [--json FILE]

A project of a tenth of the jobs, and one of all, are read from a server and written to a file, each
in a process of its own that has written a small file before, so that imports do not count. `none`
is reading without writing. The longest stall is how long the event loop had to wait at most: for
Parquet, the time of a row group.

Where it would mislead: server and writer share the machine's cores, and the file is on whatever
holds the temporary directory. A row group and its encoded columns are what Parquet takes memory
for, so less than one of them, a short history, takes less.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import attrs

from benchmarks._command import parser, positive, report
from benchmarks._data import Library, Spec
from benchmarks._processes import TotalsMismatch, run_export, serving
from benchmarks._report import machine, versions, where
from benchmarks.contenders.export import WRITERS


@attrs.frozen(kw_only=True)
class Export:
    """One file."""

    format: str
    jobs: int
    jobs_per_second: float
    growth_mb: float
    longest_stall_ms: float
    size_mb: float


@attrs.frozen(kw_only=True)
class ExportReport:
    """All that one run of this benchmark found."""

    machine: str
    versions: dict[str, str]
    results: list[Export]

    def __str__(self) -> str:
        """Return heading and table."""
        rows = [
            f"{one.format:<10}{one.jobs:>10,}{one.jobs_per_second:>12,.0f}{one.growth_mb:>12.1f}"
            f"{one.longest_stall_ms:>12.1f}{one.size_mb:>12.1f}"
            for one in self.results
        ]
        return "\n".join(
            [
                "One project of typical jobs, from a server into a file",
                where(self.machine, self.versions),
                "",
                "format          jobs      jobs/s  memory +MB    stall ms     file MB",
                *rows,
            ]
        )


def measure_exports(jobs: int, directory: Path) -> ExportReport:
    """Run the benchmark. Raises `TotalsMismatch` or `ChildFailed`."""
    library = Library(directory)
    warm_up = library.document(Spec(jobs=200, seed=1))
    results = []
    for count in (max(1, jobs // 10), jobs):
        with serving(library.document(Spec(jobs=count)), warm_up) as port:
            for form in WRITERS:
                path = directory / f"jobs.{form}"
                found = run_export(form, port, path)
                if found["jobs"] != count:
                    raise TotalsMismatch(f"{found['jobs']} of {count} jobs came")
                results.append(
                    Export(
                        format=form,
                        jobs=count,
                        jobs_per_second=count / found["seconds"],
                        growth_mb=found["growth_bytes"] / 1e6,
                        longest_stall_ms=found["longest_stall_seconds"] * 1e3,
                        size_mb=path.stat().st_size / 1e6 if path.exists() else 0.0,
                    )
                )
    return ExportReport(
        machine=machine(), versions=versions("aiohttp", "msgspec", "pyarrow"), results=results
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    command = parser("benchmarks.bench_export", quick="50,000 jobs at most")
    command.add_argument("--jobs", type=positive, metavar="N", help="at most (500,000)")
    options = command.parse_args(arguments)
    jobs = options.jobs or (50_000 if options.quick else 500_000)
    with tempfile.TemporaryDirectory() as directory:
        return report(lambda: measure_exports(jobs, Path(directory)), options.json)


if __name__ == "__main__":
    sys.exit(main())
