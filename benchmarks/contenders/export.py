"""One project's jobs into a file, for the memory and the stalls of a writer.

`python -m benchmarks.contenders.export FORMAT PORT FILE` writes a small project, then the real one,
and prints what that took. `none` is for reading alone.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks._measure import Heartbeat, MemoryGrowth
from benchmarks._server import HOST, WARM_UP_PROJECT
from benchmarks.contenders import API_KEY
from plangrep_async import AsyncPlangrep
from plangrep_async.export import (
    CsvWriter,
    JobWriter,
    NdjsonWriter,
    ParquetWriter,
    atomic_file,
)

WRITERS: dict[str, Callable[..., JobWriter] | None] = {
    "none": None,
    "ndjson": NdjsonWriter,
    "csv": CsvWriter,
    "parquet": ParquetWriter,
}


async def export(
    client: AsyncPlangrep, project_id: str, make_writer: Callable[..., JobWriter] | None, path: Path
) -> int:
    """Read all jobs and write each; return how many they were."""
    jobs = 0
    with contextlib.ExitStack() as stack:
        writer = None
        if make_writer is not None:
            writer = stack.enter_context(make_writer(stack.enter_context(atomic_file(path))))
        async for job in client.list_jobs(project_id):
            if writer is not None:
                writer.write(job)
            jobs += 1
    return jobs


async def main(form: str, port: str, path: str) -> None:
    """Measure and print one line."""
    base_url = f"http://{HOST}:{port}/api/open/v1"
    async with AsyncPlangrep(API_KEY, base_url=base_url) as client:
        await export(client, WARM_UP_PROJECT, WRITERS[form], Path(path))
        memory = MemoryGrowth()
        async with Heartbeat() as heartbeat:
            start = time.perf_counter()
            jobs = await export(client, "proj_measured", WRITERS[form], Path(path))
            seconds = time.perf_counter() - start
            growth_bytes = memory.peak()
    found = {
        "jobs": jobs,
        "seconds": seconds,
        "growth_bytes": growth_bytes,
        "longest_stall_seconds": heartbeat.longest,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
