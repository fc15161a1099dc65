"""One project's list: how fast, whatever its form, and what its size costs.

Three tables: every contender on typical compact jobs; ours beside the first two of the others in
the other forms; and ours alone against the size, where nothing but the time may grow.

Where it would mislead: as in `bench_stream`, there is no network. A list of ten times as many jobs
is as good as any for the memory, but no API has shown one.
"""

from collections.abc import Mapping, Sequence

import attrs

from benchmarks import _chart
from benchmarks._bench import Bench
from benchmarks._data import Shape, Spec
from benchmarks._pairs import Result, alone
from benchmarks._processes import run_contender, serving
from benchmarks._report import Report, where
from benchmarks.bench_stream import measure_stream
from benchmarks.contenders import OURS

_LEAST_MB = 0.1  # on an axis without a zero; the mark moves in steps of 4 KiB, and may not move


@attrs.frozen(kw_only=True)
class Cost:
    """Ours on a list of that size, with nobody beside it."""

    jobs: int
    size_mb: float
    result: Result

    def __str__(self) -> str:
        """Return one line for the table."""
        result = self.result
        return (
            f"{self.jobs:>10,}{self.size_mb:>10.2f}{result.jobs_per_second:>12,.0f}"
            f"{result.peak_growth_mb:>13.1f}{result.first_job_ms:>14.1f}"
            f"{result.longest_stall_ms:>14.1f}"
        )


@attrs.frozen(kw_only=True)
class StreamAnswer:
    """All that this question found."""

    typical: Report
    forms: list[Report]
    costs: list[Cost]

    def __str__(self) -> str:
        """Return the three tables."""
        reports = [self.typical, *self.forms]
        names = [result.contender for result in self.forms[0].results[1:]]
        form = f"{'':32}{'MB':>8}{'jobs/s':>12}{'MB/s':>8}"
        cost = f"{'jobs':>10}{'MB':>10}{'jobs/s':>12}{'memory +MB':>13}{'first job ms':>14}"
        return "\n".join(
            [
                str(self.typical),
                "",
                "ours in each form, and how many times the time of ours the others needed",
                form + "".join(f"{name:>24}" for name in names),
                *(_form(report, names) for report in reports),
                "",
                f"cost against size, ours alone; medians of {self.typical.pairs} runs",
                cost + f"{'stall max ms':>14}",
                *map(str, self.costs),
            ]
        )

    def charts(self) -> Mapping[str, str]:
        """Return throughput of all, and memory against size."""
        typical = self.typical
        notes = where(typical.machine, typical.versions).splitlines()
        jobs = typical.totals.jobs
        others = {
            result.contender: [(float(jobs), max(_LEAST_MB, result.peak_growth_mb))]
            for result in typical.results[1:]
        }
        ours = [(cost.jobs, max(_LEAST_MB, cost.result.peak_growth_mb)) for cost in self.costs]
        return {
            "throughput.svg": _chart.bars(
                f"{typical.what}: jobs per second",
                {result.contender: result.jobs_per_second for result in typical.results},
                unit="jobs/s",
                notes=[f"Medians of {typical.pairs} pairs", *notes],
                highlight=OURS,
            ),
            "memory.svg": _chart.lines(
                "Memory growth against the number of jobs",
                {OURS: ours, **others},
                x_unit="jobs",
                y_unit="MB",
                notes=[
                    f"Others: at {jobs:,} jobs; what is less than {_LEAST_MB} MB is drawn there",
                    *notes,
                ],
                highlight=OURS,
            ),
        }


def _form(report: Report, names: Sequence[str]) -> str:
    ratios = {result.contender: result.speed_ratio for result in report.results}
    seconds = report.totals.jobs / report.results[0].jobs_per_second
    return (
        f"{report.what.removeprefix('One project: '):32}{report.size_mb:>8.1f}"
        f"{report.results[0].jobs_per_second:>12,.0f}{report.size_mb / seconds:>8.0f}"
        + "".join(f"{ratios[name]:>23.2f}x" for name in names)
    )


def ask(bench: Bench) -> StreamAnswer:
    """Measure. Raises `TotalsMismatch` or `ChildFailed`."""
    scale = bench.scale
    jobs: dict[Shape, int] = {
        "small": scale.jobs,
        "typical": scale.jobs,
        "huge": max(1, scale.jobs // 10),  # about as many bytes
    }
    specs = [
        Spec(jobs=count, shape=shape, pretty=pretty)
        for shape, count in jobs.items()
        for pretty in (False, True)
    ]
    return StreamAnswer(
        typical=bench.report(Spec(jobs=scale.jobs)),
        forms=[
            measure_stream(spec, pairs=scale.pairs, library=bench.library, others=scale.others[:2])
            for spec in specs
            if spec != Spec(jobs=scale.jobs)
        ],
        costs=[_cost(bench, jobs) for jobs in scale.own_sizes],
    )


def _cost(bench: Bench, jobs: int) -> Cost:
    document = bench.library.document(Spec(jobs=jobs))
    warm_up = bench.library.document(Spec(jobs=20))
    with serving(document, warm_up) as port:
        samples = [run_contender(OURS, port, document) for _ in range(bench.scale.pairs)]
    return Cost(jobs=jobs, size_mb=document.size_bytes / 1e6, result=alone(samples))
