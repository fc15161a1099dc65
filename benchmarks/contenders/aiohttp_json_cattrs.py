"""aiohttp's `response.json()`, then cattrs with its default settings and the usual hooks."""

import json
from collections.abc import Sequence

import aiohttp
import cattrs

from benchmarks._measure import Tally, main
from benchmarks.contenders import HEADERS, gather
from benchmarks.contenders._attrs_models import Job, with_hooks

converter = with_hooks(cattrs.Converter())


def structure(array: bytes) -> list[Job]:
    """Make jobs of a JSON array."""
    return converter.structure(json.loads(array), list[Job])


async def stream(base_url: str, project_id: str, tally: Tally) -> None:
    """Add up one project's jobs."""
    await bulk(base_url, [project_id], tally)


async def bulk(base_url: str, project_ids: Sequence[str], tally: Tally) -> None:
    """Add up the jobs of many projects."""
    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as session:

        async def read(project_id: str) -> None:
            async with session.get(f"{base_url}/projects/{project_id}/jobs") as response:
                document = await response.json()
            tally.add_all(converter.structure(document["jobs"], list[Job]))

        await gather(read, project_ids)


if __name__ == "__main__":
    main(stream, bulk)
