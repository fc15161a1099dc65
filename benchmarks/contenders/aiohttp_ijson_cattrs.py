"""aiohttp's body as it arrives, ijson's parser in C, and cattrs tuned for speed, job by job.

The one contender beside ours that streams. `use_float` spares it a `Decimal` for each fraction.
"""

from collections.abc import AsyncIterator, Sequence

import aiohttp
import cattrs
from ijson.backends import yajl2_c as ijson  # type: ignore[import-untyped]

from benchmarks._measure import Tally, main
from benchmarks.contenders import HEADERS, gather
from benchmarks.contenders._attrs_models import Job, with_hooks

converter = with_hooks(cattrs.Converter(detailed_validation=False))


async def stream(base_url: str, project_id: str, tally: Tally) -> None:
    """Add up one project's jobs."""
    await bulk(base_url, [project_id], tally)


async def bulk(base_url: str, project_ids: Sequence[str], tally: Tally) -> None:
    """Add up the jobs of many projects."""
    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as session:

        async def read(project_id: str) -> None:
            async with session.get(f"{base_url}/projects/{project_id}/jobs") as response:
                await tally.add_stream(_jobs(response.content))

        await gather(read, project_ids)


async def _jobs(content: aiohttp.StreamReader) -> AsyncIterator[Job]:
    async for item in ijson.items_async(content, "jobs.item", use_float=True):
        yield converter.structure(item, Job)


if __name__ == "__main__":
    main(stream, bulk)
