"""What the jobs of many projects add up to: by one client, or by Dask with some worker processes.

`python -m benchmarks.contenders.cluster NAME MAX_CONCURRENCY` takes a server's greeting from its
standard input, and prints its figures. All are ready before the clock starts: workers run, have
imported what they need, and have read a project.

- `client`: `list_jobs_many`, and a loop over its jobs
- `0`: `read_jobs` in this process, one partition after the other
- `1`, `2` and so on: `read_jobs` with so many worker processes of one thread
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from typing import Any

import attrs
import dask
import pandas as pd
import psutil
from distributed import Client, LocalCluster

from benchmarks._data import Totals
from plangrep_async import AsyncPlangrep
from plangrep_async.dask import read_jobs

PROJECTS_PER_PARTITION = 100


async def with_a_client(project_ids: list[str], most: int) -> Totals:
    """Add up every job as it comes."""
    sums = Counter[str]()
    async with (
        AsyncPlangrep(max_concurrency=most) as client,
        client.list_jobs_many(project_ids) as jobs,
    ):
        async for job in jobs:
            sums["jobs"] += 1
            sums["page_count"] += job.page_count
            sums["files"] += len(job.files)
            sums["credits_debited"] += job.billing.credits_debited
            sums["completed"] += job.status == "completed"
    return Totals(**sums)


def with_dask(project_ids: list[str], most: int) -> Totals:
    """Add up the partitions where they are, and then the sums."""
    jobs = read_jobs(
        project_ids, projects_per_partition=PROJECTS_PER_PARTITION, max_concurrency=most
    )
    names = [field.name for field in attrs.fields(Totals)]
    sums = jobs.map_partitions(_sums, meta=pd.DataFrame(columns=names, dtype="int64")).compute()
    return Totals(**{name: int(sums[name].sum()) for name in names})


def _sums(jobs: pd.DataFrame) -> pd.DataFrame:
    totals = Totals(
        jobs=len(jobs),
        page_count=int(jobs["page_count"].sum()),
        files=int(jobs["files"].list.len().sum()),
        credits_debited=int(jobs["billing"].struct.field("credits_debited").sum()),
        completed=int((jobs["status"] == "completed").sum()),
    )
    return pd.DataFrame([attrs.asdict(totals)])


def run(name: str, server: dict[str, Any], most: int) -> dict[str, Any]:
    """Run one of them against a server."""
    os.environ["PLANGREP_API_KEY"] = server["api_key"]
    os.environ["PLANGREP_BASE_URL"] = server["base_url"]
    ids, warm_up = server["project_ids"], server["project_ids"][:1]
    if name == "client":
        asyncio.run(with_a_client(warm_up, most))
        return _measured(lambda: asyncio.run(with_a_client(ids, most)), server["pid"])
    if name == "0":
        with dask.config.set(scheduler="synchronous"):
            with_dask(warm_up, most)
            return _measured(lambda: with_dask(ids, most), server["pid"])
    cluster = LocalCluster(
        n_workers=int(name), threads_per_worker=1, dashboard_address="127.0.0.1:0"
    )
    with cluster, Client(cluster) as client:
        ready = [
            client.submit(_warm_up, warm_up, most, workers=[worker], pure=False)
            for worker in client.scheduler_info(n_workers=-1)["workers"]
        ]
        client.gather(ready)
        return _measured(lambda: with_dask(ids, most), server["pid"], client)


def _warm_up(project_ids: list[str], most: int) -> None:
    with dask.config.set(scheduler="synchronous"):
        with_dask(project_ids, most)


def _measured(work: Any, server: int, client: Client | None = None) -> dict[str, Any]:
    """Give what the work has found, its seconds, and those of each side's processor."""

    def cpu() -> tuple[float, ...]:
        workers = sum(client.run(time.process_time).values()) if client is not None else 0.0
        times = psutil.Process(server).cpu_times()
        return time.process_time(), workers, times.user + times.system

    before = cpu()
    begin = time.perf_counter()
    totals = work()
    seconds = time.perf_counter() - begin
    own, workers, theirs = (now - then for now, then in zip(cpu(), before, strict=True))
    return {
        "seconds": seconds,
        "totals": attrs.asdict(totals),
        "own_cpu": own,
        "worker_cpu": workers,
        "server_cpu": theirs,
    }


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], json.loads(sys.stdin.readline()), int(sys.argv[2]))))
