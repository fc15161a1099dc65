"""How far a stream of many projects is: a moving picture on a terminal, else a line now and then.

The figures are asked for in the event loop only: they are of a stream that other threads, such as
those of rich, may not touch.
"""

import asyncio
import sys
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from plangrep_async._bulk import JobStream
from plangrep_async._progress import Progress
from plangrep_async.cli.table import number
from plangrep_async.cli.terminal import PROGRAM, console_for_progress, pictures, tell

LINE_INTERVAL = 5.0  # seconds between two lines, and before the first one

_FRAME_INTERVAL = 0.1  # seconds between two pictures
_QUIET = 0.5  # seconds without a row after which a picture may stand below the rows
_BAR_WIDTH = 30


class ProgressDisplay:
    """Shows the progress of a stream while its block lasts.

    The picture goes where that of a `Meter` goes, gives way to rows of the same terminal, and
    leaves nothing behind. Where neither output nor errors are seen on a terminal, a line goes to
    standard error every `line_interval` seconds; `None` is for no lines.
    """

    def __init__(self, stream: JobStream, *, line_interval: float | None = LINE_INTERVAL) -> None:
        console = console_for_progress()
        self._console = console if console.is_interactive else None
        self._has_lines = self._console is None and line_interval is not None and _is_unseen()
        self._interval = (line_interval or 0.0) if self._has_lines else _FRAME_INTERVAL
        self._is_beside_rows = console.file is sys.stdout
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._made_room = float("-inf")  # when a row came
        self._live: Live | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        if self._console is not None:
            self._draw(self._console)
            pictures.append(self)
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._console is not None:
            pictures.remove(self)
        self.give_way()

    def make_room(self) -> None:
        """Let a row be written; to be called before each."""
        if self._is_beside_rows:
            self._made_room = self._loop.time()
            self.give_way()

    def give_way(self) -> None:
        """Make room for a line that is no row; it is back with the next picture."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _wait(self) -> None:
        if self._console is not None or self._has_lines:
            self._timer = self._loop.call_later(self._interval, self._show)

    def _show(self) -> None:
        try:
            if self._console is None:
                how_far = line(self._stream.progress, self._loop.time() - self._started)
                tell(f"{PROGRAM}: {how_far}")
            elif self._loop.time() - self._made_room > _QUIET:
                self._draw(self._console)
        except OSError:
            return  # nobody reads it; whether the jobs can be written is another question
        self._wait()

    def _draw(self, console: Console) -> None:
        picture = _picture(self._stream.progress, self._loop.time() - self._started)
        if self._live is None:
            self._live = Live(
                console=console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._live.update(picture, refresh=True)


def line(progress: Progress, elapsed: float) -> str:
    """Say in a line how far it is after so many seconds."""
    return f"{_projects(progress, elapsed)}, {_facts(progress)}"


def time_left(progress: Progress, elapsed: float) -> str | None:
    """Estimate from the projects that are done; None where nothing can be said."""
    done, total = progress.projects_done, progress.projects_total
    if total is None or not 0 < done < total:
        return None
    seconds = round(elapsed * (total - done) / done)
    hours, minutes = divmod(seconds // 60, 60)
    clock = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{clock}:{seconds % 60:02}"


def _picture(progress: Progress, elapsed: float) -> Group:
    first = Table.grid(padding=(0, 1))
    first.add_row(
        ProgressBar(
            total=progress.projects_total, completed=progress.projects_done, width=_BAR_WIDTH
        ),
        Text(_projects(progress, elapsed), no_wrap=True, overflow="ellipsis"),
    )
    return Group(first, Text(_facts(progress), no_wrap=True, overflow="ellipsis"))


def _projects(progress: Progress, elapsed: float) -> str:
    text = number(progress.projects_done)
    if progress.projects_total is not None:
        text += f" of {number(progress.projects_total)}"
    left = time_left(progress, elapsed)
    return f"{text} projects" + (f", about {left} left" if left else "")


def _facts(progress: Progress) -> str:
    rate = progress.requests_per_second
    return ", ".join(
        [
            _count(progress.jobs, "job", "jobs"),
            f"{progress.bytes / 1e6:,.1f} MB",
            _count(progress.retries, "retry", "retries"),
            f"up to {progress.max_in_flight} at once"
            + ("" if rate is None else f" and {rate:,.1f} requests/s"),
        ]
    )


def _count(value: int, one: str, many: str) -> str:
    return f"{number(value)} {one if value == 1 else many}"


def _is_unseen() -> bool:
    """Whether what goes to standard error comes between nothing on a screen."""
    return sys.stderr is not None and not sys.stderr.isatty()
