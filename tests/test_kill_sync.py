"""`python -m tests.kill_sync`, in short, and that it can find something."""

import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from plangrep_async.emulator import Emulator
from plangrep_async.mirror import sync
from tests import kill_sync
from tests.mirror_states import damage, read
from tests.test_mirror import client_of

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_runs_that_are_killed_leave_whole_projects() -> None:
    """A few kills find nothing; the exit code says so."""
    command = ["tests.kill_sync", "--kills", "3", "--projects", "4", "--jobs", "60"]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["killed"].startswith("3 runs")
    assert lines["findings"] == "0"


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM jobs WHERE created_at = (SELECT min(created_at) FROM jobs)",
        "UPDATE jobs SET credits_debited = credits_debited + 1",
        "UPDATE jobs SET gone_at = created_at",
        "UPDATE jobs SET id = 'x' || id",
        "INSERT INTO projects (id, revision, synced_at) VALUES ('proj_x', 1, '')",
    ],
)
async def test_what_is_not_whole_is_a_finding(sql: str, tmp_path: Path) -> None:
    """A gap, another state, a job or a project too many are found in what was stored."""
    path = tmp_path / "jobs.db"
    async with Emulator(jobs_per_project=8) as emulator:
        async with client_of(emulator) as client:
            await sync(client, path)
        assert kill_sync.check(path, {}, emulator, Counter()) == []
        assert kill_sync.differences(path, emulator) == []
        with closing(sqlite3.connect(path)) as db:
            db.executescript(sql)
        assert kill_sync.check(path, {}, emulator, Counter()) != []
        assert kill_sync.differences(path, emulator) != []


async def test_a_broken_reference_is_a_finding(tmp_path: Path) -> None:
    """Jobs without their project are found by SQLite itself."""
    path = tmp_path / "jobs.db"
    async with Emulator(jobs_per_project=8) as emulator, client_of(emulator) as client:
        await sync(client, path)
    with closing(sqlite3.connect(path)) as db:
        db.executescript("DELETE FROM projects")
    assert len(damage(path)) == 8


async def test_what_was_stored_must_stay(tmp_path: Path) -> None:
    """A project that was there before a run and is not after it is a finding."""
    path = tmp_path / "jobs.db"
    async with Emulator(jobs_per_project=3) as emulator:
        async with client_of(emulator) as client:
            await sync(client, path)
        before = read(path)
        kill_sync.remove(path)
        assert "not stored any more" in kill_sync.check(path, before, emulator, Counter())[0]


async def test_a_run_that_ends_just_then_was_not_killed(tmp_path: Path) -> None:
    """Whoever wants to kill it finds no process any more, and is told so."""
    path = tmp_path / "jobs.db"
    async with Emulator(jobs_per_project=3) as emulator, kill_sync.Run.start(emulator, path) as run:
        assert "up to date" in await run.output()
        assert not await run.end(0)


def test_a_finding_is_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends with 1 when something was found."""

    async def found(*_: object) -> list[str]:
        return ["job_1 was never there"]

    monkeypatch.setattr(kill_sync, "kill_many", found)
    assert kill_sync.main([]) == 1
