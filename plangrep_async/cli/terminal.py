"""What depends on where the output goes: colours, width, and whether anything may move."""

import os
import stat
import sys
from contextlib import suppress
from typing import Protocol, Self, TextIO

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

PROGRAM = "plangrep-async"

_JOBS_BETWEEN_UPDATES = 100


class Picture(Protocol):
    """Something that moves on a terminal."""

    def give_way(self) -> None:
        """Vanish until there is something new to show."""


pictures: list[Picture] = []
"""What is on the screen now."""


def complain(problem: str) -> None:
    """Write a problem to standard error, where there is one, in a line.

    Where nobody reads it, the exit code still says that there was one.
    """
    with suppress(OSError):
        tell(f"{PROGRAM}: {problem}")


def tell(line: str) -> None:
    """Write a line to standard error, where there is one, and not into a picture."""
    if sys.stderr is not None and sys.stderr.isatty():
        for picture in pictures:
            picture.give_way()
    typer.echo(line, err=True)


def make_console(stream: TextIO) -> Console:
    """Make a console that treats a stream as a terminal if, and only if, it is one.

    Text is shown as it is: no markup, no emoji codes, no highlighting.
    """
    return _Console(
        file=stream,
        force_terminal=stream.isatty(),  # or FORCE_COLOR would make a pipe colourful
        markup=False,
        emoji=False,
        highlight=False,
    )


def console_for_progress() -> Console:
    """Make one for standard output, or for standard error while the output is saved to a file.

    Only an interactive one may be used. A pipe never is, nor is standard error beside it: the
    reader of the pipe may use the same terminal.
    """
    return make_console(sys.stderr if _output_is_saved() and sys.stderr else sys.stdout)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave a closed pipe to the program: rich would exit with 1."""
        raise BrokenPipeError


class Meter:
    """Counts jobs on a terminal while they come, and leaves nothing behind; else does nothing.

    It shows on the console for progress.
    """

    def __init__(self) -> None:
        console = console_for_progress()
        self._progress = _make_progress(console) if console.is_interactive else None

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
            pictures.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.hide()

    def show(self, jobs: int) -> None:
        """Take note of how many jobs have come."""
        if self._progress is not None and jobs % _JOBS_BETWEEN_UPDATES == 0:
            self._progress.start()  # unless it is there
            self._progress.update(self._progress.task_ids[0], completed=jobs)

    def give_way(self) -> None:
        """Make room for a line; it is back when more jobs have come."""
        if self._progress is not None:
            self._progress.stop()

    def hide(self) -> None:
        """Make room for other output, for good; any number of times."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            pictures.remove(self)


def _make_progress(console: Console) -> Progress:
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.completed:,} jobs", markup=False),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    progress.add_task("", total=None)
    return progress


def _output_is_saved() -> bool:
    try:
        return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    except OSError:  # standard output is no file of the system
        return False
