"""One project's whole list of jobs: how fast, how soon, in how much memory, at what stalls.

    python -m benchmarks.bench_stream [--quick] [--jobs N] [--pairs K] [--json FILE]

Ours and each other contender read the same document from the same server in adjacent pairs, each
run in a process of its own; `_measure` says what is measured and `_pairs` why in pairs. Every run's
totals are checked against the generator's: a difference ends the benchmark with exit code 1.

Where it would mislead: everything happens on one machine, so the line is faster than any network.
`--quick` (3,000 jobs, 3 pairs) shows that everything works. Its ratios are too noisy to quote, and
fixed costs, such as making a client, weigh more in it.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import attrs

from benchmarks._data import Library, Spec, Totals
from benchmarks._pairs import Result, run_pairs, summarise
from benchmarks._processes import ChildFailed, TotalsMismatch, serving
from benchmarks._report import machine, table, versions
from benchmarks._server import ceiling

OTHERS = ("limit", "aiohttp_json_cattrs")


@attrs.frozen(kw_only=True)
class StreamReport:
    """All that one run of this benchmark found."""

    machine: str
    versions: dict[str, str]
    document: str
    size_mb: float
    totals: Totals
    pairs: int
    server_mb_per_second: float
    results: list[Result]

    def __str__(self) -> str:
        """Return heading and table."""
        software = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        totals = (
            f"{self.totals.jobs:,} jobs, {self.totals.page_count:,} pages, "
            f"{self.totals.files:,} files, {self.totals.credits_debited:,} credits, "
            f"{self.totals.completed:,} completed"
        )
        return (
            f"One project: {self.document}, {self.size_mb:.1f} MB; medians of {self.pairs} pairs\n"
            f"{self.machine}; {software}\n"
            f"The server alone: {self.server_mb_per_second:,.0f} MB/s\n"
            f"Every run found what was generated: {totals}\n\n{table(self.results)}"
        )


def measure_stream(
    spec: Spec, *, pairs: int, library: Library, others: Sequence[str] = OTHERS
) -> StreamReport:
    """Run the benchmark for one document. Raises `TotalsMismatch` or `ChildFailed`."""
    document = library.document(spec)
    warm_up = library.document(attrs.evolve(spec, jobs=20))
    with serving(document, warm_up) as port:
        server_mb_per_second = ceiling(port)
        runs = run_pairs(others, port=port, document=document, pairs=pairs)
    return StreamReport(
        machine=machine(),
        versions=versions("aiohttp", "msgspec", "cattrs"),
        document=str(spec),
        size_mb=document.size_bytes / 1e6,
        totals=document.totals,
        pairs=pairs,
        server_mb_per_second=server_mb_per_second,
        results=summarise(runs),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_stream")
    parser.add_argument("--quick", action="store_true", help="3,000 jobs and 3 pairs")
    parser.add_argument("--jobs", type=_positive, metavar="N", help="jobs in the document (50,000)")
    parser.add_argument(
        "--pairs", type=_positive, metavar="K", help="adjacent pairs a contender (7)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args(arguments)
    spec = Spec(jobs=options.jobs or (3_000 if options.quick else 50_000))
    pairs = options.pairs or (3 if options.quick else 7)
    with tempfile.TemporaryDirectory() as directory:
        try:
            report = measure_stream(spec, pairs=pairs, library=Library(Path(directory)))
        except (ChildFailed, TotalsMismatch) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print(report)
    if options.json:
        options.json.write_text(json.dumps(attrs.asdict(report), indent=2) + "\n")
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
