"""Jobs as lines of text: JSON for programs, CSV for spreadsheets."""

import codecs
import csv
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

from plangrep_async.converter import make_converter
from plangrep_async.models import Job

# What JSON allows inside a string and a terminal, or a reader of lines, may take for a command.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029]")

# Made once: `json.dumps` would make one for each job.
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_ASCII = json.JSONEncoder(separators=(",", ":"))

# How a cell begins that a spreadsheet takes for a formula (OWASP, "CSV Injection"), or that looks
# as if it had been marked as none.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠'")  # noqa: RUF001  # Excel knows the wide ones, too


class ByteSink(Protocol):
    """What writers ask of a file."""

    def write(self, data: bytes, /) -> object:
        """Write all of the bytes."""


class JobWriter(ABC):
    """Writes jobs one by one to a file for bytes, which stays open; the base of all writers.

    Memory does not grow with the jobs. It is a context manager that calls `close` where the block
    ends without an exception: what is cut short is not made to look complete. Methods raise what
    the file raises.
    """

    @abstractmethod
    def write(self, job: Job) -> None:
        """Write one job, now or together with later ones."""

    @abstractmethod
    def close(self) -> None:
        """Write what is missing; to be called once, after the last job."""

    def abandon(self) -> None:  # noqa: B027  # most writers have nothing to do for it
        """Write nothing more: the file is not going to be complete."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None:
            self.close()
        else:
            self.abandon()


class NdjsonWriter(JobWriter):
    """Writes a JSON object a line, in UTF-8, with the names that the API has.

    Each job is one write of one line. `resultUrl`, which carries a token, is left out if it is not
    asked for. With `ascii_only` all other characters are escaped.
    """

    def __init__(
        self, file: ByteSink, *, with_result_url: bool = False, ascii_only: bool = False
    ) -> None:
        self._file = file
        self._unstructure = make_converter().get_unstructure_hook(Job)
        self._with_result_url = with_result_url
        self._ascii_only = ascii_only

    def write(self, job: Job) -> None:
        """Write the line of one job."""
        facts = self._unstructure(job)
        if not self._with_result_url:
            del facts["resultUrl"]
        self._file.write(json_line(facts, ascii_only=self._ascii_only))

    def close(self) -> None:
        """Write nothing: all lines are jobs."""


def json_line(facts: Any, *, ascii_only: bool = False) -> bytes:
    """Write a value as one line of JSON, without characters that could break the line."""
    text = (_ASCII if ascii_only else _JSON).encode(facts)
    return (_UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n").encode()


class CsvWriter(JobWriter):
    """Writes a table for spreadsheets: RFC 4180, in UTF-8 with a byte order mark, times with Z.

    The columns are those of `CSV_COLUMNS`, and `result_url`, which carries a token, if it is asked
    for. An empty cell is an empty text, or none. A text that a spreadsheet would take for a formula
    has an apostrophe before it, and so has one that begins with an apostrophe: who takes one away
    has the text as it was. Numbers are left alone.
    """

    def __init__(self, file: ByteSink, *, with_result_url: bool = False) -> None:
        columns = _COLUMNS | (_SECRET if with_result_url else {})
        self._values = tuple(columns.values())
        self._rows = csv_rows(file)
        self._rows(columns)

    def write(self, job: Job) -> None:
        """Write the row of one job."""
        self._rows([value(job) for value in self._values])

    def close(self) -> None:
        """Write nothing: all rows but the first one are jobs."""


def csv_rows(file: ByteSink) -> Callable[[Any], object]:
    """Begin a CSV file; gives a function that writes a row of texts, numbers, times and None."""
    file.write(codecs.BOM_UTF8)  # without it Excel takes the text for one in a local encoding
    write = csv.writer(_Encoded(file), lineterminator="\r\n").writerow
    return lambda values: write(map(_cell, values))


class _Encoded:
    def __init__(self, file: ByteSink) -> None:
        self._file = file

    def write(self, text: str) -> None:
        self._file.write(text.encode())


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return _time(value) if isinstance(value, datetime) else value


_time = make_converter().get_unstructure_hook(datetime)

_COLUMNS: dict[str, Callable[[Job], Any]] = {
    "project_id": lambda job: job.project_id,
    "id": lambda job: job.id,
    "external_id": lambda job: job.external_id,
    "status": lambda job: str(job.status),
    "created_at": lambda job: job.created_at,
    "updated_at": lambda job: job.updated_at,
    "completed_at": lambda job: job.completed_at,
    "expires_at": lambda job: job.expires_at,
    "page_count": lambda job: job.page_count,
    "successful_page_count": lambda job: job.successful_page_count,
    "credits_debited": lambda job: job.billing.credits_debited,
    "file_count": lambda job: len(job.files),
    "file_names": lambda job: "; ".join(file.file_name for file in job.files),
    "max_declared_bytes": lambda job: job.limits.max_declared_bytes,
    "max_files": lambda job: job.limits.max_files,
    "error_code": lambda job: job.error and job.error.code,
    "error_message": lambda job: job.error and job.error.message,
}
_SECRET = {"result_url": lambda job: job.result_url}

CSV_COLUMNS = tuple(_COLUMNS)
"""The columns of a CSV file of jobs. The names of the files are joined by `; `, for people."""
