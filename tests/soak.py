"""Many requests through one client, every fifth with a fault, and what is left of them.

    python -m tests.soak --requests 100000 [--seed S]

Waves of projects are read with `list_jobs_many`. Between them the process is looked at: when the
client is warm, in the middle and at the end. The exit code is 1 if sockets, tasks, descriptors or
memory have grown, or a list was neither whole nor a failure that says how far it came.
"""

import argparse
import asyncio
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence

from plangrep_async import AsyncPlangrep, PlangrepError, RetryPolicy, Timeouts
from plangrep_async._progress import ProjectOutcome
from tests.conftest import KEY
from tests.faults.moody import FAULTS, WANTED, Sample, moody, quiet
from tests.raw_server import RawServer

IN_FLIGHT = 32
MOST_BYTES = 4 << 20  # of growth that is none: arenas that are half full
_WAVE = 500  # projects, fewer in a short run
_PAUSES = RetryPolicy(attempts=4, first_wait=0.001, max_wait=0.002)
_TIMEOUTS = Timeouts(connect=5, read=0.15)


async def wave(client: AsyncPlangrep, projects: int, outcomes: Counter[str]) -> list[str]:
    """Read so many projects; return what is wrong with them."""
    findings: list[str] = []
    ended: set[str] = set()

    async def note(outcome: ProjectOutcome) -> None:
        ended.add(outcome.project_id)
        outcomes[type(outcome.error).__name__ if outcome.error else "complete"] += 1
        delivered = outcome.error.delivered if isinstance(outcome.error, PlangrepError) else None
        if outcome.error is None and outcome.jobs != len(WANTED):
            findings.append(f"{outcome.project_id}: {outcome.jobs} jobs of {len(WANTED)}")
        if outcome.error is not None and outcome.jobs != delivered:
            findings.append(f"{outcome.project_id}: {delivered} jobs said, {outcome.jobs} came")

    ids = (f"soak_{number}" for number in range(projects))
    async with client.list_jobs_many(ids, on_error="collect", on_project_end=note) as jobs:
        seen = Counter([job.id async for job in jobs])
        failed = len(jobs.failures)
    if len(ended) != projects:
        findings.append(f"{len(ended)} of {projects} projects ended")
    if not set(seen) <= set(WANTED) or not projects - failed <= min(seen.values()):
        findings.append("other jobs came than there are")
    if max(seen.values()) > projects:
        findings.append("a job came twice")
    return findings


def left(warm: Sample, end: Sample) -> list[str]:
    """Say what there is more of at the end."""
    findings = [
        f"{name}: {after - before:+} since the client was warm"
        for name, before, after in (
            ("sockets", warm.sockets, end.sockets),
            ("tasks", warm.tasks, end.tasks),
            ("descriptors", warm.descriptors, end.descriptors),
        )
        if after > before
    ]
    if (growth := end.resident_bytes - warm.resident_bytes) > MOST_BYTES:
        findings.append(f"resident memory: {growth / 1e6:+.1f} MB since the client was warm")
    return findings


def line(name: str, requests: int, sample: Sample) -> str:
    """Return a row of what is printed."""
    return (
        f"{name:10}{requests:>10,}{sample.sockets:>10}{sample.tasks:>10}"
        f"{sample.descriptors:>14}{sample.resident_bytes / 1e6:>12.1f}"
    )


async def soak(requests: int, seed: int) -> list[str]:
    """Run, print and return what is wrong."""
    served, outcomes = Counter[str](), Counter[str]()
    script = moody(random.Random(seed), served)
    projects = max(10, min(_WAVE, requests // 20))
    head = f"{'requests':>10}{'sockets':>10}{'tasks':>10}{'descriptors':>14}{'memory MB':>12}"
    findings: list[str] = []
    started = time.perf_counter()
    async with (
        RawServer(script) as server,
        AsyncPlangrep(
            KEY,
            base_url=server.base_url,
            max_concurrency=IN_FLIGHT,
            retry=_PAUSES,
            timeout=_TIMEOUTS,
        ) as client,
    ):
        print(" " * 10 + head)
        marks = {"warm": requests // 10, "middle": requests // 2, "end": requests}
        samples: dict[str, Sample] = {}
        for name, mark in marks.items():
            while served["requests"] < mark:
                findings += await wave(client, projects, outcomes)
                samples[name] = await quiet(server, client)
            print(line(name, served["requests"], samples[name]), flush=True)
    findings += left(samples["warm"], samples["end"])
    bad = sum(served[fault.__name__] for fault in FAULTS)
    print(f"faults     {bad:,}, {100 * bad / served['requests']:.0f} % of all requests")
    print("projects   " + ", ".join(f"{name} {count:,}" for name, count in outcomes.most_common()))
    print(f"seconds    {time.perf_counter() - started:.1f}")
    print(f"findings   {len(findings)}", *findings[:20], sep="\n  ")
    return findings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--requests", type=int, default=100_000, metavar="N", help="(100,000)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="(1)")
    options = parser.parse_args(arguments)
    logging.getLogger("plangrep_async").setLevel(logging.ERROR)
    return 1 if asyncio.run(soak(max(100, options.requests), options.seed)) else 0


if __name__ == "__main__":
    sys.exit(main())
