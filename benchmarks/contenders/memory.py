"""`list_jobs_many` over many projects, for its memory alone.

`python -m benchmarks.contenders.memory PORT PROJECTS` reads one project, then that many others, and
prints by how many bytes the process grew at its highest.
"""

import asyncio
import json
import sys
from collections.abc import Iterable

from benchmarks._measure import MemoryGrowth
from benchmarks._server import HOST
from benchmarks.contenders import IN_FLIGHT
from plangrep_async import AsyncPlangrep


async def count(client: AsyncPlangrep, project_ids: Iterable[str]) -> int:
    """Read all jobs of the projects."""
    jobs = 0
    async with client.list_jobs_many(project_ids) as stream:
        async for _ in stream:
            jobs += 1
    return jobs


async def main(port: str, projects: str) -> None:
    """Measure and print one line."""
    base_url = f"http://{HOST}:{port}/api/open/v1"
    async with AsyncPlangrep("pgk_bench", base_url=base_url, max_concurrency=IN_FLIGHT) as client:
        await count(client, ["proj_warm_up"])
        memory = MemoryGrowth()
        jobs = await count(client, (f"proj_{number}" for number in range(int(projects))))
        print(json.dumps({"jobs": jobs, "growth_bytes": memory.peak()}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
