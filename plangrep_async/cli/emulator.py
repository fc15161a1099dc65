"""`plangrep-async emulator`: the documented API on this machine, to try things by hand."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from typing import Annotated, Any

import typer

from plangrep_async.cli.table import number
from plangrep_async.cli.terminal import PROGRAM, make_console
from plangrep_async.emulator import Emulator, Limits
from plangrep_async.errors import ConfigurationError

_MOST_PROJECTS = 100_000
_MOST_JOBS = 2_000_000  # of a project, as the emulator has it
_SECONDS = 1.0  # between two looks at the records of requests, which are kept till then


def emulator(
    *,
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65_535, metavar="N", help="Where to serve; 0 is any port that is free."
        ),
    ] = 0,
    projects: Annotated[
        int,
        typer.Option(min=0, max=_MOST_PROJECTS, metavar="N", help="How many projects there are."),
    ] = 3,
    jobs: Annotated[
        int,
        typer.Option(min=0, max=_MOST_JOBS, metavar="N", help="How many jobs each of them has."),
    ] = 100,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N", help="Other data, other ids, another key; equal seeds give equal ones."
        ),
    ] = 0,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.0001,
            max=1_000_000,
            metavar="N",
            help="Refuse more than so many requests a second with 429, after as many that may come "
            "at once. By default none is refused.",
        ),
    ] = None,
) -> Coroutine[Any, Any, int]:
    """Serve the API on this machine, with made-up data.

    It goes on until Ctrl-C. What it prints can be typed in another terminal to try it.
    """
    double = Emulator(
        projects=projects,
        jobs_per_project=jobs,
        seed=seed,
        port=port,
        limits=Limits(requests_per_second=rate),
    )
    facts = {"projects": number(projects), "jobs": f"{number(jobs)} in each"}
    if rate is not None:
        facts["limit"] = f"{rate:g} requests a second"
    return _serve(double, port, facts)


async def _serve(emulator: Emulator, port: int, facts: dict[str, str]) -> int:
    stop = _end_of_service()
    console = make_console(sys.stdout)
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(emulator)
        except OSError as error:
            reason = os.strerror(error.errno or 0)  # its own text is long
            raise ConfigurationError(
                f"cannot serve on port {port}: {reason}. Give another --port, or none"
            ) from None
        for line in _welcome(emulator, facts):
            console.print(line, soft_wrap=True)
        answered, refused = await _count_requests(emulator, stop)
    if console.is_terminal:
        console.print()  # behind the ^C
    console.print(f"{number(answered)} requests answered, {number(refused)} refused with 429")
    return 0


def _welcome(emulator: Emulator, facts: dict[str, str]) -> Iterator[str]:
    yield "The documented API with made-up data, until Ctrl-C"
    yield ""
    yield f"base URL  {emulator.base_url}"
    yield f"API key   {emulator.api_key} (made up, of use here only)"
    yield from (f"{name:<10}{value}" for name, value in facts.items())
    yield ""
    yield "In another terminal:"
    yield ""
    yield f"export PLANGREP_BASE_URL={emulator.base_url}"
    yield f"export PLANGREP_API_KEY={emulator.api_key}"
    yield f"{PROGRAM} jobs --all"
    for project_id in emulator.project_ids[:1]:
        yield f"{PROGRAM} jobs {project_id} --json"
    yield ""


def _end_of_service() -> asyncio.Event:
    """Give what is set by Ctrl-C, and by the signal that asks a service to end."""
    stop = asyncio.Event()
    for asked in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # of Windows, where Ctrl-C just ends it
            asyncio.get_running_loop().add_signal_handler(asked, stop.set)
    return stop


async def _count_requests(emulator: Emulator, stop: asyncio.Event) -> tuple[int, int]:
    """Wait for the end; how many requests were answered until then, and how many refused."""
    count = refused = 0
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS):
                await stop.wait()
        count += len(emulator.requests)
        refused += sum(request.status == 429 for request in emulator.requests)
        emulator.requests.clear()
        if stop.is_set():
            return count - refused, refused
