"""`plangrep-async billing`: what jobs add up to, by project, status, month or external id.

Sums that lack a project's jobs say so in each form: a table with a line at its end, CSV with the
column `complete`, JSON with `complete` and `failed`.
"""

import sys
from collections.abc import Collection, Coroutine, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, cast

import attrs
import typer
from rich.cells import cell_len

from plangrep_async.billing import GroupBy, Summary, Sums
from plangrep_async.cli.access import Access
from plangrep_async.cli.fetch import describe, take_jobs
from plangrep_async.cli.jobs import (
    CreatedAfter,
    EveryProject,
    MaxConcurrency,
    ProjectIds,
    wanted_projects,
)
from plangrep_async.cli.output import Unbuffered, is_utf
from plangrep_async.cli.table import fit, number
from plangrep_async.cli.terminal import complain, make_console
from plangrep_async.converter import camel
from plangrep_async.errors import printable
from plangrep_async.export._text import csv_rows, json_line
from plangrep_async.models import JobStatus


class By(StrEnum):
    """What the sums are told apart by."""

    PROJECT = "project"
    STATUS = "status"
    MONTH = "month"
    EXTERNAL_ID = "external-id"


class Form(StrEnum):
    """How the sums are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


_NAMES = {  # of the columns, as the fields of a job have them
    By.PROJECT: "project_id",
    By.STATUS: "status",
    By.MONTH: "month",
    By.EXTERNAL_ID: "external_id",
}
_STATUS_PLACES = {status.value: place for place, status in enumerate(JobStatus)}
_WIDTHS = dict(zip(("jobs", "pages", "successful", "credits"), (12, 16, 16, 16), strict=True))
_NO_KEY = "(none)"
_LEAST_LABEL = 20


@attrs.frozen(kw_only=True)
class _Result:
    by: By
    rows: list[tuple[str | None, Sums]]
    total: Sums
    failed: Collection[str]
    projects: int

    def is_complete(self, key: str | None) -> bool:
        """Whether no job of a group is missing."""
        return key not in self.failed if self.by is By.PROJECT else not self.failed


def billing(
    project_ids: ProjectIds = None,
    *,
    every_project: EveryProject = False,
    by: Annotated[
        By,
        typer.Option(help="One line for each. The month is that of a job's creation, in UTC."),
    ] = By.PROJECT,
    form: Annotated[Form, typer.Option("--format", help="How to write the sums.")] = Form.TABLE,
    created_after: CreatedAfter = None,
    max_concurrency: MaxConcurrency = 16,
    access: Access,
) -> Coroutine[Any, Any, int]:
    """Add up the jobs, pages and credits of projects.

    A project that fails is named on standard error, the sums are marked as incomplete, and the exit
    code is 1.

    The environment variable PLANGREP_API_KEY holds the API key, unless a file does.
    PLANGREP_BASE_URL, where it is set, says where the API is.
    """
    wanted = wanted_projects(project_ids, every_project=every_project)
    return _billing(
        wanted,
        by,
        form,
        access=access,
        created_after=created_after,
        max_concurrency=max_concurrency,
    )


async def _billing(
    wanted: Sequence[str] | None,
    by: By,
    form: Form,
    *,
    access: Access,
    created_after: datetime | None,
    max_concurrency: int,
) -> int:
    summary: Summary[str | None] = Summary(cast("GroupBy", by.replace("-", "_")))
    fetched = await take_jobs(
        wanted,
        summary.add,
        are_seen=False,
        access=access,
        created_after=created_after,
        max_concurrency=max_concurrency,
    )
    failed = describe(fetched.failures)
    if by is By.PROJECT:  # those without a job have a line, too
        for project_id in fetched.project_ids:
            summary.groups.setdefault(project_id, Sums())
    result = _Result(
        by=by,
        rows=sorted(summary.groups.items(), key=_place),
        total=summary.total,
        failed=fetched.failures,
        projects=len(fetched.project_ids),
    )
    {Form.TABLE: _write_table, Form.CSV: _write_csv, Form.JSON: _write_json}[form](result)
    for failure in failed:
        complain(failure)
    return 1 if failed else 0


def _place(row: tuple[str | None, Sums]) -> tuple[int, str]:
    """Sort statuses as a job goes through them, all else by its text, what has none at the end."""
    key = row[0]
    return _STATUS_PLACES.get(key or "", len(_STATUS_PLACES) + (key is None)), key or ""


def _write_table(result: _Result) -> None:
    labels = [_NO_KEY if key is None else printable(key) for key, _ in result.rows]
    console = make_console(sys.stdout)
    width = max(map(cell_len, [*labels, result.by]))
    if console.is_terminal:
        width = min(width, max(_LEAST_LABEL, console.width - 1 - sum(_WIDTHS.values())))
    lines = [_line(result.by, list(_WIDTHS), width)]
    for label, sums in zip(labels, (sums for _, sums in result.rows), strict=True):
        lines.append(_line(label, _numbers(sums), width))
    lines.append(_line("total", _numbers(result.total), width))
    if result.failed:
        failed = f"{len(result.failed):,} of {result.projects:,} projects failed"
        lines += ["", f"INCOMPLETE: {failed}, and some or all of their jobs are missing"]
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _line(label: str, cells: Sequence[str], width: int) -> str:
    widths = _WIDTHS.values()
    return fit(label, width) + "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True))


def _numbers(sums: Sums) -> list[str]:
    return list(map(number, attrs.astuple(sums)))


def _write_csv(result: _Result) -> None:
    write = csv_rows(Unbuffered(sys.stdout))
    names = [field.name for field in attrs.fields(Sums)]
    write([_NAMES[result.by], *names, "complete"])
    for key, sums in result.rows:
        write([key, *attrs.astuple(sums), "true" if result.is_complete(key) else "false"])


def _write_json(result: _Result) -> None:
    name = camel(_NAMES[result.by])
    facts = {
        "complete": not result.failed,
        "failed": list(result.failed),
        "groups": [{name: key} | _json_sums(sums) for key, sums in result.rows],
        "total": _json_sums(result.total),
    }
    ascii_only = not is_utf(sys.stdout)
    Unbuffered(sys.stdout).write(json_line(facts, ascii_only=ascii_only))


def _json_sums(sums: Sums) -> dict[str, int]:
    return {camel(name): value for name, value in attrs.asdict(sums).items()}
