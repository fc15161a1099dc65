"""Ours and another contender in adjacent pairs, and what the pairs say.

A shared machine drifts by a third within minutes. Two runs next to each other see nearly the same
machine, so a ratio is taken within each pair, and the median of the pairs' ratios is the figure.
Every second pair runs in the other order, so that neither side profits from its place. Medians of
plain seconds stand beside the ratios as an illustration: they are this machine's, on this day,
and dividing two of them does not give the ratio.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence

import attrs

from benchmarks._data import Document
from benchmarks._measure import Sample
from benchmarks._processes import run_contender
from benchmarks.contenders import OURS

Pair = tuple[Sample, Sample]


@attrs.frozen(kw_only=True)
class Result:
    """One contender's medians. A ratio says how many times better ours is: 2.0 is half the time."""

    contender: str
    jobs_per_second: float
    speed_ratio: float
    speed_ratio_lowest: float
    speed_ratio_highest: float
    first_job_ms: float
    first_job_ratio: float
    peak_growth_mb: float
    longest_stall_ms: float
    longest_stall_ratio: float
    p99_stall_ms: float
    cpu_seconds: float


def ratios(pairs: Iterable[tuple[float, float]]) -> list[float]:
    """Return each pair's second figure as a multiple of its first, lowest first."""
    return sorted(other / ours for ours, other in pairs)


def median_of_ratios(pairs: Iterable[tuple[float, float]]) -> float:
    """Return the median of `ratios`, which is not the ratio of the medians."""
    return statistics.median(ratios(pairs))


def run_pairs(
    others: Sequence[str],
    *,
    port: int,
    document: Document,
    pairs: int,
    projects: int | None = None,
) -> dict[str, list[Pair]]:
    """Run `pairs` pairs of ours and each other contender, interleaved; contender → (ours, other).

    Raises `TotalsMismatch` at the first run that did not read the whole document.
    """
    runs: dict[str, list[Pair]] = {other: [] for other in others}
    for number in range(pairs):
        for other in others:
            order = (OURS, other) if number % 2 == 0 else (other, OURS)
            samples = {
                name: run_contender(name, port, document, projects=projects) for name in order
            }
            runs[other].append((samples[OURS], samples[other]))
    return runs


def summarise(runs: dict[str, list[Pair]]) -> list[Result]:
    """Return ours first, over all its runs, then the others in their order."""
    all_ours = (ours for pairs in runs.values() for ours, _ in pairs)
    return [alone(all_ours), *(_result(name, pairs) for name, pairs in runs.items())]


def alone(samples: Iterable[Sample]) -> Result:
    """Return the medians of runs of ours that had nobody beside them; its ratios are 1."""
    return _result(OURS, [(sample, sample) for sample in samples])


def _result(contender: str, pairs: Sequence[Pair]) -> Result:
    def median(figure: Callable[[Sample], float]) -> float:
        return statistics.median(figure(sample) for _, sample in pairs)

    def compared(figure: Callable[[Sample], float]) -> list[tuple[float, float]]:
        return [(figure(ours), figure(other)) for ours, other in pairs]

    speed = ratios(compared(lambda sample: sample.seconds))
    return Result(
        contender=contender,
        jobs_per_second=median(lambda sample: sample.jobs_per_second),
        speed_ratio=statistics.median(speed),
        speed_ratio_lowest=speed[0],
        speed_ratio_highest=speed[-1],
        first_job_ms=median(lambda sample: sample.first_job_seconds * 1e3),
        first_job_ratio=median_of_ratios(compared(lambda sample: sample.first_job_seconds)),
        peak_growth_mb=median(lambda sample: sample.growth_bytes / 1e6),
        longest_stall_ms=median(lambda sample: sample.longest_stall_seconds * 1e3),
        longest_stall_ratio=median_of_ratios(compared(lambda sample: sample.longest_stall_seconds)),
        p99_stall_ms=median(lambda sample: sample.p99_stall_seconds * 1e3),
        cpu_seconds=median(lambda sample: sample.cpu_seconds),
    )
