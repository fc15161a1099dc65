"""The lists of many projects, 32 at a time, by every contender: see `bench_bulk`."""

from collections.abc import Mapping

import attrs

from benchmarks import _chart
from benchmarks._bench import Bench
from benchmarks._data import Spec
from benchmarks._report import Report, where
from benchmarks.bench_bulk import measure_bulk
from benchmarks.contenders import OURS


@attrs.frozen(kw_only=True)
class BulkAnswer:
    """All that this question found."""

    report: Report

    def __str__(self) -> str:
        """Return the table."""
        return str(self.report)

    def charts(self) -> Mapping[str, str]:
        """Return the throughput of all."""
        report = self.report
        chart = _chart.bars(
            f"{report.what}: jobs per second",
            {result.contender: result.jobs_per_second for result in report.results},
            unit="jobs/s",
            notes=[
                f"Medians of {report.pairs} pairs",
                *where(report.machine, report.versions).splitlines(),
            ],
            highlight=OURS,
        )
        return {"bulk.svg": chart}


def ask(bench: Bench) -> BulkAnswer:
    """Measure. Raises `TotalsMismatch` or `ChildFailed`."""
    scale = bench.scale
    report = measure_bulk(
        Spec(jobs=scale.jobs_each),
        projects=scale.projects,
        pairs=scale.pairs,
        library=bench.library,
        others=scale.others,
    )
    return BulkAnswer(report=report)
