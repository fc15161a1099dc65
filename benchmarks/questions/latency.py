"""How soon the first job is there, and how long all else waits, against the size of the list.

Time to the first job, and the longest stall of the event loop and the one that 99 of 100 beats stay
below. Reports that `stream` has made are used again.

Where it would mislead: a first job can be no sooner than the server sends it, and here it sends at
once. Most of what twenty jobs take is making a client and a connection, which a program does once.
"""

from collections.abc import Callable, Mapping

import attrs

from benchmarks import _chart
from benchmarks._bench import Bench
from benchmarks._data import Spec
from benchmarks._pairs import Result
from benchmarks._report import Report, where
from benchmarks.contenders import OURS

_LEAST_MS = 0.1  # on an axis without a zero


@attrs.frozen(kw_only=True)
class LatencyAnswer:
    """All that this question found: a report for each size, the smallest first."""

    sizes: list[Report]

    def __str__(self) -> str:
        """Return a table for each of the three figures."""
        largest = self.sizes[-1]
        sizes = "".join(f"{report.totals.jobs:>12,}" for report in self.sizes)
        return "\n".join(
            [
                f"Latency against the number of jobs in the list; medians of {largest.pairs} pairs",
                where(largest.machine, largest.versions),
                *(
                    line
                    for what, series in self._figures().items()
                    for line in (
                        "",
                        f"{f'{what}, ms':32}{sizes}",
                        *(
                            f"{name:32}" + "".join(f"{value:>12,.1f}" for _, value in points)
                            for name, points in series.items()
                        ),
                    )
                ),
            ]
        )

    def charts(self) -> Mapping[str, str]:
        """Return first job and longest stall, against size."""
        largest = self.sizes[-1]
        figures = self._figures()
        return {
            file: _chart.lines(
                f"{what} against the number of jobs",
                {
                    name: [(jobs, max(_LEAST_MS, value)) for jobs, value in points]
                    for name, points in figures[what].items()
                },
                x_unit="jobs",
                y_unit="ms",
                notes=[
                    f"Medians of {largest.pairs} pairs",
                    *where(largest.machine, largest.versions).splitlines(),
                ],
                highlight=OURS,
            )
            for file, what in (("first_job.svg", "First job"), ("stall.svg", "Longest stall"))
        }

    def _figures(self) -> dict[str, dict[str, _chart.Points]]:
        """Return for each figure what each contender has at each number of jobs."""
        figures: dict[str, Callable[[Result], float]] = {
            "First job": lambda result: result.first_job_ms,
            "Longest stall": lambda result: result.longest_stall_ms,
            "p99 stall": lambda result: result.p99_stall_ms,
        }
        return {
            what: {
                row[0].contender: [
                    (report.totals.jobs, figure(result))
                    for report, result in zip(self.sizes, row, strict=True)
                ]
                for row in zip(*(report.results for report in self.sizes), strict=True)
            }
            for what, figure in figures.items()
        }


def ask(bench: Bench) -> LatencyAnswer:
    """Measure. Raises `TotalsMismatch` or `ChildFailed`."""
    return LatencyAnswer(sizes=[bench.report(Spec(jobs=jobs)) for jobs in bench.scale.sizes])
