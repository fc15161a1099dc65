"""What jobs add up to: jobs, pages and credits, by project, status, month or external id.

    summary = await summarize(client.list_jobs(project_id), by="month")
    for month, sums in summary.groups.items():
        print(month, sums.jobs, sums.credits_debited)

Memory grows with the groups, and not with the jobs. All sums are exact integers.
"""

from collections.abc import AsyncIterable, Callable, Iterable
from datetime import UTC
from typing import Any, Generic, Literal, TypeVar, overload

import attrs

from plangrep_async.errors import ConfigurationError
from plangrep_async.models import Job

GroupBy = Literal["project", "status", "month", "external_id"]
"""What jobs can be told apart by.

`month` is the calendar month, in UTC, of `created_at`, as `2024-11`: the one time that every job
has and that never changes. A job does not say when its pages were debited, so all the credits of
one that runs past the end of a month count where it began.
"""

K = TypeVar("K")


@attrs.define
class Sums:
    """What a group of jobs adds up to."""

    jobs: int = 0
    page_count: int = 0
    successful_page_count: int = 0
    credits_debited: int = 0

    def add(self, job: Job) -> None:
        """Count one more job."""
        self.jobs += 1
        self.page_count += job.page_count
        self.successful_page_count += job.successful_page_count
        self.credits_debited += job.billing.credits_debited


class Summary(Generic[K]):
    """Sums over jobs, by group and in all; takes one job at a time."""

    groups: dict[K, Sums]
    """By what was asked for, in the order in which they came: by a text, which is None for jobs
    without an external id, or by a tuple of them where several keys were asked for."""
    total: Sums

    def __init__(self, by: GroupBy | tuple[GroupBy, ...]) -> None:
        self.groups = {}
        self.total = Sums()
        self._key = _key(by)

    def add(self, job: Job) -> None:
        """Count one more job."""
        self.total.add(job)
        key = self._key(job)
        sums = self.groups.get(key)
        if sums is None:
            sums = self.groups[key] = Sums()
        sums.add(job)


@overload
async def summarize(
    jobs: Iterable[Job] | AsyncIterable[Job], *, by: GroupBy
) -> Summary[str | None]: ...


@overload
async def summarize(
    jobs: Iterable[Job] | AsyncIterable[Job], *, by: tuple[GroupBy, ...] = ()
) -> Summary[tuple[str | None, ...]]: ...


async def summarize(
    jobs: Iterable[Job] | AsyncIterable[Job], *, by: GroupBy | tuple[GroupBy, ...] = ()
) -> Summary[Any]:
    """Add up all of these jobs.

    `by` is a key, such as `"project"`, or a tuple of several, such as `("project", "month")`.
    Raises what the jobs raise, and `ConfigurationError` for another key. Projects that fail with
    `on_error="collect"` are missing from the sums: look at the stream's `failures`.
    """
    summary: Summary[Any] = Summary(by)
    if isinstance(jobs, AsyncIterable):
        async for job in jobs:
            summary.add(job)
    else:
        for job in jobs:
            summary.add(job)
    return summary


def _month(job: Job) -> str:
    return job.created_at.astimezone(UTC).isoformat()[:7]


_KEYS: dict[str, Callable[[Job], str | None]] = {
    "project": lambda job: job.project_id,
    "status": lambda job: job.status.value,
    "month": _month,
    "external_id": lambda job: job.external_id,
}


def _key(by: GroupBy | tuple[GroupBy, ...]) -> Callable[[Job], Any]:
    names: object = (by,) if isinstance(by, str) else by
    if not isinstance(names, tuple) or not all(isinstance(n, str) and n in _KEYS for n in names):
        raise ConfigurationError(f"cannot group by {by!r}: only by {', '.join(_KEYS)}, or a tuple")
    if isinstance(by, str):
        return _KEYS[by]
    keys = [_KEYS[name] for name in by]
    return lambda job: tuple(key(job) for key in keys)
