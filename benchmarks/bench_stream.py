"""One project's whole list of jobs: how fast, how soon, in how much memory, at what stalls.

    python -m benchmarks.bench_stream [--quick] [--jobs N] [--pairs K] [--json FILE]

Ours and each other contender read the same document from the same server in adjacent pairs, each
run in a process of its own; `_measure` says what is measured and `_pairs` why in pairs. Every run's
totals are checked against the generator's: a difference ends the benchmark with exit code 1.

Where it would mislead: everything happens on one machine, so the line is faster than any network.
`--quick` (3,000 jobs, 3 pairs) shows that everything works. Its ratios are too noisy to quote, and
fixed costs, such as making a client, weigh more in it.
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
from benchmarks.contenders import distributions

OTHERS = ("limit", "aiohttp_json_cattrs")


def measure_stream(
    spec: Spec, *, pairs: int, library: Library, others: Sequence[str] = OTHERS
) -> Report:
    """Run the benchmark for one document. Raises `TotalsMismatch` or `ChildFailed`."""
    document = library.document(spec)
    warm_up = library.document(attrs.evolve(spec, jobs=20))
    with serving(document, warm_up) as port:
        server_mb_per_second = ceiling(port)
        runs = run_pairs(others, port=port, document=document, pairs=pairs)
    return Report(
        machine=machine(),
        versions=versions(*distributions(others)),
        what=f"One project: {spec}",
        size_mb=document.size_bytes / 1e6,
        totals=document.totals,
        pairs=pairs,
        server_mb_per_second=server_mb_per_second,
        results=summarise(runs),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    command = parser("benchmarks.bench_stream", quick="3,000 jobs and 3 pairs")
    command.add_argument("--jobs", type=positive, metavar="N", help="jobs in the document (50,000)")
    command.add_argument(
        "--pairs", type=positive, metavar="K", help="adjacent pairs a contender (7)"
    )
    options = command.parse_args(arguments)
    spec = Spec(jobs=options.jobs or (3_000 if options.quick else 50_000))
    pairs = options.pairs or (3 if options.quick else 7)
    with tempfile.TemporaryDirectory() as directory:
        library = Library(Path(directory))
        return report(lambda: measure_stream(spec, pairs=pairs, library=library), options.json)


if __name__ == "__main__":
    sys.exit(main())
