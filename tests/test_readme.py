"""The README does what it says: its two commands are there, and each block of Python runs.

A block that makes an `app` is a web service, which `tests/test_service.py` serves.
"""

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from plangrep_async import AsyncPlangrep
from plangrep_async.emulator import Emulator
from plangrep_async.mirror import sync
from tests.web import README, blocks, is_service

BLOCKS = blocks()
PROGRAMS = [block for block in BLOCKS if not is_service(block)]

# What the examples write for the ids of a reader's own.
PLACEHOLDER = "proj_01hx9z4kqr8e7m3p5n6w2v0abc"


@pytest.mark.parametrize("heading", ["Run it", "Test it"])
def test_a_command_is_one_line_that_sets_itself_up(heading: str) -> None:
    """Each heading is followed by one block of one line, beginning from nothing, and no other."""
    sections = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", README, re.MULTILINE))
    (line,) = re.match(r"\n+```sh\n(.+)\n```\n", sections[heading]).groups()  # type: ignore[union-attr]
    assert line.startswith("python3 -m venv ")
    assert sections[heading].count("```sh\n") == 1


def test_there_are_blocks_to_run() -> None:
    """The pattern that finds the examples finds as many as there are fences."""
    assert len(BLOCKS) == README.count("```python") > 0


def marks_of(block: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] if "plangrep_async.dask" in block else []  # the imports take seconds


@pytest.mark.parametrize(
    "number", [pytest.param(number, marks=marks_of(block)) for number, block in enumerate(PROGRAMS)]
)
async def test_every_block_of_python_runs(number: int, tmp_path: Path) -> None:
    """An example runs as it stands, against the emulator and with warnings as errors."""
    async with Emulator(projects=2, jobs_per_project=40) as emulator:
        program = tmp_path / "example.py"
        program.write_text(PROGRAMS[number].replace(PLACEHOLDER, emulator.project_ids[0]))
        environment = {
            **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
            "PLANGREP_API_KEY": emulator.api_key,
            "PLANGREP_BASE_URL": emulator.base_url,
        }
        command = [sys.executable, "-X", "dev", "-W", "error"]
        if tests := PROGRAMS[number].count("\ndef test_"):
            command += ["-m", "pytest", "-p", "no:asyncio", "-p", "plangrep_async.pytest_plugin"]
        command.append(str(program))
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        # What the development mode tells of slow steps in the loop is about the machine.
        told = re.sub(
            rb"^Executing <.*> took [\d.]+ seconds\n", b"", done.stderr, flags=re.MULTILINE
        )
        assert told == b""
        if tests:
            assert f"{tests} passed" in done.stdout.decode()
        has_own_server = "Emulator(" in PROGRAMS[number] or tests
        assert has_own_server or any(one.status == 200 for one in emulator.requests)


QUESTIONS = re.findall(r"^```sql\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("word", "index"),
    [("'2024-11-01'", "jobs_by_time"), ("month", None), ("julianday", "jobs_in_progress")],
)
async def test_a_mirror_answers_the_questions(word: str, index: str | None, tmp_path: Path) -> None:
    """Each as the emulator's own jobs say, and by an index where one helps."""
    (question,) = (one for one in QUESTIONS if word in one and "parquet" not in one)
    path = tmp_path / "jobs.db"
    async with Emulator(projects=5, jobs_per_project=300) as emulator:
        async with AsyncPlangrep(emulator.api_key, base_url=emulator.base_url) as client:
            await sync(client, path)
        jobs = [job for name in emulator.project_ids for job in emulator.jobs(name)]
    with closing(sqlite3.connect(path)) as db:
        answers = db.execute(question).fetchall()
        plan = " ".join(row[-1] for row in db.execute(f"EXPLAIN QUERY PLAN {question}"))
    assert index is None or f"INDEX {index}" in plan
    if word == "month":
        assert answers == sums_by_month(jobs)
    elif word == "julianday":
        active = {job["id"]: job for job in jobs if job["completedAt"] is None}
        assert {row[1] for row in answers} == active.keys()
        for row in answers:
            created = datetime.fromisoformat(active[row[1]]["createdAt"])
            assert row[-1] == pytest.approx(
                (datetime.now(UTC) - created) / timedelta(hours=1), 1e-3
            )
    else:
        of_day = {job["id"] for job in jobs if job["createdAt"].startswith("2024-11-01")}
        assert {row[2] for row in answers} == of_day
        assert [row[0] for row in answers] == sorted((row[0] for row in answers), reverse=True)


def sums_by_month(jobs: list[dict[str, Any]]) -> list[tuple[str, int, int, int]]:
    """Add up by month, without SQL."""
    months: dict[str, list[dict[str, Any]]] = {}
    for job in jobs:
        months.setdefault(job["createdAt"][:7], []).append(job)
    return [
        (
            month,
            len(ones),
            sum(job["successfulPageCount"] for job in ones),
            sum(job["billing"]["creditsDebited"] for job in ones),
        )
        for month, ones in sorted(months.items())
    ]
