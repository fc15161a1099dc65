"""The API's documented example of a list of jobs: read field by field, and written back exactly."""

import json
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from plangrep_async._elements import array_decoder
from plangrep_async.converter import make_converter
from plangrep_async.models import Job, JobBilling, JobFile, JobLimits, JobStatus

TEXT = """\
{
  "jobs": [
    {
      "id": "job_01hy3m8qtn2e5r7k9p0w4x1def",
      "externalId": "order-7890",
      "status": "completed",
      "projectId": "proj_01hx9z4kqr8e7m3p5n6w2v0abc",
      "limits": {
        "maxDeclaredBytes": 10000000000,
        "maxFiles": 100
      },
      "pageCount": 204,
      "successfulPageCount": 204,
      "billing": {
        "creditsDebited": 1824
      },
      "files": [
        {
          "id": "file_xyz789",
          "fileName": "architectural_drawings.pdf",
          "status": "completed"
        }
      ],
      "resultUrl": "https://storage.plangrep.com/results/job_01hy3m8qtn2e5r7k9p0w4x1def?token=...",
      "error": null,
      "createdAt": "2024-11-02T09:00:00.000Z",
      "updatedAt": "2024-11-02T09:45:10.000Z",
      "completedAt": "2024-11-02T09:45:10.000Z",
      "expiresAt": "2024-11-09T09:00:00.000Z"
    },
    {
      "id": "job_01hx9z5abc2d3e4f5g6h7i8jkl",
      "externalId": null,
      "status": "cancelled",
      "projectId": "proj_01hx9z4kqr8e7m3p5n6w2v0abc",
      "limits": {
        "maxDeclaredBytes": 10000000000,
        "maxFiles": 100
      },
      "pageCount": 0,
      "successfulPageCount": 0,
      "billing": {
        "creditsDebited": 0
      },
      "files": [],
      "resultUrl": null,
      "error": null,
      "createdAt": "2024-11-01T16:30:00.000Z",
      "updatedAt": "2024-11-01T16:31:05.000Z",
      "completedAt": "2024-11-01T16:31:05.000Z",
      "expiresAt": "2024-11-08T16:30:00.000Z"
    }
  ]
}"""

PROJECT = "proj_01hx9z4kqr8e7m3p5n6w2v0abc"

COMPLETED: dict[str, Any] = {
    "id": "job_01hy3m8qtn2e5r7k9p0w4x1def",
    "external_id": "order-7890",
    "status": JobStatus.COMPLETED,
    "project_id": PROJECT,
    "limits": JobLimits(max_declared_bytes=10_000_000_000, max_files=100),
    "page_count": 204,
    "successful_page_count": 204,
    "billing": JobBilling(credits_debited=1824),
    "files": (
        JobFile(id="file_xyz789", file_name="architectural_drawings.pdf", status="completed"),
    ),
    "result_url": ("https://storage.plangrep.com/results/job_01hy3m8qtn2e5r7k9p0w4x1def?token=..."),
    "error": None,
    "created_at": datetime(2024, 11, 2, 9, 0, 0, tzinfo=UTC),
    "updated_at": datetime(2024, 11, 2, 9, 45, 10, tzinfo=UTC),
    "completed_at": datetime(2024, 11, 2, 9, 45, 10, tzinfo=UTC),
    "expires_at": datetime(2024, 11, 9, 9, 0, 0, tzinfo=UTC),
}

CANCELLED: dict[str, Any] = {
    "id": "job_01hx9z5abc2d3e4f5g6h7i8jkl",
    "external_id": None,
    "status": JobStatus.CANCELLED,
    "project_id": PROJECT,
    "limits": JobLimits(max_declared_bytes=10_000_000_000, max_files=100),
    "page_count": 0,
    "successful_page_count": 0,
    "billing": JobBilling(credits_debited=0),
    "files": (),
    "result_url": None,
    "error": None,
    "created_at": datetime(2024, 11, 1, 16, 30, 0, tzinfo=UTC),
    "updated_at": datetime(2024, 11, 1, 16, 31, 5, tzinfo=UTC),
    "completed_at": datetime(2024, 11, 1, 16, 31, 5, tzinfo=UTC),
    "expires_at": datetime(2024, 11, 8, 16, 30, 0, tzinfo=UTC),
}

ARRAY = TEXT[TEXT.index("[") : TEXT.rindex("]") + 1]


def by_converter() -> list[Job]:
    converter = make_converter()
    return [converter.structure(job, Job) for job in json.loads(TEXT)["jobs"]]


def by_decoder(array: str = ARRAY) -> list[Any]:
    return [job for batch in array_decoder(make_converter(), Job)(array.encode()) for job in batch]


@pytest.mark.parametrize("read", [by_converter, by_decoder])
@pytest.mark.parametrize(("place", "expected"), [(0, COMPLETED), (1, CANCELLED)])
def test_every_field(read: Any, place: int, expected: dict[str, Any]) -> None:
    """Each field of both jobs has the documented value, on both ways from JSON to jobs."""
    job = read()[place]
    assert {field.name: getattr(job, field.name) for field in attrs.fields(Job)} == expected


@pytest.mark.parametrize("read", [by_converter, by_decoder])
def test_types_of_fields(read: Any) -> None:
    """Statuses are `JobStatus`, files a tuple and timestamps in UTC, not only equal to them."""
    for job in read():
        assert type(job.status) is JobStatus
        assert type(job.files) is tuple
        moments = (job.created_at, job.updated_at, job.completed_at, job.expires_at)
        assert [moment.tzinfo for moment in moments] == [UTC] * 4


def test_two_jobs() -> None:
    """The example holds two jobs, newest first."""
    first, second = by_converter()
    assert first.created_at > second.created_at


def test_both_ways_agree() -> None:
    """The converter and the decoder of arrays make equal jobs, pretty-printed or compact."""
    compact = json.dumps(json.loads(ARRAY), separators=(",", ":"))
    assert by_converter() == by_decoder() == by_decoder(compact)


@pytest.mark.parametrize("read", [by_converter, by_decoder])
def test_round_trip(read: Any) -> None:
    """Jobs that are read and written give the document again, to the character."""
    converter = make_converter()
    document = {"jobs": [converter.unstructure(job) for job in read()]}
    assert document == json.loads(TEXT)
    assert json.dumps(document, indent=2) == TEXT


def test_unstructured_list() -> None:
    """A list of jobs unstructures as a whole into the documented array."""
    assert make_converter().unstructure(by_converter()) == json.loads(ARRAY)
