"""The lists of many projects, 32 at a time: how fast, in how much memory, at what stalls.

    python -m benchmarks.bench_bulk [--quick] [--projects N] [--jobs N] [--pairs K] [--json FILE]

Every project has a list of the same bytes, and every contender a connection for each of 32 requests
in flight. What the others do is what one would write by hand: a semaphore and `asyncio.gather`, no
retries, each list in memory as a whole, one document at a time in the consumer's hands. All else is
as in `bench_stream`.

Where it would mislead: a list costs the server nothing and there is no latency, so 32 in flight
bring no more than one would. What is measured is the work of the client alone.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import attrs

from benchmarks._command import parser, positive, report
from benchmarks._data import Library, Spec
from benchmarks._pairs import run_pairs, summarise
from benchmarks._processes import serving
from benchmarks._report import Report, machine, versions
from benchmarks._server import ceiling
from benchmarks.contenders import IN_FLIGHT, distributions

OTHERS = ("limit", "aiohttp_json_cattrs")


def measure_bulk(
    spec: Spec, *, projects: int, pairs: int, library: Library, others: Sequence[str] = OTHERS
) -> Report:
    """Run the benchmark for that many lists. Raises `TotalsMismatch` or `ChildFailed`."""
    document = library.document(spec)
    warm_up = library.document(attrs.evolve(spec, jobs=20))
    with serving(document, warm_up) as port:
        server_mb_per_second = ceiling(port)
        runs = run_pairs(others, port=port, document=document, pairs=pairs, projects=projects)
    return Report(
        machine=machine(),
        versions=versions(*distributions(others)),
        what=f"{projects:,} projects, {IN_FLIGHT} in flight, each with {spec}",
        size_mb=projects * document.size_bytes / 1e6,
        totals=document.totals * projects,
        pairs=pairs,
        server_mb_per_second=server_mb_per_second,
        results=summarise(runs),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    command = parser("benchmarks.bench_bulk", quick="60 projects, 50 jobs and 3 pairs")
    command.add_argument("--projects", type=positive, metavar="N", help="lists to read (500)")
    command.add_argument("--jobs", type=positive, metavar="N", help="jobs in each of them (200)")
    command.add_argument(
        "--pairs", type=positive, metavar="K", help="adjacent pairs a contender (7)"
    )
    options = command.parse_args(arguments)
    projects = options.projects or (60 if options.quick else 500)
    spec = Spec(jobs=options.jobs or (50 if options.quick else 200))
    pairs = options.pairs or (3 if options.quick else 7)
    with tempfile.TemporaryDirectory() as directory:
        library = Library(Path(directory))
        return report(
            lambda: measure_bulk(spec, projects=projects, pairs=pairs, library=library),
            options.json,
        )


if __name__ == "__main__":
    sys.exit(main())
