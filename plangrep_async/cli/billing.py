"""`plangrep-async billing`: what jobs add up to, by project, status, month or external id."""

from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Annotated, Any, cast

import typer

from plangrep_async.billing import GroupBy, Summary, Sums
from plangrep_async.cli.access import Access
from plangrep_async.cli.fetch import describe, take_jobs
from plangrep_async.cli.jobs import (
    CreatedAfter,
    EveryProject,
    MaxConcurrency,
    ProjectIds,
    wanted_projects,
)
from plangrep_async.cli.sums import By, Form, GroupedSums, write
from plangrep_async.cli.terminal import complain
from plangrep_async.models import JobStatus

_STATUS_PLACES = {status.value: place for place, status in enumerate(JobStatus)}


def billing(
    project_ids: ProjectIds = None,
    *,
    every_project: EveryProject = False,
    by: Annotated[
        By,
        typer.Option(help="One line for each. The month is that of a job's creation, in UTC."),
    ] = By.PROJECT,
    form: Annotated[Form, typer.Option("--format", help="How to write the sums.")] = Form.TABLE,
    created_after: CreatedAfter = None,
    max_concurrency: MaxConcurrency = 16,
    access: Access,
) -> Coroutine[Any, Any, int]:
    """Add up the jobs, pages and credits of projects.

    A project that fails is named on standard error, the sums are marked as incomplete, and the exit
    code is 1.
    """
    wanted = wanted_projects(project_ids, every_project=every_project)
    return _billing(
        wanted,
        by,
        form,
        access=access,
        created_after=created_after,
        max_concurrency=max_concurrency,
    )


async def _billing(
    wanted: Sequence[str] | None,
    by: By,
    form: Form,
    *,
    access: Access,
    created_after: datetime | None,
    max_concurrency: int,
) -> int:
    summary: Summary[str | None] = Summary(cast("GroupBy", by.replace("-", "_")))
    fetched = await take_jobs(
        wanted,
        summary.add,
        are_seen=False,
        access=access,
        created_after=created_after,
        max_concurrency=max_concurrency,
    )
    failed = describe(fetched.failures)
    if by is By.PROJECT:  # those without a job have a line, too
        for project_id in fetched.project_ids:
            summary.groups.setdefault(project_id, Sums())
    place = _status_place if by is By.STATUS else _text_place
    sums = GroupedSums(
        by=by,
        rows=sorted(summary.groups.items(), key=lambda row: place(row[0])),
        total=summary.total,
        failed=fetched.failures,
        projects=len(fetched.project_ids),
    )
    write(sums, form)
    for failure in failed:
        complain(failure)
    return 1 if failed else 0


def _status_place(status: str | None) -> tuple[int, str]:
    """Sort statuses as a job goes through them, those that are not known behind the others."""
    return _STATUS_PLACES.get(status or "", len(_STATUS_PLACES)), status or ""


def _text_place(key: str | None) -> tuple[int, str]:
    """Sort by the text, what has none at the end."""
    return int(key is None), key or ""
