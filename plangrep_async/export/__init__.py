"""Jobs for other programs: NDJSON, CSV and Parquet files, and Arrow batches.

    with atomic_file("jobs.csv") as file, CsvWriter(file) as writer:
        async for job in client.list_jobs(project_id):
            writer.write(job)

Each writer takes any file for bytes, and one job at a time, in memory that does not grow with the
jobs. `atomic_file` is there as a whole or not at all. Parquet and Arrow need the extra `parquet`;
importing this package does not load pyarrow.
"""

from plangrep_async.export._arrow import job_batch, job_schema
from plangrep_async.export._file import atomic_file
from plangrep_async.export._parquet import ParquetWriter
from plangrep_async.export._text import CSV_COLUMNS, CsvWriter, JobWriter, NdjsonWriter

__all__ = [
    "CSV_COLUMNS",
    "CsvWriter",
    "JobWriter",
    "NdjsonWriter",
    "ParquetWriter",
    "atomic_file",
    "job_batch",
    "job_schema",
]
