"""`plangrep-async current`: which job each project is working on, for how long, and how far."""

import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from plangrep_async._progress import Progress
from plangrep_async.cli.access import Access
from plangrep_async.cli.fetch import describe, given_or_all
from plangrep_async.cli.jobs import EveryProject, MaxConcurrency, ProjectIds, wanted_projects
from plangrep_async.cli.ongoing import OngoingTable
from plangrep_async.cli.output import Format, Output
from plangrep_async.cli.progress import ProgressDisplay
from plangrep_async.cli.table import number
from plangrep_async.cli.terminal import complain, make_console


def current(
    project_ids: ProjectIds = None,
    *,
    every_project: EveryProject = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, as the API has it.")
    ] = False,
    max_concurrency: MaxConcurrency = 16,
    access: Access,
) -> Coroutine[Any, Any, int]:
    """Show the job that each project is working on.

    It is the newest that has not come to an end; of each project only as much is downloaded as it
    takes to find it. Pages are those that have succeeded, of all that are to be processed.
    Projects without such a job are counted.

    A project that fails is named at the end on standard error, and the exit code is 1.
    """
    wanted = wanted_projects(project_ids, every_project=every_project)
    return _current(wanted, as_json=as_json, access=access, max_concurrency=max_concurrency)


async def _current(
    project_ids: Sequence[str] | None, *, as_json: bool, access: Access, max_concurrency: int
) -> int:
    table = OngoingTable(make_console(sys.stdout), now=datetime.now(UTC))
    lines = Output(Format.JSON, None, has_projects=True, with_result_url=False)
    opened = lines.open() if as_json else nullcontext(table)
    async with access.client(max_concurrency=max_concurrency) as client:
        project_ids = await given_or_all(project_ids, client)
        async with client.current_jobs(project_ids, on_error="collect") as stream:
            with ProgressDisplay(stream) as display, opened as writer:
                async for job in stream:
                    display.make_room()
                    writer.write(job)
            progress, failures = stream.progress, stream.failures
    if not as_json:
        sys.stdout.writelines(f"{line}\n" for line in _summary(table, progress, len(failures)))
    for failure in describe(failures):
        complain(failure)
    return 1 if failures else 0


def _summary(table: OngoingTable, progress: Progress, failed: int) -> Iterator[str]:
    working, projects = progress.jobs, progress.projects_done
    if working:
        yield ""
        yield from table.counts()
        yield ""
    line = f"{number(working)} of {number(projects)} projects are working on a job, "
    line += f"{number(projects - working - failed)} on none"
    yield line + (f", {number(failed)} could not be asked" if failed else "")
    yield f"{progress.bytes / 1e6:,.1f} MB of their lists were read"
