"""The program: its commands, and what becomes of their errors.

typer only parses. A command gives back the coroutine to run, which gives the exit code, so that
Ctrl-C, a closed pipe and errors are met here, and not as typer would have it.

Exit codes: 0; 1 for an error of the API or the network; 2 for usage and configuration. A reader
that closes the pipe, as `head` does, has got what it wanted: 0.
"""

import asyncio
import inspect
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from plangrep_async._version import __version__
from plangrep_async.cli.access import with_access
from plangrep_async.cli.billing import billing
from plangrep_async.cli.current import current
from plangrep_async.cli.demo import demo
from plangrep_async.cli.emulator import emulator
from plangrep_async.cli.jobs import jobs
from plangrep_async.cli.sync import sync
from plangrep_async.cli.terminal import PROGRAM, complain
from plangrep_async.cli.usage import UsageError, usage_problem
from plangrep_async.errors import ConfigurationError, PlangrepError, printable

app: typer.Typer = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=f"Example: {PROGRAM} demo",
)
app.command(epilog=f"Example: {PROGRAM} demo --jobs 500")(demo)
app.command(epilog=f"Example: {PROGRAM} jobs --all --created-after 2024-11-02 -o jobs.csv")(
    with_access(jobs)
)
app.command(epilog=f"Example: {PROGRAM} billing --all --by month")(with_access(billing))
app.command(epilog=f"Example: {PROGRAM} current --all")(with_access(current))
app.command(epilog=f"Example: {PROGRAM} emulator --projects 300 --jobs 200 --rate 50")(emulator)
app.command(epilog=f"Example: {PROGRAM} sync jobs.db --all")(with_access(sync))


def _show_version(wanted: bool) -> None:  # noqa: FBT001  # called by typer
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Stream the jobs of projects of the Plangrep API."""


def run(argv: Sequence[str]) -> int:
    """Run one command line; gives the exit code. Ctrl-C passes as `KeyboardInterrupt`."""
    if sys.stdout is None:  # started with its standard output closed
        return _complain("there is no standard output to write to", 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A line goes out when its job is there, in whatever characters the terminal can show.
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        return _run(argv or ["--help"])
    except BrokenPipeError:
        return 0
    except OSError as error:
        problem = error.strerror or str(error)
        where = f"{printable(str(error.filename))}: " if error.filename else ""
        return _complain(where + problem, 1)
    finally:
        _discard_what_cannot_be_written()


def _run(argv: Sequence[str]) -> int:
    try:
        work = app(args=list(argv), prog_name=PROGRAM, standalone_mode=False)
        if inspect.iscoroutine(work):
            return int(asyncio.run(work))
        return int(work or 0)  # typer has shown the help or the version
    except UsageError as error:
        return _complain(usage_problem(error, PROGRAM), 2)
    except ConfigurationError as error:
        return _complain(str(error), 2)
    except PlangrepError as error:
        return _complain(str(error), 1)


def _complain(problem: str, code: int) -> int:
    complain(problem)
    return code


def _discard_what_cannot_be_written() -> None:
    # The interpreter flushes once more when it ends, and would complain of a closed pipe then.
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
