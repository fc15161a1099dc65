"""`plangrep-async demo`: the real client against the documented API on this very machine.

The server is as strict and as broken as a real one may be, with waits that are short.
"""

import sys
import time
from collections.abc import Coroutine, Iterator
from typing import Annotated, Any

import typer

from plangrep_async._bulk import JobStream
from plangrep_async._retry import RetryPolicy
from plangrep_async.cli.fetch import describe
from plangrep_async.cli.progress import ProgressDisplay
from plangrep_async.cli.table import JobTable
from plangrep_async.cli.terminal import make_console
from plangrep_async.cli.totals import Totals
from plangrep_async.client import AsyncPlangrep
from plangrep_async.emulator import Emulator, Fault, Limits

_PROJECTS = 100
_PER_SECOND = 40
_BURST = 20
_LIMITS = Limits(requests_per_second=_PER_SECOND, burst=_BURST)
_CUT, _BROKEN = 3, 7  # places in the list of projects
_LEAST_JOB_BYTES = 300  # of JSON, here: a cut that far is never behind the end of the list
_RETRY = RetryPolicy(first_wait=0.05)

_INTRODUCTION = (
    "A local server that speaks the documented API, with made-up jobs. "
    "For the real one, set PLANGREP_API_KEY and run: plangrep-async jobs PROJECT_ID, or jobs --all"
)
_SCENE = (
    f"It has {_PROJECTS} projects, and takes {_PER_SECOND} requests a second after a burst of "
    f"{_BURST}. It cuts one list in the middle, and always fails for one of the projects."
)
_ROWS = 8


def demo(
    *,
    jobs: Annotated[
        int,
        typer.Option(
            min=1, max=10_000, help=f"How many jobs each of the {_PROJECTS} projects has."
        ),
    ] = 50,
) -> Coroutine[Any, Any, int]:
    """Show how jobs arrive; needs no API key.

    A local server has them, which is as strict and as broken as a real one may be.
    """
    return _demo(jobs)


async def _demo(jobs: int) -> int:
    console = make_console(sys.stdout)
    for text in (_INTRODUCTION, _SCENE, ""):
        console.print(text, soft_wrap=not console.is_terminal)
    async with (
        Emulator(projects=_PROJECTS, jobs_per_project=jobs, limits=_LIMITS) as emulator,
        AsyncPlangrep(emulator.api_key, base_url=emulator.base_url, retry=_RETRY) as client,
    ):
        cut, broken = emulator.project_ids[_CUT], emulator.project_ids[_BROKEN]
        emulator.faults[cut] = [Fault(cut_after_bytes=_LEAST_JOB_BYTES * jobs)]
        emulator.faults[broken] = [Fault(status=500, times=None)]
        started = time.perf_counter()
        projects = [project.id async for project in client.list_projects()]
        async with client.list_jobs_many(projects, on_error="collect") as stream:
            totals = await _show(stream, JobTable(console, has_projects=True))
            seconds = time.perf_counter() - started
            sums = [*totals.lines()]
            story = [*_what_happened(stream, emulator, seconds)]
    console.print(f"… and {totals.all.jobs - _ROWS:,} more", style="dim")
    sys.stdout.writelines(f"{line}\n" for line in ("", *sums, ""))
    for line in story:
        console.print(line, soft_wrap=not console.is_terminal)
    return 0


async def _show(stream: JobStream, table: JobTable) -> Totals:
    """Write the newest job of the first projects that answer, and add all jobs up."""
    totals = Totals()
    shown: set[str] = set()
    with ProgressDisplay(stream, line_interval=None) as display:
        async for job in stream:
            if len(shown) < _ROWS and job.project_id not in shown:
                display.make_room()
                if not shown:
                    table.write_header()
                table.write(job)
                shown.add(job.project_id)
            totals.add(job)
    return totals


def _what_happened(stream: JobStream, emulator: Emulator, seconds: float) -> Iterator[str]:
    progress, failures = stream.progress, stream.failures
    refused = sum(request.status == 429 for request in emulator.requests)
    let_in = len(emulator.requests) - refused
    at_best = (let_in - _BURST) / _PER_SECOND
    yield f"{progress.projects_done - len(failures)} of {progress.projects_done} projects complete"
    for failure in describe(failures):
        yield f"failed: {failure}"
    yield f"{progress.retries} retries, {refused} of them for a 429, which asks for a pause of 1 s"
    yield (
        f"{let_in} requests let in, which the limit allows in {at_best:.2f} s; "
        f"it took {seconds:.2f} s"
    )
