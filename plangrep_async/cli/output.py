"""The two forms in which jobs are printed: a table with totals, and JSON lines."""

import json
import re
import sys
from typing import Any, Protocol

from plangrep_async.cli.table import JobTable
from plangrep_async.cli.terminal import make_console
from plangrep_async.cli.totals import Totals
from plangrep_async.converter import make_converter
from plangrep_async.models import Job

# What JSON allows inside a string and a terminal, or a reader of lines, may take for a command.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029]")


class Output(Protocol):
    """Takes jobs one by one, and writes each at once."""

    def write(self, job: Job) -> None:
        """Write one job."""

    def end(self) -> None:
        """Write what follows the last one."""


class TableOutput:
    """A line per job, and the sums. With many projects each line says whose job it is."""

    def __init__(self, *, has_projects: bool) -> None:
        self._table = JobTable(make_console(sys.stdout), has_projects=has_projects)
        self._totals = Totals()

    def write(self, job: Job) -> None:
        """Write the line of one job, the names of the columns before the first one."""
        if not self._totals.all.jobs:
            self._table.write_header()
        self._table.write(job)
        self._totals.add(job)

    def end(self) -> None:
        """Write the sums."""
        if self._totals.all.jobs:
            sys.stdout.write("\n")
        sys.stdout.writelines(f"{line}\n" for line in self._totals.lines())


class JsonOutput:
    """A JSON object a line, as the API has it; a `resultUrl` only on demand."""

    def __init__(self, *, with_result_url: bool) -> None:
        self._converter = make_converter()
        self._with_result_url = with_result_url
        # Python's own escapes for what an encoding lacks, such as \xe9, would be no JSON.
        self._ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")

    def write(self, job: Job) -> None:
        """Write the line of one job."""
        facts = self._converter.unstructure(job)
        if not self._with_result_url:
            del facts["resultUrl"]
        sys.stdout.write(json_line(facts, ascii_only=self._ascii_only))

    def end(self) -> None:
        """Write nothing: all lines are jobs."""


def json_line(facts: dict[str, Any], *, ascii_only: bool = False) -> str:
    """Write an object as one line of JSON, without characters that could break the line."""
    text = json.dumps(facts, ensure_ascii=ascii_only, separators=(",", ":"))
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"
