"""Jobs as lines of text: foreign text made harmless, columns of fixed widths.

No line waits for another one, so that a list of any length is shown while it comes, and never
held.
"""

import sys

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from plangrep_async.errors import printable
from plangrep_async.models import Job, JobStatus

STYLES = {
    JobStatus.COMPLETED: "green",
    JobStatus.COMPLETED_WITH_ERRORS: "yellow",
    JobStatus.BLOCKED_INSUFFICIENT_CREDITS: "yellow",
    JobStatus.FAILED: "red",
    JobStatus.CANCELLED: "dim",
    JobStatus.EXPIRED: "dim",
}

LONGEST_STATUS = max(map(len, JobStatus))
_SHORT_STATUS = len(JobStatus.COMPLETED_WITH_ERRORS)
_LEAST_FILES = 12
_WIDE = 120  # columns of a terminal that has room for an id
_ID_WIDTH = 30  # "job_" and a ULID
_PROJECT_WIDTH = 31  # "proj_" and a ULID
_PROJECT_END_WIDTH = 8  # of an id, where there is no room for the whole
_TIME_WIDTH = len("2024-11-02 00:06")
_DATE_WIDTH = len("2024-11-02")
_GAP = "  "


class JobTable:
    """Writes a line per job: as wide as the terminal, and uncut where there is none.

    With `has_projects` a line begins with the project. Where there is no room for its id and the
    time of day, it is the end of the id and the date.
    """

    def __init__(self, console: Console, *, has_projects: bool = False) -> None:
        self._console = console
        width = sys.maxsize if not console.is_terminal else console.width
        for_project = _PROJECT_WIDTH + len(_GAP) if has_projects else 0
        self._is_wide = width >= _WIDE + for_project
        self._is_cut = console.is_terminal
        self._status_width = LONGEST_STATUS if self._is_wide else _SHORT_STATUS
        self._project_width = _PROJECT_WIDTH if width >= _WIDE else _PROJECT_END_WIDTH
        self._has_projects = has_projects
        has_time = not has_projects or width >= _WIDE
        self._created_width = _TIME_WIDTH if has_time else _DATE_WIDTH
        # Painted once: rich takes longer for one cell than all the rest for a line.
        self._painted = {
            status.value: self._paint(fit(status, self._status_width), style)
            for status, style in STYLES.items()
        }
        left_of_files = self._owner("") + self._line("", "", "", "", "")
        self._files_width = max(_LEAST_FILES, console.width - 1 - len(left_of_files))

    def write_header(self) -> None:
        """Write the names of the columns."""
        created = "created (UTC)" if self._created_width == _TIME_WIDTH else "UTC date"
        names = self._line("status", "pages", "credits", created, "job") + "files"
        self._console.file.write(self._paint(self._owner("project") + names, "bold") + "\n")

    def write(self, job: Job) -> None:
        """Write the line of one job."""
        line = self._line(
            job.status,
            number(job.page_count),
            number(job.billing.credits_debited),
            job.created_at.isoformat(" ", "minutes")[: self._created_width],
            printable(job.id),
        )
        self._console.file.write(self._owner(job.project_id) + line + self._files(job) + "\n")

    def _owner(self, project_id: str) -> str:
        """Write the project, or the end of its id: ids differ there, and not at their beginning."""
        if not self._has_projects:
            return ""
        text = printable(project_id)
        if self._project_width < min(len(text), _PROJECT_WIDTH):
            text = "…" + text[1 - self._project_width :]
        return self._cell(text, self._project_width) + _GAP

    def _line(self, status: str, pages: str, credits_: str, created: str, job_id: str) -> str:
        cells = [
            self._painted.get(status) or self._cell(printable(status), self._status_width),
            f"{pages:>7}",
            f"{credits_:>9}",
            f"{created:<{self._created_width}}",
        ]
        if self._is_wide:
            cells.append(self._cell(job_id, _ID_WIDTH))
        return _GAP.join(cells) + _GAP

    def _cell(self, text: str, width: int) -> str:
        return fit(text, width) if self._is_cut or cell_len(text) <= width else text

    def _files(self, job: Job) -> str:
        """Name the first file and count the others."""
        if not job.files:
            return "-"
        name = printable(job.files[0].file_name)
        others = f" +{len(job.files) - 1}" if len(job.files) > 1 else ""
        if self._is_cut and cell_len(name + others) > self._files_width:
            name = fit(name, self._files_width - len(others))
        return name + others

    def _paint(self, text: str, style: str) -> str:
        with self._console.capture() as painted:
            self._console.print(Text(text, style), end="", soft_wrap=True)
        return painted.get()


def fit(text: str, width: int) -> str:
    """Pad or cut to a number of terminal cells."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…"


def number(value: int) -> str:
    """Write a count with separators. Python would refuse one of thousands of digits."""
    return f"{value:,}" if abs(value) < 10**15 else "huge"
