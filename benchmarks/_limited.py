"""Servers with a rate limit, in a process of their own, which remember every request.

`python -m benchmarks._limited KIND RATE PROJECTS JOBS` prints one line of JSON, with the address,
a key and the ids of projects, and serves until its standard input ends. Then it prints another one:
when each request came, in seconds from any start, and the status it got.

- `emulator`: `plangrep_async.emulator` with a bucket of one second's requests, and a `Retry-After`
  of whole seconds
- `nginx`: `limit_req` with a burst of a fifth of a second, no delay and no `Retry-After`, in front
  of one file; its times are those of the answers
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks._data import Spec, write
from plangrep_async.emulator import Emulator, Limits

Arrivals = list[tuple[float, int]]


@asynccontextmanager
async def emulator(rate: int, projects: int, jobs: int) -> AsyncIterator[tuple[str, Arrivals]]:
    """Run the emulator; what it saw is in the list after the block."""
    arrivals: Arrivals = []
    limits = Limits(requests_per_second=rate, retry_after="seconds")
    async with Emulator(projects=projects, jobs_per_project=jobs, limits=limits) as server:
        yield _greeting(server.base_url, server.api_key, server.project_ids), arrivals
        arrivals += [(request.arrived, request.status) for request in server.requests]


@asynccontextmanager
async def nginx(rate: int, projects: int, jobs: int) -> AsyncIterator[tuple[str, Arrivals]]:
    """Run nginx; what it saw is in the list after the block."""
    from tests.nginx import Nginx  # noqa: PLC0415  # the emulator needs no tests

    arrivals: Arrivals = []
    with tempfile.TemporaryDirectory() as name:
        directory = _readable(Path(name))
        write(Spec(jobs=jobs), directory / "jobs.json")
        server = Nginx(
            directory,
            f"limit_req zone=all burst={rate // 5} nodelay; rewrite ^ /jobs.json break;"
            f"root {directory}; default_type application/json;",
            http=f"limit_req_zone $server_port zone=all:1m rate={rate}r/s;"
            "limit_req_status 429; keepalive_requests 100000; log_format times '$msec $status';",
            server=f"access_log {directory}/access.log requests;"
            f"access_log {directory}/times.log times;",
        )
        async with server:
            ids = [f"proj_{number}" for number in range(projects)]
            yield _greeting(server.base_url, "pgk_bench", ids), arrivals
        for line in (directory / "times.log").read_text().splitlines():
            moment, status = line.split()
            arrivals.append((float(moment), int(status)))


def _readable(directory: Path) -> Path:
    """Let the worker of nginx, which may be another user, into the directory."""
    directory.chmod(0o755)
    return directory


KINDS = {"emulator": emulator, "nginx": nginx}


def _greeting(base_url: str, api_key: str, project_ids: "tuple[str, ...] | list[str]") -> str:
    return json.dumps({"base_url": base_url, "api_key": api_key, "project_ids": project_ids})


async def _main(kind: str, rate: str, projects: str, jobs: str) -> None:
    async with KINDS[kind](int(rate), int(projects), int(jobs)) as (greeting, arrivals):
        print(greeting, flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)
    print(json.dumps(arrivals), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
