"""A web service and the API behind it, each in a process of its own that watches itself.

Both print one line when they serve, do so until their standard input ends, and print a list then.

- `python -m benchmarks._service api PROJECTS JOBS JOBS_OF_THE_LARGE`: `plangrep_async.emulator`,
  whose last project has a list made beforehand, so that it comes as fast as it can be read. Its
  line has the address, a key, the ids and the size of the large list; its list, when each request
  came, in seconds of `time.perf_counter()`, and for which project.
- `python -m benchmarks._service service`: the README's FastAPI service, in uvicorn. It is given the
  line of the API. Its line is its port; its list, the beats of a heartbeat (when, how late, and
  after how many CPU seconds of the loop), the resident set when it began to serve, and the most
  that it grew by, in bytes.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks._measure import Heartbeat, MemoryGrowth
from plangrep_async.emulator import Emulator


async def api(projects: str, jobs: str, jobs_of_the_large: str) -> list[Any]:
    """Run the emulator; return what it saw."""
    with_large_list = Emulator(jobs_per_project=int(jobs_of_the_large))
    body = with_large_list.job_list_body(with_large_list.project_ids[0])
    emulator = Emulator(
        projects=int(projects) + 1, jobs_per_project=int(jobs), chunk_bytes=64 * 1024
    )
    *_, large = emulator.project_ids
    make = emulator._api.job_list  # noqa: SLF001  # its projects are all of one size
    emulator._api.job_list = lambda project: iter([body]) if project == large else make(project)  # noqa: SLF001
    async with emulator:
        greeting = {
            "base_url": emulator.base_url,
            "api_key": emulator.api_key,
            "project_ids": emulator.project_ids,
            "large_bytes": len(body),
        }
        print(json.dumps(greeting), flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)
        return [(request.arrived, request.project_id) for request in emulator.requests]


async def service() -> list[Any]:
    """Run the README's service; return its beats and its memory."""
    from tests.web import served, service_module  # noqa: PLC0415  # the API needs no tests

    greeting = json.loads(sys.stdin.readline())
    os.environ["PLANGREP_API_KEY"] = greeting["api_key"]
    os.environ["PLANGREP_BASE_URL"] = greeting["base_url"]
    async with served(service_module().app, send_buffer_bytes=None) as port:
        memory, resident = MemoryGrowth(), _resident_bytes()
        async with Heartbeat() as heartbeat:
            print(port, flush=True)
            await asyncio.to_thread(sys.stdin.buffer.read)
    beats = list(zip(heartbeat.ended, heartbeat.late, heartbeat.busy, strict=True))
    return [beats, resident, memory.peak()]


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    print(json.dumps(asyncio.run({"api": api, "service": service}[kind](*arguments))))
