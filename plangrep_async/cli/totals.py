"""Sums over the jobs that came, by status, and how fast they came."""

import time
from collections.abc import Iterator

from plangrep_async.billing import Sums
from plangrep_async.cli.table import LONGEST_STATUS, number
from plangrep_async.models import Job, JobStatus

_OTHER = "other"


class Totals:
    """Takes as much memory for a million jobs as for one."""

    def __init__(self) -> None:
        self.all: Sums = Sums()
        # One for all statuses that are not known: nobody says how many of them a server has.
        self.by_status: dict[str, Sums] = {str(status): Sums() for status in (*JobStatus, _OTHER)}
        self._started = time.perf_counter()
        self._first: float | None = None

    def add(self, job: Job) -> None:
        """Count one more job."""
        if self._first is None:
            self._first = time.perf_counter()
        self.all.add(job)
        self.by_status[job.status if job.status.is_known else _OTHER].add(job)

    def lines(self) -> Iterator[str]:
        """Describe what has come until now, and its pace."""
        seconds = time.perf_counter() - self._started
        if self._first is None:
            yield "no jobs"
            return
        yield _line("", "jobs", "pages", "credits")
        for status, part in self.by_status.items():
            if part.jobs:
                yield _sum_line(status, part)
        yield _sum_line("total", self.all)
        yield ""
        first = (self._first - self._started) * 1000
        pace = self.all.jobs / seconds
        yield f"first job after {first:,.1f} ms, all after {seconds:,.2f} s: {pace:,.0f} jobs/s"


def _sum_line(label: str, part: Sums) -> str:
    return _line(label, number(part.jobs), number(part.page_count), number(part.credits_debited))


def _line(label: str, jobs: str, pages: str, credits_: str) -> str:
    return f"{label:<{LONGEST_STATUS}}{jobs:>12}{pages:>16}{credits_:>16}"
