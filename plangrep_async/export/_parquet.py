"""Jobs as a Parquet file, in row groups of bounded size."""

from typing import Any

from plangrep_async.export._arrow import import_pyarrow, job_batch, job_schema
from plangrep_async.export._text import ByteSink, JobWriter
from plangrep_async.models import Job

ROW_GROUP_BYTES = 8 * 1024 * 1024
"""How much Arrow data, before encoding and compression, makes a row group."""

_BATCH_SIZE = 4_096  # jobs and files that are held as objects


class ParquetWriter(JobWriter):
    """Writes a Parquet file of `job_schema()`, compressed with zstd, whole with `close` only.

    Jobs are collected as Arrow data, and written as a row group of about 8 MiB of it: some 30,000
    jobs of one file each. An event loop waits for as long as that takes, a tenth of a second or
    more, and for the import of pyarrow by the first of these: where others use the loop, leave both
    to a thread (`asyncio.to_thread`). Raises `ConfigurationError` where pyarrow is not installed,
    and `InvalidResponse` for a count of more than 64 bits.
    """

    def __init__(self, file: ByteSink, *, with_result_url: bool = False) -> None:
        self._pyarrow = import_pyarrow()
        from pyarrow.parquet import ParquetWriter as Writer  # noqa: PLC0415  # comes with an extra

        self._with_result_url = with_result_url
        self._sink = _Sink(file)
        schema = job_schema(with_result_url=with_result_url)
        self._writer = Writer(self._sink, schema, compression="zstd")
        self._jobs: list[Job] = []
        self._size = 0  # of the jobs
        self._batches: list[Any] = []
        self._bytes = 0  # of the batches

    def write(self, job: Job) -> None:
        """Take one job, and write a row group where there is enough for one."""
        self._jobs.append(job)
        self._size += 1 + len(job.files)
        if self._size >= _BATCH_SIZE:
            self._collect()
            if self._bytes >= ROW_GROUP_BYTES:
                self._write_row_group()

    def close(self) -> None:
        """Write the last row group and what makes the file readable."""
        try:
            self._collect()
            if self._bytes:
                self._write_row_group()
            self._writer.close()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Write nothing more, as pyarrow would on its own to make the file look complete."""
        self._sink.is_open = False

    def _collect(self) -> None:
        batch = job_batch(self._jobs, with_result_url=self._with_result_url)
        self._jobs.clear()
        self._size = 0
        self._batches.append(batch)
        self._bytes += batch.nbytes

    def _write_row_group(self) -> None:
        table = self._pyarrow.Table.from_batches(self._batches)
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._batches.clear()
        self._bytes = 0


class _Sink:
    """A file as pyarrow wants it; what comes after its end goes nowhere."""

    closed = False  # asked for by pyarrow, which would close the file, too

    def __init__(self, file: ByteSink) -> None:
        self._file = file
        self.is_open = True

    def write(self, data: bytes) -> int:
        if self.is_open:
            self._file.write(data)
        return len(data)
