"""Sums by group, in the three forms in which they are written.

Sums that lack jobs say so in each form: the table by a line at its end, CSV by the column
`complete`, JSON by `complete` and `failed`.
"""

import sys
from collections.abc import Collection
from enum import StrEnum

import attrs
from rich.cells import cell_len

from plangrep_async.billing import Sums
from plangrep_async.cli.output import Unbuffered, is_utf, shown
from plangrep_async.cli.table import fit, number
from plangrep_async.cli.terminal import make_console
from plangrep_async.converter import camel
from plangrep_async.errors import InvalidResponse, printable
from plangrep_async.export._text import csv_rows, json_line


class By(StrEnum):
    """What sums are told apart by."""

    PROJECT = "project"
    STATUS = "status"
    MONTH = "month"
    EXTERNAL_ID = "external-id"


class Form(StrEnum):
    """How sums are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


_NAMES = {  # of the columns, as the fields of a job have them
    By.PROJECT: "project_id",
    By.STATUS: "status",
    By.MONTH: "month",
    By.EXTERNAL_ID: "external_id",
}
_HEAD = ("jobs", "pages", "successful", "credits")
_NO_KEY = "(none)"
_GAP = "  "
_LEAST_LABEL = 8
_MOST_BITS = 14_000  # of a number: Python writes no more than 4,300 digits


@attrs.frozen(kw_only=True)
class GroupedSums:
    """All that is to be written."""

    by: By
    rows: list[tuple[str | None, Sums]]
    total: Sums
    failed: Collection[str]
    """The projects whose jobs are missing, or some of them."""
    projects: int
    """How many projects were asked for."""

    def is_complete(self, key: str | None) -> bool:
        """Whether no job of a group can be missing."""
        return key not in self.failed if self.by is By.PROJECT else not self.failed


def write(sums: GroupedSums, form: Form) -> None:
    """Write the sums to standard output; raises `InvalidResponse` for what no form can hold."""
    groups = (sums.total, *(group for _, group in sums.rows))
    if form is not Form.TABLE and any(
        value.bit_length() > _MOST_BITS for group in groups for value in attrs.astuple(group)
    ):
        raise InvalidResponse("the sums have numbers of thousands of digits")
    {Form.TABLE: _write_table, Form.CSV: _write_csv, Form.JSON: _write_json}[form](sums)


def _write_table(sums: GroupedSums) -> None:
    labels = [sums.by.value]
    labels += [_NO_KEY if key is None else printable(key) for key, _ in sums.rows]
    labels.append("total")
    lines = [_HEAD, *(_numbers(group) for _, group in sums.rows), _numbers(sums.total)]
    rights = ["".join(_GAP + cell for cell in cells) for cells in _aligned(lines)]
    width = max(map(cell_len, labels))
    console = make_console(sys.stdout)
    if console.is_terminal:
        width = min(width, max(_LEAST_LABEL, console.width - 1 - len(rights[0])))
    for label, right in zip(labels, rights, strict=True):
        sys.stdout.write(f"{_label(label, width, sums.by)}{right}\n")
    if sums.failed:
        failed = f"{number(len(sums.failed))} of {number(sums.projects)} projects failed"
        sys.stdout.write(f"\nINCOMPLETE: {failed}, and some or all of their jobs are missing\n")


def _numbers(sums: Sums) -> tuple[str, ...]:
    return tuple(map(number, attrs.astuple(sums)))


def _aligned(lines: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    columns = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    return [tuple(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)) for cells in lines]


def _label(text: str, width: int, by: By) -> str:
    """Cut a label where there is no room: a project's id at its beginning, for ids differ later."""
    if by is By.PROJECT and len(text) > width:
        return "…" + text[1 - width :]
    return fit(text, width)


def _write_csv(sums: GroupedSums) -> None:
    write_row = csv_rows(shown(Unbuffered(sys.stdout)))
    names = [field.name for field in attrs.fields(Sums)]
    write_row([_NAMES[sums.by], *names, "complete"])
    for key, group in sums.rows:
        write_row([key, *attrs.astuple(group), "true" if sums.is_complete(key) else "false"])


def _write_json(sums: GroupedSums) -> None:
    name = camel(_NAMES[sums.by])
    facts = {
        "complete": not sums.failed,
        "failed": list(sums.failed),
        "groups": [{name: key} | _json_sums(group) for key, group in sums.rows],
        "total": _json_sums(sums.total),
    }
    Unbuffered(sys.stdout).write(json_line(facts, ascii_only=not is_utf(sys.stdout)))


def _json_sums(sums: Sums) -> dict[str, int]:
    return {camel(name): value for name, value in attrs.asdict(sums).items()}
