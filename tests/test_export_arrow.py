"""Jobs as Arrow batches: the schema, the values, and what cannot be one."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plangrep_async import (
    ConfigurationError,
    InvalidResponse,
    Job,
    JobBilling,
    JobError,
    JobFile,
    JobLimits,
)
from plangrep_async.converter import make_converter
from plangrep_async.export import job_batch, job_schema
from plangrep_async.models import JobStatus
from tests.conftest import TOKEN, wire_job

CONVERTER = make_converter()

# Without lone surrogates: the converter lets none through.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
COUNTS = st.integers(-(2**63), 2**63 - 1)
TIMES = st.datetimes(timezones=st.just(UTC))
JSON = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner | st.none()) | st.dictionaries(TEXTS, inner | st.none()),
    max_leaves=4,
)
JOBS = st.builds(
    Job,
    id=TEXTS,
    external_id=st.none() | TEXTS,
    status=st.sampled_from(JobStatus) | TEXTS.map(JobStatus),
    project_id=TEXTS,
    limits=st.builds(JobLimits, max_declared_bytes=COUNTS, max_files=COUNTS),
    page_count=COUNTS,
    successful_page_count=COUNTS,
    billing=st.builds(JobBilling, credits_debited=COUNTS),
    files=st.lists(st.builds(JobFile, id=TEXTS, file_name=TEXTS, status=TEXTS), max_size=3).map(
        tuple
    ),
    result_url=st.none() | TEXTS,
    error=st.none()
    | st.builds(JobError, code=st.none() | TEXTS, message=st.none() | TEXTS, raw=JSON),
    created_at=TIMES,
    updated_at=TIMES,
    completed_at=st.none() | TIMES,
    expires_at=st.none() | TIMES,
)


def make_job(number: int = 1, **changes: Any) -> Job:
    return CONVERTER.structure(wire_job(number, **changes), Job)


def job_of(row: dict[str, Any]) -> Job:
    """Make the job of a row that was read back."""
    error = row["error"]
    if error is not None:
        raw = None if error["raw"] is None else json.loads(error["raw"])
        error = JobError(**{**error, "raw": raw})
    return Job(
        **{
            **row,
            "status": JobStatus(row["status"]),
            "limits": JobLimits(**row["limits"]),
            "billing": JobBilling(**row["billing"]),
            "files": tuple(JobFile(**file) for file in row["files"]),
            "error": error,
        }
    )


def test_the_schema_is_that_of_the_models() -> None:
    """Fields keep their names, order and nullability; nested ones are structs; times are in UTC."""
    moment = pa.timestamp("us", tz="UTC")
    file = pa.struct([pa.field(name, pa.string(), False) for name in ("id", "file_name", "status")])
    limits = [pa.field(name, pa.int64(), False) for name in ("max_declared_bytes", "max_files")]
    error = pa.struct([(name, pa.string()) for name in ("code", "message", "raw")])
    assert job_schema() == pa.schema(
        [
            pa.field("id", pa.string(), False),
            pa.field("external_id", pa.string()),
            pa.field("status", pa.string(), False),
            pa.field("project_id", pa.string(), False),
            pa.field("limits", pa.struct(limits), False),
            pa.field("page_count", pa.int64(), False),
            pa.field("successful_page_count", pa.int64(), False),
            pa.field("billing", pa.struct([pa.field("credits_debited", pa.int64(), False)]), False),
            pa.field("files", pa.list_(pa.field("element", file, False)), False),
            pa.field("error", error),
            pa.field("created_at", moment, False),
            pa.field("updated_at", moment, False),
            pa.field("completed_at", moment),
            pa.field("expires_at", moment),
        ]
    )


def test_the_secret_column_comes_on_demand_only() -> None:
    """`result_url` is in a batch, between the columns the models put it, if it is asked for."""
    without = job_batch([make_job()])
    assert TOKEN not in str(without.to_pylist())
    asked = job_batch([make_job()], with_result_url=True)
    assert asked.schema == job_schema(with_result_url=True)
    assert TOKEN in asked.to_pylist()[0]["result_url"]
    assert asked.schema.names == [field.name for field in attrs.fields(Job)]
    assert asked.schema.names == [
        *without.schema.names[:9], "result_url", *without.schema.names[9:]
    ]  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(JOBS, max_size=4))
def test_jobs_come_back_from_a_batch_as_they_were(jobs: list[Job]) -> None:
    """Any jobs, in a batch of exactly the schema and back, are equal: texts, counts, times."""
    batch = job_batch(jobs, with_result_url=True)
    batch.validate(full=True)
    assert batch.schema == job_schema(with_result_url=True)
    assert [job_of(row) for row in batch.to_pylist()] == jobs


def test_a_batch_takes_any_iterable() -> None:
    """A generator of jobs is read once, and no jobs at all are a batch of no rows."""
    batch = job_batch(make_job(number) for number in range(3))
    assert batch.column("page_count").to_pylist() == [0, 1, 2]
    nothing = job_batch(())
    assert (nothing.num_rows, nothing.schema) == (0, job_schema())


def test_times_are_exact_in_utc() -> None:
    """Microseconds survive, and a time of another zone, from a hook of one's own, is converted."""
    exact = datetime(2024, 11, 2, 9, 0, 0, 123456, UTC)
    elsewhere = exact.astimezone(timezone(timedelta(hours=-3, minutes=-30)))
    jobs = [attrs.evolve(make_job(), created_at=moment) for moment in (exact, elsewhere)]
    assert job_batch(jobs).column("created_at").to_pylist() == [exact, exact]


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"pageCount": 2**63}, "page_count"),
        ({"billing": {"creditsDebited": 10**30}}, "billing"),
    ],
)
def test_a_count_beyond_64_bits_is_refused(changes: dict[str, Any], column: str) -> None:
    """Nothing is rounded: the error names the column and the job."""
    with pytest.raises(InvalidResponse, match=f"{column} of job job_000002"):
        job_batch([make_job(), make_job(2, **changes)])


def test_pyarrow_is_imported_when_it_is_used() -> None:
    """Importing the module loads no pyarrow; without it, an error says what to install."""
    program = (
        "import sys, plangrep_async.export as export\n"
        "assert 'pyarrow' not in sys.modules\n"
        "sys.modules['pyarrow'] = None\n"
        "try:\n    export.job_schema()\n"
        f"except export._arrow.{ConfigurationError.__name__} as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert "pip install 'plangrep-async[parquet]'" in done.stdout.decode()
