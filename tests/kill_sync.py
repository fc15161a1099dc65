"""`plangrep-async sync` killed at random moments, and what is in its database then.

    python -m tests.kill_sync --kills 50 --seed 1 [--projects 30 --jobs 300]

An emulator's jobs begin, move on and vanish between two runs. Every run is a process of its own,
killed with SIGKILL: as soon as the file is there, or at any moment between the first request and
the end. Then SQLite checks the file, and each project must be stored as it was before, or as a
whole reading makes it. A third of the runs begin without a file. At last two runs come to their
ends: after the first one the database must equal what the emulator has, and the second one shows
what a run costs when nothing has changed. The exit code is 1 if anything was otherwise.
"""

import argparse
import asyncio
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from plangrep_async.emulator import Emulator
from tests.mirror_states import State, damage, fault_of_project, read, truth_of

TERMINAL = {"completed", "completed_with_errors", "failed", "cancelled", "expired"}
_HEAD = 12  # jobs at the top of a list, of which some change
_MOMENT = 0.001  # seconds between two looks


class Run:
    """A process that brings the file up to date."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def start(cls, emulator: Emulator, path: Path) -> "AsyncIterator[Run]":
        """Start one, and see to it that it has ended."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "plangrep_async", "sync", str(path), "--all"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={
                **os.environ,
                "PLANGREP_API_KEY": emulator.api_key,
                "PLANGREP_BASE_URL": emulator.base_url,
            },
        )
        try:
            yield cls(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something that the run does, or for its end."""
        while self._process.returncode is None and not is_so():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(_MOMENT)

    async def end(self, after: float) -> bool:
        """Kill it after so many seconds; gives whether it was still running."""
        try:
            await asyncio.wait_for(self._process.wait(), after)
        except TimeoutError:
            with suppress(ProcessLookupError):  # it may have ended in this very moment
                self._process.kill()
        return await self._process.wait() == -signal.SIGKILL

    async def output(self) -> str:
        """Let it come to its end."""
        output, _ = await self._process.communicate()
        return output.decode().strip()


def change(emulator: Emulator, rng: random.Random) -> None:
    """Let time go by for some projects."""
    for project_id in emulator.project_ids:
        if rng.random() < 0.5:
            continue
        for _ in range(rng.choice([0, 1, 1, 3])):
            emulator.add_job(project_id, later=rng.choice([0.0, 0.001, 60.0]))
        head = [job for job, _ in zip(emulator.jobs(project_id), range(_HEAD), strict=False)]
        for job in head:
            if job["status"] not in TERMINAL and rng.random() < 0.4:
                emulator.advance(job["id"], rng.choice([None, "completed", "failed"]))
        if head and rng.random() < 0.3:
            emulator.remove_job(rng.choice(head)["id"])


def check(path: Path, before: State, emulator: Emulator, seen: Counter[str]) -> list[str]:
    """Say what is wrong after a run that was killed, or was not."""
    findings = damage(path)
    after = read(path)
    findings += [f"{name} is not stored any more" for name in before.keys() - after.keys()]
    findings += [f"{name} is no project" for name in after.keys() - set(emulator.project_ids)]
    for project_id in emulator.project_ids:
        jobs, now = before.get(project_id), after.get(project_id)
        if now == jobs:
            seen["untouched"] += 1
            continue
        seen["whole"] += 1
        fault = fault_of_project(jobs or {}, now or {}, truth_of(emulator.jobs(project_id)))
        findings += [f"{project_id}: {fault}"] * (fault is not None)
    return findings


def remove(path: Path) -> None:
    """Begin anew."""
    for one in path.parent.glob(path.name + "*"):
        one.unlink()


async def measure(emulator: Emulator, path: Path) -> tuple[float, str]:
    """Let a run come to its end; gives the seconds since its first request, and its output."""
    emulator.requests.clear()
    async with Run.start(emulator, path) as run:
        await run.until(lambda: bool(emulator.requests))
        started = time.perf_counter()
        output = await run.output()
        return time.perf_counter() - started, output


async def kill_many(kills: int, seed: int, projects: int, jobs: int, path: Path) -> list[str]:
    """Run, print and return what is wrong."""
    rng = random.Random(seed)
    findings: list[str] = []
    seen, how = Counter[str](), Counter[str]()
    started = time.perf_counter()
    async with Emulator(projects=projects, jobs_per_project=jobs, seed=seed) as emulator:
        first, output = await measure(emulator, path)
        second, _ = await measure(emulator, path)
        print(f"first run       {output}")
        while how["killed"] < kills and not findings:
            change(emulator, rng)
            if is_new := rng.random() < 1 / 3:
                remove(path)
            before = read(path)
            emulator.requests.clear()
            async with Run.start(emulator, path) as run:
                if is_new and rng.random() < 0.3:
                    await run.until(path.exists)
                    was_killed = await run.end(rng.uniform(0, 0.02))
                    moment = "while the file was made"
                else:
                    await run.until(lambda: bool(emulator.requests))
                    was_killed = await run.end(rng.uniform(0, first if is_new else second))
                    moment = "of a first run" if is_new else "of a later run"
            how["killed" if was_killed else "had ended"] += 1
            how[moment] += was_killed
            findings += check(path, before, emulator, seen)
        change(emulator, rng)
        before = read(path)
        _, output = await measure(emulator, path)
        print(f"last run        {output}")
        findings += check(path, before, emulator, seen)
        remove(path)
        _, whole = await measure(emulator, path)
        print(f"a new file      {whole}")
        findings += differences(path, emulator)
        _, output = await measure(emulator, path)
        print(f"once more       {output}")
        findings += differences(path, emulator)
    print(f"killed          {how.pop('killed', 0)} runs, " + described(how))
    print(f"projects        {described(seen)}: after each run that was killed, or had ended")
    share = downloaded(output) / downloaded(whole)
    print(f"downloaded      {share:.1%} once more of what a new file took")
    print(f"seconds         {time.perf_counter() - started:.1f}")
    print(f"findings        {len(findings)}", *findings[:20], sep="\n  ")
    return findings


def downloaded(output: str) -> float:
    """Find the kilobytes that a run reports."""
    found = re.search(r"([\d,]+) kB downloaded", output)
    return float(found[1].replace(",", "")) if found else float("nan")


def described(counts: Counter[str]) -> str:
    """List what was counted."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common() if count)


def differences(path: Path, emulator: Emulator) -> list[str]:
    """Say which projects of a whole, new file are not as the emulator has them."""
    stored = read(path)
    extra = [f"{name} is no project" for name in stored.keys() - set(emulator.project_ids)]
    return extra + [
        f"{name} is not as it is listed"
        for name in emulator.project_ids
        if stored.get(name)
        != {job_id: (job, False) for job_id, job in truth_of(emulator.jobs(name)).items()}
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill_sync")
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="(50)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="(1)")
    parser.add_argument("--projects", type=int, default=30, metavar="P", help="(30)")
    parser.add_argument("--jobs", type=int, default=300, metavar="J", help="of each (300)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs.db"
        work = kill_many(options.kills, options.seed, options.projects, options.jobs, path)
        return 1 if asyncio.run(work) else 0


if __name__ == "__main__":
    sys.exit(main())
