"""`plangrep-async demo`: the real client against the documented API on this very machine."""

import sys
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Annotated, Any

import typer

from plangrep_async.cli.table import JobTable
from plangrep_async.cli.terminal import Meter, make_console
from plangrep_async.cli.totals import Totals
from plangrep_async.client import AsyncPlangrep
from plangrep_async.emulator import Emulator

_INTRODUCTION = (
    "A local server that speaks the documented API, with made-up jobs. "
    "For the real one, set PLANGREP_API_KEY and run: plangrep-async jobs PROJECT_ID"
)
_WHAT_TAKES_LONG = "The server makes its jobs up in this same process: most of the time is its own."
_ROWS = 12


def demo(
    *,
    jobs: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="How many jobs the project has.")
    ] = 5_000,
) -> Coroutine[Any, Any, int]:
    """Show jobs arrive from a local server; needs no API key."""
    return _demo(jobs)


async def _demo(jobs: int) -> int:
    console = make_console(sys.stdout)
    console.print(_INTRODUCTION, soft_wrap=not console.is_terminal)
    console.print()
    table = JobTable(console)
    async with (
        Emulator(jobs_per_project=jobs) as emulator,
        AsyncPlangrep(emulator.api_key, base_url=emulator.base_url) as client,
    ):
        totals = Totals()
        async with aclosing(client.list_jobs(emulator.project_ids[0])) as stream:
            table.write_header()
            async for job in stream:
                table.write(job)
                totals.add(job)
                if totals.all.jobs == _ROWS:
                    break
            with Meter(total=jobs) as meter:
                async for job in stream:
                    totals.add(job)
                    meter.show(totals.all.jobs)
        lines = [*totals.lines(), _WHAT_TAKES_LONG]
    if totals.all.jobs > _ROWS:
        console.print(f"… and {totals.all.jobs - _ROWS:,} more", style="dim")
    sys.stdout.write("\n")
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0
