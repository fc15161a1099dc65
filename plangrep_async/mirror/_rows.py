"""A job as a row of the table."""

import json
from datetime import UTC, datetime

from plangrep_async.converter import make_converter
from plangrep_async.models import Job, JobError, JobFile

_converter = make_converter()
_files = _converter.get_unstructure_hook(tuple[JobFile, ...])
_error = _converter.get_unstructure_hook(JobError)
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Row = tuple[str | int | None, ...]


def row_of(job: Job, *, with_result_url: bool) -> Row:
    """Turn a job into the values of `COLUMNS`; the `resultUrl`, a secret, only on demand."""
    return (
        job.project_id,
        job.id,
        job.external_id,
        job.status.value,
        int(job.status.is_terminal),
        job.limits.max_declared_bytes,
        job.limits.max_files,
        job.page_count,
        job.successful_page_count,
        job.billing.credits_debited,
        _json(_files(job.files)),
        job.result_url if with_result_url else None,
        None if job.error is None else _json(_error(job.error)),
        to_text(job.created_at),
        to_text(job.updated_at),
        None if job.completed_at is None else to_text(job.completed_at),
        None if job.expires_at is None else to_text(job.expires_at),
    )


def size_of(row: Row) -> int:
    """Count the characters of a row."""
    return sum(len(value) for value in row if isinstance(value, str))


def to_text(moment: datetime) -> str:
    """Write a time in the one width of the database."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"
