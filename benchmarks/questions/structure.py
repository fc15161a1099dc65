"""From the bytes of a list to its objects, without a network: microseconds a job.

Ours is the decoder behind `list_jobs`, which gets the list in pieces of some fifty jobs: the first
size. With more of them at once, every contender's objects leave the processor's caches, and the
garbage collector visits them again and again; that is the cost of having all of a list in memory,
and no fault of a parser. Those that stream only (ijson) or build objects inside their client (the
generated SDK) have no such call and are not here.
"""

import statistics
from collections.abc import Mapping

import attrs

from benchmarks import _chart
from benchmarks._bench import Bench
from benchmarks._data import Spec
from benchmarks._pairs import median_of_ratios
from benchmarks._processes import run_structure
from benchmarks._report import machine, versions, where
from benchmarks.contenders import OURS, distributions

OTHERS = ("limit", "aiohttp_json_cattrs", "aiohttp_orjson_cattrs", "httpx_pydantic")
_PIECE = 50  # jobs


@attrs.frozen(kw_only=True)
class Structured:
    """One contender's medians at one size. A ratio of 2.0 is twice the time of ours."""

    contender: str
    jobs: int
    microseconds: float
    """Of one job."""
    ratio: float


@attrs.frozen(kw_only=True)
class StructureAnswer:
    """All that this question found."""

    machine: str
    versions: dict[str, str]
    rounds: int
    results: list[Structured]

    def __str__(self) -> str:
        """Return the table: a row for each contender, two columns for each size."""
        rows = self._by_contender()
        sizes = "".join(f"{result.jobs:>16,} jobs" for result in rows[OURS])
        return "\n".join(
            [
                f"Bytes to objects: us a job, and times ours; medians of {self.rounds} rounds",
                where(self.machine, self.versions),
                "",
                f"{'jobs at once':24}{sizes}",
                *(
                    f"{name:24}"
                    + "".join(f"{one.microseconds:>12.2f}{one.ratio:>8.2f}x" for one in row)
                    for name, row in rows.items()
                ),
            ]
        )

    def charts(self) -> Mapping[str, str]:
        """Return the time of a job against how many there are at once."""
        series = {
            name: [(float(one.jobs), one.microseconds) for one in row]
            for name, row in self._by_contender().items()
        }
        chart = _chart.lines(
            "Bytes to objects: time for one job, against how many there are at once",
            series,
            x_unit="jobs",
            y_unit="us a job",
            notes=[
                f"No network; medians of {self.rounds} rounds",
                *where(self.machine, self.versions).splitlines(),
            ],
            highlight=OURS,
        )
        return {"structure.svg": chart}

    def _by_contender(self) -> dict[str, list[Structured]]:
        rows: dict[str, list[Structured]] = {}
        for result in self.results:
            rows.setdefault(result.contender, []).append(result)
        return rows


def ask(bench: Bench) -> StructureAnswer:
    """Measure. Raises `TotalsMismatch` or `ChildFailed`."""
    others = [name for name in OTHERS if name in bench.scale.others]
    sizes = [size for size in (_PIECE, 2_000) if size < bench.scale.jobs]
    return StructureAnswer(
        machine=machine(),
        versions=versions(*distributions(others)),
        rounds=bench.scale.pairs,
        results=[
            result
            for jobs in (*sizes, bench.scale.jobs)
            for result in _results(bench, jobs, (OURS, *others))
        ],
    )


def _results(bench: Bench, jobs: int, names: tuple[str, ...]) -> list[Structured]:
    """Run each contender once a round, in turn, and compare within the rounds."""
    document = bench.library.document(Spec(jobs=jobs))
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(bench.scale.pairs):
        for name in names if number % 2 == 0 else reversed(names):
            seconds[name].append(run_structure(name, document))
    return [
        Structured(
            contender=name,
            jobs=jobs,
            microseconds=statistics.median(found) / jobs * 1e6,
            ratio=median_of_ratios(zip(seconds[OURS], found, strict=True)),
        )
        for name, found in seconds.items()
    ]
