"""The memory of `list_jobs_many`: it must not depend on how many projects there are.

    python -m benchmarks.bench_memory [--quick] [--projects N] [--jobs N] [--json FILE]

A tenth of the projects, and all of them, are read in processes of their own; each has read another
one before, so that imports do not count. What grows with the projects is their ids: each is
remembered, so that none is fetched twice. What those take at the end is shown beside it.

Where it would mislead: what a process has free from its beginning is used first, up to half a
megabyte. The ids here are short; an id of the API is 31 characters long, 80 bytes.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import attrs

from benchmarks._command import parser, positive, report
from benchmarks._data import Library, Spec
from benchmarks._processes import TotalsMismatch, run_memory, serving
from benchmarks._report import machine, versions, where
from benchmarks.contenders import IN_FLIGHT


@attrs.frozen(kw_only=True)
class Growth:
    """One run."""

    projects: int
    jobs: int
    growth_mb: float
    ids_mb: float


@attrs.frozen(kw_only=True)
class MemoryReport:
    """All that one run of this benchmark found."""

    machine: str
    versions: dict[str, str]
    what: str
    results: list[Growth]

    def __str__(self) -> str:
        """Return heading and table."""
        rows = [
            f"{result.projects:>10,}{result.jobs:>12,}{result.growth_mb:>12.1f}{result.ids_mb:>12.1f}"
            for result in self.results
        ]
        return "\n".join(
            [
                f"list_jobs_many, {IN_FLIGHT} in flight, each project with {self.what}",
                where(self.machine, self.versions),
                "",
                f"{'projects':>10}{'jobs':>12}{'memory +MB':>12}{'of ids':>12}",
                *rows,
            ]
        )


def measure_memory(spec: Spec, *, projects: Sequence[int], library: Library) -> MemoryReport:
    """Run the benchmark. Raises `TotalsMismatch` or `ChildFailed`."""
    document = library.document(spec)
    results = []
    with serving(document, document) as port:
        for count in projects:
            found = run_memory(port, count)
            if found["jobs"] != count * spec.jobs:
                raise TotalsMismatch(f"{found['jobs']} of {count * spec.jobs} jobs came")
            results.append(
                Growth(
                    projects=count,
                    jobs=found["jobs"],
                    growth_mb=found["growth_bytes"] / 1e6,
                    ids_mb=_size_of_ids(count) / 1e6,
                )
            )
    return MemoryReport(
        machine=machine(), versions=versions("aiohttp"), what=str(spec), results=results
    )


def _size_of_ids(count: int) -> int:
    """Return the size of a set of that many ids, with the ids themselves."""
    ids = {f"proj_{number}" for number in range(count)}
    return sys.getsizeof(ids) + sum(map(sys.getsizeof, ids))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    command = parser("benchmarks.bench_memory", quick="1,000 projects at most")
    command.add_argument("--projects", type=positive, metavar="N", help="at most (10,000)")
    command.add_argument("--jobs", type=positive, metavar="N", help="jobs of each project (20)")
    options = command.parse_args(arguments)
    most = options.projects or (1_000 if options.quick else 10_000)
    spec = Spec(jobs=options.jobs or 20)
    with tempfile.TemporaryDirectory() as directory:
        library = Library(Path(directory))
        return report(
            lambda: measure_memory(spec, projects=(max(1, most // 10), most), library=library),
            options.json,
        )


if __name__ == "__main__":
    sys.exit(main())
