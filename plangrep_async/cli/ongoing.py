"""Jobs in progress as lines of text: whose each is, for how long, and how far it has come."""

import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from plangrep_async.cli.table import LONGEST_STATUS, STYLES, fit, number
from plangrep_async.errors import printable
from plangrep_async.models import Job, JobStatus

_GAP = "  "
_ID_WIDTH = 31  # "proj_" and a ULID
_ID_END_WIDTH = 8
_SHORT_STATUS = len(JobStatus.COMPLETED_WITH_ERRORS)
_AGE_WIDTH = len("99d 23h")
_PAGES_WIDTH = len("12,345 of 67,890")
_SHARE_WIDTH = len("pages")
_TIME_WIDTH = len("2024-11-02 00:06")
_WIDE, _WIDEST = 120, 138  # columns of a terminal with room for whole ids, and for times
_COLUMNS = ("project", "job", "status", "created (UTC)", "for", "pages")
_OTHER = "other"


class OngoingTable:
    """Writes a line per job: as wide as the terminal, and uncut where there is none.

    Where there is no room, the time of creation goes first; then the project is the end of its id,
    and the pages are a percentage.
    """

    def __init__(self, console: Console, *, now: datetime) -> None:
        width = console.width if console.is_terminal else sys.maxsize
        self._console = console
        self._now = now
        self._is_cut = console.is_terminal
        self._has_time = width > _WIDEST
        self._is_wide = width > _WIDE
        self.by_status: Counter[str] = Counter()
        """How many were written; statuses that are not known count as one."""

    def write(self, job: Job) -> None:
        """Write the line of one job, the names of the columns before the first one."""
        if not self.by_status:
            header = self._line(_COLUMNS)
            header.stylize("bold")
            self._print(header)
        self.by_status[job.status if job.status.is_known else _OTHER] += 1
        cells = (
            printable(job.project_id),
            printable(job.id),
            printable(job.status),
            job.created_at.isoformat(" ", "minutes")[:_TIME_WIDTH],
            age(self._now - job.created_at),
            pages(job) if self._is_wide else share(job),
        )
        self._print(self._line(cells, STYLES.get(job.status, "")))

    def counts(self) -> Iterator[str]:
        """Say how many jobs there were of each status, in the order of a job's life."""
        for status in (*JobStatus, _OTHER):
            if count := self.by_status[status]:
                yield f"{status:<{LONGEST_STATUS}}{number(count):>9}"

    def _line(self, texts: tuple[str, ...], style: str = "") -> Text:
        project, job, status, created, time, done = texts
        if not self._is_wide and len(project) > _ID_END_WIDTH:
            project = "…" + project[1 - _ID_END_WIDTH :]
        cells = [
            Text(self._cell(project, _ID_WIDTH if self._is_wide else _ID_END_WIDTH)),
            Text(self._cell(job, _ID_WIDTH - 1)),
            Text(self._cell(status, LONGEST_STATUS if self._is_wide else _SHORT_STATUS), style),
            Text(f"{time:>{_AGE_WIDTH}}"),
            Text(f"{done:>{_PAGES_WIDTH if self._is_wide else _SHARE_WIDTH}}"),
        ]
        if self._has_time:
            cells.insert(3, Text(f"{created:<{_TIME_WIDTH}}"))
        return Text(_GAP).join(cells)

    def _cell(self, text: str, width: int) -> str:
        return fit(text, width) if self._is_cut or cell_len(text) <= width else text

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)


def age(time: timedelta) -> str:
    """Write how long something has lasted by its two largest units; never less than nothing."""
    minutes, seconds = divmod(max(0, int(time.total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours:02}h" if days < 100 else f"{days:,}d"
    if hours:
        return f"{hours}h {minutes:02}m"
    return f"{minutes}m {seconds:02}s" if minutes else f"{seconds}s"


def pages(job: Job) -> str:
    """Say how many pages have succeeded, of how many; they are counted at preflight."""
    return (
        f"{number(job.successful_page_count)} of {number(job.page_count)}"
        if job.page_count
        else "-"
    )


def share(job: Job) -> str:
    """Say which part of the pages has succeeded, rounded down: 100% is all of them."""
    return f"{100 * job.successful_page_count // job.page_count}%" if job.page_count else "-"
