"""The models of the contenders with a generated SDK, written as its generator writes them.

The SDK is the `openai` package: its `get` with a `cast_to` of one's own is what its own resources
call, and what its documentation offers for endpoints that it does not know. It builds models
without validating them, in Python, field by field.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from openai import AsyncOpenAI, BaseModel
from pydantic import Field

from benchmarks._measure import Tally
from benchmarks.contenders import API_KEY, gather


class JobLimits(BaseModel):
    max_declared_bytes: int = Field(alias="maxDeclaredBytes")
    max_files: int = Field(alias="maxFiles")


class JobBilling(BaseModel):
    credits_debited: int = Field(alias="creditsDebited")


class JobFile(BaseModel):
    id: str
    file_name: str = Field(alias="fileName")
    status: str


class Job(BaseModel):
    id: str
    status: Literal[
        "provisioning",
        "awaiting_uploads",
        "uploading",
        "preflighting",
        "blocked_insufficient_credits",
        "processing",
        "completed",
        "completed_with_errors",
        "failed",
        "cancelled",
        "expired",
    ]
    project_id: str = Field(alias="projectId")
    limits: JobLimits
    page_count: int = Field(alias="pageCount")
    successful_page_count: int = Field(alias="successfulPageCount")
    billing: JobBilling
    files: list[JobFile]
    created_at: datetime = Field(alias="createdAt")
    updated_at: datetime = Field(alias="updatedAt")
    external_id: str | None = Field(alias="externalId", default=None)
    result_url: str | None = Field(alias="resultUrl", default=None)
    error: dict[str, Any] | None = None
    completed_at: datetime | None = Field(alias="completedAt", default=None)
    expires_at: datetime | None = Field(alias="expiresAt", default=None)


class JobList(BaseModel):
    jobs: list[Job]


async def read_all(client: AsyncOpenAI, project_ids: Sequence[str], tally: Tally) -> None:
    """Add up the jobs of the projects, and close the client."""
    async with client:

        async def read(project_id: str) -> None:
            document = await client.get(f"/projects/{project_id}/jobs", cast_to=JobList)
            tally.add_all(document.jobs)

        await gather(read, project_ids)


def options(base_url: str) -> dict[str, Any]:
    """Return what both transports are given."""
    return {"base_url": base_url, "api_key": API_KEY, "max_retries": 0}
