"""httpx with its defaults, and pydantic's `model_validate_json` on the whole body."""

# ruff: noqa: D101 - the models are the API's, field by field
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel

from benchmarks._measure import Tally, main
from benchmarks.contenders import HEADERS, gather
from benchmarks.contenders._status import JobStatus


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class JobLimits(_Model):
    max_declared_bytes: int
    max_files: int


class JobBilling(_Model):
    credits_debited: int


class JobFile(_Model):
    id: str
    file_name: str
    status: str


class Job(_Model):
    id: str
    external_id: str | None
    status: JobStatus
    project_id: str
    limits: JobLimits
    page_count: int
    successful_page_count: int
    billing: JobBilling
    files: list[JobFile]
    result_url: str | None
    error: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    expires_at: datetime | None


class JobList(_Model):
    jobs: list[Job]


structure = TypeAdapter(list[Job]).validate_json


async def stream(base_url: str, project_id: str, tally: Tally) -> None:
    """Add up one project's jobs."""
    await bulk(base_url, [project_id], tally)


async def bulk(base_url: str, project_ids: Sequence[str], tally: Tally) -> None:
    """Add up the jobs of many projects."""
    async with httpx.AsyncClient(headers=HEADERS) as client:

        async def read(project_id: str) -> None:
            response = await client.get(f"{base_url}/projects/{project_id}/jobs")
            response.raise_for_status()
            tally.add_all(JobList.model_validate_json(response.content).jobs)

        await gather(read, project_ids)


if __name__ == "__main__":
    main(stream, bulk)
