"""A guard against getting slower: what must hold, less a tolerance, on whatever machine this is.

`python -m benchmarks guard` measures a short form of `stream` and `bulk`, and ends with exit code 1
when a limit does not hold. Everything but the memory is a ratio to another contender in the same
minute, so a slow machine passes as well as a fast one. The documents are as large as in the full
form, because the ratios of first job, stall and the generated SDK grow with the size; what is short
is the number of pairs, which is what the tolerance is for.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import attrs

from benchmarks._bench import Bench
from benchmarks._data import Spec
from benchmarks._pairs import Result
from benchmarks._report import Report, where
from benchmarks.bench_bulk import measure_bulk
from benchmarks.bench_stream import measure_stream
from benchmarks.contenders import OURS

TOLERANCE = 0.30  # a share of the limit; machines vary by as much between two runs

Question = Literal["stream", "bulk"]
Results = Mapping[Question, Mapping[str, Result]]  # by contender


@attrs.frozen
class Limit:
    """One thing that must hold."""

    what: str
    question: Question
    contender: str
    """The one whose result has the figure."""
    figure: Callable[[Result], float]
    must: float
    at_most: bool = False
    """Whether it is an upper bound; it has no tolerance then."""


# The column "must" of the table "Figures to hold" in section 5 of the library's design.
LIMITS = (
    Limit("speed, as a share of the limit", "stream", "limit", lambda r: r.speed_ratio, 0.50),
    Limit(
        "speed against aiohttp + json + cattrs",
        "stream",
        "aiohttp_json_cattrs",
        lambda r: r.speed_ratio,
        3.5,
    ),
    Limit(
        "speed against httpx + pydantic", "stream", "httpx_pydantic", lambda r: r.speed_ratio, 2.2
    ),
    Limit("speed against a generated SDK", "stream", "openai_httpx", lambda r: r.speed_ratio, 15.0),
    Limit("memory growth, MB", "stream", OURS, lambda r: r.peak_growth_mb, 8.0, at_most=True),
    Limit(
        "first job, times sooner than aiohttp + json + cattrs",
        "stream",
        "aiohttp_json_cattrs",
        lambda r: r.first_job_ratio,
        50.0,
    ),
    Limit(
        "longest stall, times shorter than aiohttp + json + cattrs",
        "stream",
        "aiohttp_json_cattrs",
        lambda r: r.longest_stall_ratio,
        40.0,
    ),
    Limit("bulk: speed, as a share of the limit", "bulk", "limit", lambda r: r.speed_ratio, 0.45),
)


@attrs.frozen(kw_only=True)
class Verdict:
    """What became of one limit."""

    what: str
    must: float
    bound: float
    """`must` with the tolerance."""
    at_most: bool
    found: float
    holds: bool

    def __str__(self) -> str:
        """Return one line for the table."""
        sign = "<=" if self.at_most else ">="
        return (
            f"{self.what:60}{self.must:>8.2f}{f'{sign} {self.bound:.2f}':>12}{self.found:>10.2f}"
            f"{'holds' if self.holds else 'BROKEN':>10}"
        )


@attrs.frozen(kw_only=True)
class GuardReport:
    """All that one run of the guard found."""

    machine: str
    versions: dict[str, str]
    verdicts: list[Verdict]

    @property
    def holds(self) -> bool:
        """Whether all limits hold."""
        return all(verdict.holds for verdict in self.verdicts)

    def __str__(self) -> str:
        """Return heading and table."""
        head = f"{'':60}{'must':>8}{'tolerated':>12}{'found':>10}"
        return "\n".join([where(self.machine, self.versions), "", head, *map(str, self.verdicts)])


def judge(results: Results, limits: Sequence[Limit] = LIMITS) -> list[Verdict]:
    """Hold the results against the limits; what is no number (NaN) breaks its limit."""
    return [
        _verdict(limit, limit.figure(results[limit.question][limit.contender])) for limit in limits
    ]


def _verdict(limit: Limit, found: float) -> Verdict:
    bound = limit.must if limit.at_most else limit.must * (1 - TOLERANCE)
    return Verdict(
        what=limit.what,
        must=limit.must,
        bound=bound,
        at_most=limit.at_most,
        found=found,
        holds=found <= bound if limit.at_most else found >= bound,
    )


def measure_guard(bench: Bench) -> GuardReport:
    """Measure and judge. Raises `TotalsMismatch` or `ChildFailed`."""
    scale = bench.scale

    def stream(pairs: int, *others: str) -> Report:
        return measure_stream(
            Spec(jobs=scale.jobs), pairs=pairs, library=bench.library, others=others
        )

    cheap = stream(scale.pairs, "limit", "aiohttp_json_cattrs", "httpx_pydantic")
    slow = stream(1, "openai_httpx")  # twelve seconds a run, and far from its limit
    bulk = measure_bulk(
        Spec(jobs=scale.jobs_each),
        projects=scale.projects,
        pairs=scale.pairs,
        library=bench.library,
        others=["limit"],
    )
    results: Results = {
        "stream": by_contender(slow) | by_contender(cheap),  # the medians of ours are of the cheap
        "bulk": by_contender(bulk),
    }
    return GuardReport(
        machine=cheap.machine, versions=cheap.versions | slow.versions, verdicts=judge(results)
    )


def by_contender(report: Report) -> dict[str, Result]:
    """Return the results of a report by their contenders' names."""
    return {result.contender: result for result in report.results}
