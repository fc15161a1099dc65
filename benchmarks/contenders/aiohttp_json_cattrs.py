"""aiohttp's `response.json()`, then cattrs with its default settings and the usual hooks."""

# ruff: noqa: D101 - the models are the API's, field by field
import asyncio
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import aiohttp
import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from benchmarks._measure import Tally, main
from benchmarks.contenders import IN_FLIGHT


class JobStatus(StrEnum):
    PROVISIONING = "provisioning"
    AWAITING_UPLOADS = "awaiting_uploads"
    UPLOADING = "uploading"
    PREFLIGHTING = "preflighting"
    BLOCKED_INSUFFICIENT_CREDITS = "blocked_insufficient_credits"
    PROCESSING = "processing"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@attrs.frozen
class JobLimits:
    max_declared_bytes: int
    max_files: int


@attrs.frozen
class JobBilling:
    credits_debited: int


@attrs.frozen
class JobFile:
    id: str
    file_name: str
    status: str


@attrs.frozen
class Job:
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


def make_converter() -> cattrs.Converter:
    """Return a converter for the API's camelCase and its timestamps."""
    converter = cattrs.Converter()
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    for model in (JobLimits, JobBilling, JobFile, Job):  # a hook finds those it needs when made
        names = {field.name: override(rename=_camel(field.name)) for field in attrs.fields(model)}
        hook = make_dict_structure_fn(model, converter, **names)  # type: ignore[arg-type]
        converter.register_structure_hook(model, hook)
    return converter


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


converter = make_converter()


async def stream(base_url: str, project_id: str, tally: Tally) -> None:
    """Add up one project's jobs."""
    await bulk(base_url, [project_id], tally)


async def bulk(base_url: str, project_ids: Sequence[str], tally: Tally) -> None:
    """Add up the jobs of many projects."""
    headers = {"Authorization": "Bearer pgk_bench", "Accept": "application/json"}
    free = asyncio.Semaphore(IN_FLIGHT)
    async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as session:

        async def read(project_id: str) -> None:
            async with free:
                async with session.get(f"{base_url}/projects/{project_id}/jobs") as response:
                    document = await response.json()
                tally.add_all(converter.structure(document["jobs"], list[Job]))

        await asyncio.gather(*map(read, project_ids))


if __name__ == "__main__":
    main(stream, bulk)
