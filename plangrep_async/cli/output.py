"""Where jobs go, and in which form: a table with totals, or what other programs read."""

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from plangrep_async.cli.table import JobTable
from plangrep_async.cli.terminal import make_console
from plangrep_async.cli.totals import Totals
from plangrep_async.cli.usage import UsageError
from plangrep_async.errors import PlangrepError, printable
from plangrep_async.export import CsvWriter, JobWriter, NdjsonWriter, ParquetWriter, atomic_file
from plangrep_async.export._file import is_replaceable
from plangrep_async.export._text import ByteSink
from plangrep_async.models import Job


class Format(StrEnum):
    """The forms in which jobs can be written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


_ENDINGS = {
    ".json": Format.JSON,
    ".jsonl": Format.JSON,
    ".ndjson": Format.JSON,
    ".csv": Format.CSV,
    ".parquet": Format.PARQUET,
    ".txt": Format.TABLE,
    "": Format.TABLE,
}


def format_of(path: Path | None) -> Format:
    """Tell the form from the ending of the file's name; it is a table where there is none."""
    ending = "" if path is None else path.suffix.lower()
    if ending not in _ENDINGS:
        known = ", ".join(filter(None, _ENDINGS))
        raise UsageError(f"{printable(ending)} is no ending of {known}: say the form by --format.")
    return _ENDINGS[ending]


_CONTROLS = re.compile(r"(?!\r?\n)[\x00-\x1f\x7f-\x9f]")


class Output:
    """Standard output, or a file that is there as a whole or not at all."""

    def __init__(
        self, form: Format, path: Path | None, *, has_projects: bool, with_result_url: bool
    ) -> None:
        if form is Format.PARQUET and path is None:
            raise UsageError("Parquet is no text: say with -o FILE where it goes.")
        self._form = form
        self._path = path
        self._has_projects = has_projects
        self._with_result_url = with_result_url

    @property
    def is_seen(self) -> bool:
        """Whether what is written can be seen before the end, perhaps on this very terminal."""
        return self._path is None or not is_replaceable(self._path)

    @contextmanager
    def open(self) -> Iterator[JobWriter]:
        """Give what writes the jobs; a file is in its place once the block has ended."""
        if self._path is None:
            with self._writer(Unbuffered(sys.stdout), sys.stdout) as writer:
                yield writer
            return
        with atomic_file(self._path) as file:
            if self._form is Format.PARQUET and file.isatty():
                raise UsageError("Parquet is no text: it cannot go to a terminal.")
            with self._writer(file, None) as writer:
                yield writer

    def must_be_complete(self, *, failed: int, projects: int) -> None:
        """Raise `PlangrepError`, which keeps a file from its place, where projects have failed."""
        if failed and not self.is_seen:
            raise PlangrepError(
                f"{printable(str(self._path))} was not written, because it would not be complete: "
                f"{failed:,} of {projects:,} projects failed"
            )

    def _writer(self, file: "Unbuffered | BinaryIO", text: TextIO | None) -> JobWriter:
        secret = {"with_result_url": self._with_result_url}
        if self._form is Format.PARQUET:
            return ParquetWriter(file, **secret)
        if self._form is Format.CSV:
            return CsvWriter(shown(file), **secret)
        if self._form is Format.JSON:
            return NdjsonWriter(file, ascii_only=text is not None and not is_utf(text), **secret)
        text = text or io.TextIOWrapper(cast("BinaryIO", file), "utf-8", "backslashreplace")
        return TableWriter(text, has_projects=self._has_projects)


class TableWriter(JobWriter):
    """A line per job, and the sums. With many projects each line says whose job it is."""

    def __init__(self, stream: TextIO, *, has_projects: bool) -> None:
        self._stream = stream
        self._table = JobTable(make_console(stream), has_projects=has_projects)
        self._totals = Totals()

    def write(self, job: Job) -> None:
        """Write the line of one job, the names of the columns before the first one."""
        if not self._totals.all.jobs:
            self._table.write_header()
        self._table.write(job)
        self._totals.add(job)

    def close(self) -> None:
        """Write the sums."""
        if self._totals.all.jobs:
            self._stream.write("\n")
        self._stream.writelines(f"{line}\n" for line in self._totals.lines())
        self._stream.flush()


class Unbuffered:
    """The bytes of a text stream, each write of which goes out at once."""

    def __init__(self, stream: TextIO) -> None:
        stream.flush()
        self._file = stream.buffer

    def write(self, data: Any) -> int:
        """Write bytes."""
        count = self._file.write(data)
        self._file.flush()
        return count

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._file.isatty()


class _Shown:
    """A terminal for UTF-8 with its controls escaped, but the ends of lines."""

    def __init__(self, file: ByteSink) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        text = _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", data.decode())
        self._file.write(text.encode())


def shown(file: Unbuffered | BinaryIO) -> ByteSink:
    """Keep what may be a terminal from taking texts of a server for commands.

    CSV has no escapes for them, and other programs get them as they are.
    """
    return _Shown(file) if file.isatty() else file


def is_utf(stream: TextIO) -> bool:
    """Whether a stream takes all characters."""
    # Python's own escapes for what an encoding lacks, such as \xe9, would be no JSON.
    return (stream.encoding or "").lower().startswith("utf")
