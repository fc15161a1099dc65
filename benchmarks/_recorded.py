"""The emulator in a process of its own, which tells at the end what it saw, and what it has.

`python -m benchmarks._recorded PROJECTS JOBS RATE` prints its greeting as a line of JSON, and
serves until its standard input ends: no more than RATE requests a second, a tenth of which may come
at once, or any number if that is 0. Then it prints another line: how many requests came and were
refused, how many at one time, and the sums of its own jobs, each of which it makes up again.
"""

import asyncio
import json
import os
import sys
from collections import Counter

from plangrep_async.emulator import Emulator, Limits


async def _main(projects: int, jobs: int, rate: int) -> None:
    limits = Limits(requests_per_second=rate, burst=max(1, rate // 10)) if rate else Limits()
    async with Emulator(projects=projects, jobs_per_project=jobs, limits=limits) as server:
        greeting = {
            "base_url": server.base_url,
            "api_key": server.api_key,
            "project_ids": server.project_ids,
            "pid": os.getpid(),
        }
        print(json.dumps(greeting), flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)
    seen = {
        "requests": len(server.requests),
        "refused": sum(request.status == 429 for request in server.requests),
        "most_in_flight": server.most_in_flight,
        "totals": _totals(server),
    }
    print(json.dumps(seen), flush=True)


def _totals(server: Emulator) -> dict[str, int]:
    sums = Counter[str]()
    for project_id in server.project_ids:
        for job in server.jobs(project_id):
            sums["jobs"] += 1
            sums["page_count"] += job["pageCount"]
            sums["files"] += len(job["files"])
            sums["credits_debited"] += job["billing"]["creditsDebited"]
            sums["completed"] += job["status"] == "completed"
    return dict(sums)


if __name__ == "__main__":
    asyncio.run(_main(*map(int, sys.argv[1:])))
