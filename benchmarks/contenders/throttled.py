"""The jobs of many projects, from a server that refuses what comes too fast.

`python -m benchmarks.contenders.throttled NAME` takes what `benchmarks._limited` printed from its
standard input, and prints its figures. `ours` is `list_jobs_many` with its own retries; `gather` is
the loop one would write: a semaphore, ten attempts, and before the next one as long a wait as the
server asks for, or a second.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import aiohttp

from plangrep_async import AsyncPlangrep

IN_FLIGHT = 64
ATTEMPTS = 10

Server = dict[str, Any]


async def ours(server: Server, jobs: Counter[str]) -> int:
    """Count every job by its id; return how many projects failed."""
    async with (
        AsyncPlangrep(
            server["api_key"], base_url=server["base_url"], max_concurrency=IN_FLIGHT
        ) as client,
        client.list_jobs_many(server["project_ids"], on_error="collect") as stream,
    ):
        async for job in stream:
            jobs[job.id] += 1
        return len(stream.failures)


async def gather(server: Server, jobs: Counter[str]) -> int:
    """Count every job by its id; return how many projects failed."""
    free = asyncio.Semaphore(IN_FLIGHT)
    headers = {"Authorization": f"Bearer {server['api_key']}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def read(project_id: str) -> bool:
            for _ in range(ATTEMPTS):
                url = f"{server['base_url']}/projects/{project_id}/jobs"
                async with session.get(url) as response:
                    if response.status == 200:
                        jobs.update(job["id"] for job in (await response.json())["jobs"])
                        return True
                    wait = float(response.headers.get("Retry-After", 1))
                await asyncio.sleep(wait)
            return False

        async def read_in_turn(project_id: str) -> bool:
            async with free:
                return await read(project_id)

        done = await asyncio.gather(*map(read_in_turn, server["project_ids"]))
    return done.count(False)


CONTENDERS = {"ours": ours, "gather": gather}


def main(name: str) -> None:
    """Run one of them and print its figures as one line."""
    server = json.loads(sys.stdin.readline())
    jobs = Counter[str]()
    start = time.perf_counter()
    failed = asyncio.run(CONTENDERS[name](server, jobs))
    seconds = time.perf_counter() - start
    counts = {"jobs": jobs.total(), "different_jobs": len(jobs), "failed_projects": failed}
    print(json.dumps({"seconds": seconds, **counts}))


if __name__ == "__main__":
    main(*sys.argv[1:])
