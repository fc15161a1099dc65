"""The three uses of the API at the terminal, for an organisation of 300 projects, 60,000 jobs."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from plangrep_async.emulator import Emulator
from tests.mirror_states import damage, rows
from tests.test_billing import groups_of, sums_of
from tests.test_cli import SURROUNDINGS, call, use, without_result_urls
from tests.test_cli_billing import wire
from tests.test_cli_current import truth
from tests.test_export import rows_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
Capture = pytest.CaptureFixture[str]

SUMS = """
SELECT count(*), sum(page_count), sum(successful_page_count), sum(credits_debited) FROM jobs
"""


@pytest_asyncio.fixture
async def organisation(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    """Serve it to the program."""
    for name in SURROUNDINGS:
        monkeypatch.delenv(name, raising=False)
    async with Emulator(projects=300, jobs_per_project=200) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        yield emulator


def all_jobs(organisation: Emulator) -> list[dict[str, Any]]:
    """Give what the server has, by its own account."""
    return [job for one in organisation.project_ids for job in organisation.jobs(one)]


async def test_the_history_is_whole(
    organisation: Emulator, capsys: Capture, tmp_path: Path
) -> None:
    """An audit has every job of every project once, as the server has it."""
    path = tmp_path / "jobs.csv"
    assert (await call(capsys, "jobs", "--all", "-o", str(path)))[:2] == (0, "")
    facts = ("id", "project_id", "status", "external_id", "page_count", "credits_debited")
    found = sorted(tuple(row[name] for name in facts) for row in rows_of(path.read_bytes()))
    expected = sorted(
        (
            job["id"],
            job["projectId"],
            job["status"],
            job["externalId"] or "",
            str(job["pageCount"]),
            str(job["billing"]["creditsDebited"]),
        )
        for job in all_jobs(organisation)
    )
    assert len(found) == 60_000
    assert found == expected


async def test_the_bill_is_right(organisation: Emulator, capsys: Capture) -> None:
    """Sums of each month and of all are those of the server's own jobs."""
    command = ("billing", "--all", "--by", "month", "--format", "json")
    code, output, _ = await call(capsys, *command)
    assert code == 0
    jobs = all_jobs(organisation)
    assert json.loads(output) == {
        "groups": [{"month": m} | wire(s) for (m,), s in sorted(groups_of(jobs, "month").items())],
        "total": wire(sums_of(jobs)),
        "complete": True,
        "failed": [],
    }


async def test_the_work_in_progress_is_found(organisation: Emulator, capsys: Capture) -> None:
    """Each project's newest job that is not terminal is shown, and the others have none."""
    code, output, _ = await call(capsys, "current", "--all", "--json")
    assert code == 0
    found = [json.loads(line) for line in output.splitlines()]
    expected = without_result_urls(iter(truth(organisation).values()))
    assert sorted(found, key=lambda job: job["id"]) == sorted(expected, key=lambda job: job["id"])
    assert 0 < len(found) < 300


async def test_the_mirror_has_all_of_it(
    organisation: Emulator, capsys: Capture, tmp_path: Path
) -> None:
    """The database adds up to what the server has, and a second run costs the heads."""
    path = tmp_path / "jobs.db"
    first = await call(capsys, "sync", str(path), "--all")
    second = await call(capsys, "sync", str(path), "--all")
    assert first[0] == second[0] == 0
    assert "\n60,000 jobs read: 60,000 new, 0 changed, 0 gone\n" in first[1]
    assert second[1].endswith(" jobs read: 0 new, 0 changed, 0 gone\n")
    assert downloaded(second[1]) * 2 < downloaded(first[1])  # a piece of each list at most
    sums = sums_of(all_jobs(organisation))
    assert rows(path, SUMS) == [tuple(wire(sums).values())]
    assert rows(path, "SELECT count(DISTINCT project_id) FROM jobs") == [(300,)]
    assert damage(path) == []


def downloaded(output: str) -> float:
    """Give the kB that a line tells."""
    (found,) = re.findall(r"([\d,]+) kB downloaded", output)
    return float(found.replace(",", ""))
