"""The limit: the whole body in memory, decoded in C straight into structs.

Nothing is streamed, a job is no attrs object, and `gc=False` spares the garbage collector every one
of them (with it, collections take half of the decoding): what is left when only speed counts.
"""

# ruff: noqa: D101 - the models are the API's, field by field
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import aiohttp
import msgspec

from benchmarks._measure import Tally, main
from benchmarks.contenders import HEADERS, gather
from benchmarks.contenders._status import JobStatus


class JobLimits(msgspec.Struct, rename="camel", gc=False):
    max_declared_bytes: int
    max_files: int


class JobBilling(msgspec.Struct, rename="camel", gc=False):
    credits_debited: int


class JobFile(msgspec.Struct, rename="camel", gc=False):
    id: str
    file_name: str
    status: str


class Job(msgspec.Struct, rename="camel", gc=False):
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


class JobList(msgspec.Struct, gc=False):
    jobs: list[Job]


decoder = msgspec.json.Decoder(JobList)
structure = msgspec.json.Decoder(list[Job]).decode


async def stream(base_url: str, project_id: str, tally: Tally) -> None:
    """Add up one project's jobs."""
    await bulk(base_url, [project_id], tally)


async def bulk(base_url: str, project_ids: Sequence[str], tally: Tally) -> None:
    """Add up the jobs of many projects."""
    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as session:

        async def read(project_id: str) -> None:
            async with session.get(f"{base_url}/projects/{project_id}/jobs") as response:
                body = await response.read()
            tally.add_all(decoder.decode(body).jobs)

        await gather(read, project_ids)


if __name__ == "__main__":
    main(stream, bulk)
