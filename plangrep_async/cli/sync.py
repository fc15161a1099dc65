"""`plangrep-async sync`: a local SQLite database of all jobs, brought up to date."""

import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from plangrep_async.cli.access import Access
from plangrep_async.cli.fetch import describe
from plangrep_async.cli.jobs import EveryProject, MaxConcurrency, ProjectIds, wanted_projects
from plangrep_async.cli.progress import ProgressDisplay
from plangrep_async.cli.table import number
from plangrep_async.cli.terminal import complain
from plangrep_async.cli.usage import UsageError
from plangrep_async.mirror import SyncReport
from plangrep_async.mirror import sync as sync_file


def sync(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The database, such as jobs.db.")],
    project_ids: ProjectIds = None,
    *,
    every_project: EveryProject = False,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Read every list to its end, and so find what is not listed any more."
        ),
    ] = False,
    with_result_url: Annotated[
        bool,
        typer.Option(
            "--with-result-url", help="Store each resultUrl. It is a secret: it has a token."
        ),
    ] = False,
    max_concurrency: MaxConcurrency = 16,
    access: Access,
) -> Coroutine[Any, Any, int]:
    """Bring a local SQLite database of jobs up to date; it is made where there is none.

    Of each list only the head is downloaded, down to the newest job below which nothing can have
    changed. A run may be stopped at any moment: each project is stored whole or not at all.

    A project that fails stops no other one, is named at the end on standard error, and the exit
    code is 1.
    """
    if file.name.startswith("proj_") and not file.suffix and not file.exists():
        raise UsageError("FILE is missing, and comes first: sync jobs.db PROJECT_ID.")
    wanted = wanted_projects(project_ids, every_project=every_project)
    return _sync(
        file,
        wanted,
        access=access,
        max_concurrency=max_concurrency,
        full=full,
        with_result_url=with_result_url,
    )


async def _sync(
    file: Path,
    project_ids: Sequence[str] | None,
    *,
    access: Access,
    max_concurrency: int,
    **options: bool,
) -> int:
    async with access.client(max_concurrency=max_concurrency) as client:
        report = await sync_file(client, file, project_ids, watch=ProgressDisplay, **options)
    sys.stdout.write(summary(report) + "\n")
    for failure in describe(report.failures):
        complain(failure)
    return 1 if report.failures else 0


def summary(report: SyncReport) -> str:
    """Say in short lines what a run has done, and what it has cost."""
    projects = report.projects + report.superseded + len(report.failures)
    lines = [
        (
            f"{number(report.projects)} of {number(projects)} projects up to date, "
            f"{report.bytes / 1000:,.0f} kB downloaded"
        ),
        (
            f"{number(report.jobs)} jobs read: {number(report.new)} new, "
            f"{number(report.changed)} changed, {number(report.gone)} gone"
        ),
    ]
    if report.superseded:
        lines.append(f"{number(report.superseded)} projects left as another run stored them")
    return "\n".join(lines)
