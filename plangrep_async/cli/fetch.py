"""Fetching for the command line: the jobs of one project, and those of many."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime

import attrs

from plangrep_async.cli.access import Access
from plangrep_async.cli.output import Output
from plangrep_async.cli.progress import ProgressDisplay
from plangrep_async.cli.terminal import Meter, complain
from plangrep_async.client import AsyncPlangrep
from plangrep_async.errors import PlangrepError, printable
from plangrep_async.models import Job


@attrs.frozen
class Fetched:
    """What became of many projects."""

    project_ids: Sequence[str]
    failures: Mapping[str, Exception]


async def fetch_one(
    project_id: str, output: Output, *, access: Access, created_after: datetime | None
) -> int:
    """Write each job of a project when it comes; gives the exit code."""
    lines_are_seen = output.is_seen and sys.stdout.isatty()
    count = 0
    async with access.client() as client:
        stream = client.list_jobs(project_id, created_after=created_after)
        with output.open() as writer, Meter() as meter:
            async with aclosing(stream):
                async for job in stream:
                    if lines_are_seen:
                        meter.hide()
                    writer.write(job)
                    count += 1
                    meter.show(count)
    return 0


async def fetch_many(
    project_ids: Sequence[str] | None,
    output: Output,
    *,
    access: Access,
    created_after: datetime | None,
    max_concurrency: int,
) -> int:
    """Write each job of these projects, or of all there are, when it comes; gives the exit code.

    A project that fails holds up none of the others, and is named when all are done.
    """
    failed: list[str] = []
    try:
        with output.open() as writer:
            fetched = await take_jobs(
                project_ids,
                writer.write,
                are_seen=output.is_seen,
                access=access,
                created_after=created_after,
                max_concurrency=max_concurrency,
            )
            failed = describe(fetched.failures)
            output.must_be_complete(failed=len(failed), projects=len(fetched.project_ids))
    finally:
        for failure in failed:
            complain(failure)
    return 1 if failed else 0


async def take_jobs(
    project_ids: Sequence[str] | None,
    take: Callable[[Job], None],
    *,
    are_seen: bool,
    access: Access,
    created_after: datetime | None,
    max_concurrency: int,
) -> Fetched:
    """Have each job of these projects, or of all there are, taken when it comes, with progress.

    `are_seen` says whether a job that was taken may show on the terminal of the progress.
    """
    async with access.client(max_concurrency=max_concurrency) as client:
        project_ids = await given_or_all(project_ids, client)
        async with client.list_jobs_many(
            project_ids, on_error="collect", created_after=created_after
        ) as stream:
            with ProgressDisplay(stream) as display:
                async for job in stream:
                    if are_seen:
                        display.make_room()
                    take(job)
            return Fetched(project_ids, stream.failures)


async def given_or_all(project_ids: Sequence[str] | None, client: AsyncPlangrep) -> Sequence[str]:
    """Give these ids, or those of all projects there are."""
    if project_ids is not None:
        return project_ids
    # Read to the end first: the total says how long it will take.
    return [project.id async for project in client.list_projects()]


def describe(failures: Mapping[str, Exception]) -> list[str]:
    """Say in a line for each project that failed which one it is, and why.

    Raises what is no failure of the API or the network: a defect, whose traceback is wanted.
    """
    lines = []
    for project_id, error in failures.items():
        if not isinstance(error, PlangrepError):
            raise error
        reason = attrs.evolve(error, project_id=None)  # which the line begins with
        lines.append(f"{printable(project_id)}: {reason}")
    return lines
