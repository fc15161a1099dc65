"""Fetching for the command line: the jobs of one project, and those of many."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import datetime

import attrs

from plangrep_async._endpoint import jobs_path
from plangrep_async.cli.access import Access
from plangrep_async.cli.output import Output
from plangrep_async.cli.progress import ProgressDisplay
from plangrep_async.cli.terminal import Meter, complain
from plangrep_async.errors import PlangrepError, printable


async def fetch_one(
    project_id: str, output: Output, *, access: Access, created_after: datetime | None
) -> int:
    """Write each job of a project when it comes; gives the exit code."""
    lines_are_seen = sys.stdout.isatty()
    count = 0
    async with access.client() as client:
        stream = client.list_jobs(project_id, created_after=created_after)
        with Meter() as meter:
            async with aclosing(stream):
                async for job in stream:
                    if lines_are_seen:
                        meter.hide()
                    output.write(job)
                    count += 1
                    meter.show(count)
    output.end()
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
    for project_id in project_ids or ():
        jobs_path(project_id)  # refuses what can be no id before anything is fetched
    async with access.client(max_concurrency=max_concurrency) as client:
        if project_ids is None:
            # Read to the end first: the total says how long it will take.
            project_ids = [project.id async for project in client.list_projects()]
        async with client.list_jobs_many(
            project_ids, on_error="collect", created_after=created_after
        ) as stream:
            with ProgressDisplay(stream) as display:
                async for job in stream:
                    display.make_room()
                    output.write(job)
            failures = stream.failures
    output.end()
    for failure in describe(failures):
        complain(failure)
    return 1 if failures else 0


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
