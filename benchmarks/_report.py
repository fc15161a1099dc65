"""What a benchmark prints: where it ran, and one line a contender. Plain text, 120 columns."""

import os
import platform
import textwrap
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import attrs

from benchmarks._data import Totals
from benchmarks._pairs import Result

_COLUMNS = (  # two lines of head, width
    ("contender", "", 22),
    ("jobs/s", "", 10),
    ("speed", "of ours", 9),
    ("lowest-highest", "of pairs", 15),
    ("first job", "ms", 10),
    ("ours", "sooner", 9),
    ("memory", "+MB", 8),
    ("stall", "longest ms", 12),
    ("ours", "shorter", 9),
    ("stall", "p99 ms", 9),
    ("CPU", "s", 7),
)
_LEGEND = (
    "of ours, sooner, shorter: medians of the pairs' ratios; 2.00x: this contender needed twice "
    "the time of ours"
)


@attrs.frozen(kw_only=True)
class Report:
    """All that one run of a benchmark found."""

    machine: str
    versions: dict[str, str]
    what: str
    """What was read."""
    size_mb: float
    totals: Totals
    pairs: int
    server_mb_per_second: float
    results: list[Result]

    def __str__(self) -> str:
        """Return heading and table."""
        totals = (
            f"{self.totals.jobs:,} jobs, {self.totals.page_count:,} pages, "
            f"{self.totals.files:,} files, {self.totals.credits_debited:,} credits, "
            f"{self.totals.completed:,} completed"
        )
        return (
            f"{self.what}, {self.size_mb:.1f} MB; medians of {self.pairs} pairs\n"
            f"{where(self.machine, self.versions)}\n"
            f"The server alone: {self.server_mb_per_second:,.0f} MB/s\n"
            f"Every run found what was generated: {totals}\n\n{table(self.results)}"
        )


def machine() -> str:
    """Return processor, cores and system."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(": ")[2] if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def versions(*distributions: str) -> dict[str, str]:
    """Return the versions of Python and of these distributions."""
    return {"Python": platform.python_version()} | {name: version(name) for name in distributions}


def where(machine: str, versions: Mapping[str, str]) -> str:
    """Return machine and versions as lines of a heading."""
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return textwrap.fill(f"{machine}; {listed}", width=120, break_on_hyphens=False)


def table(results: Sequence[Result]) -> str:
    """Return the results as aligned text: two lines of head, one a contender, and a legend."""
    above, below, widths = zip(*_COLUMNS, strict=True)
    lines = [
        cells[0].ljust(widths[0])
        + "".join(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
        for cells in (above, below, *map(_cells, results))
    ]
    return "\n".join([*map(str.rstrip, lines), "", _LEGEND])


def _cells(result: Result) -> list[str]:
    return [
        result.contender,
        f"{result.jobs_per_second:,.0f}",
        _times(result.speed_ratio),
        f"{result.speed_ratio_lowest:.2f}-{result.speed_ratio_highest:.2f}",
        f"{result.first_job_ms:,.1f}",
        _times(result.first_job_ratio),
        f"{result.peak_growth_mb:,.1f}",
        f"{result.longest_stall_ms:,.1f}",
        _times(result.longest_stall_ratio),
        f"{result.p99_stall_ms:,.1f}",
        f"{result.cpu_seconds:.2f}",
    ]


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x" if ratio < 10 else f"{ratio:,.0f}x"
