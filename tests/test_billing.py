"""Sums over jobs: exact, by each key, and as small as the number of groups."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from plangrep_async import AsyncPlangrep, ConfigurationError, Job
from plangrep_async.billing import GroupBy, Summary, Sums, summarize
from plangrep_async.emulator import Emulator
from plangrep_async.models import JobStatus
from tests.test_export_arrow import make_job

KEYS = {
    "project": lambda job: job["projectId"],
    "status": lambda job: job["status"],
    "month": lambda job: job["createdAt"][:7],
    "external_id": lambda job: job["externalId"],
}


def sums_of(jobs: list[dict[str, Any]]) -> Sums:
    """Add up what a server has sent."""
    return Sums(
        jobs=len(jobs),
        page_count=sum(job["pageCount"] for job in jobs),
        successful_page_count=sum(job["successfulPageCount"] for job in jobs),
        credits_debited=sum(job["billing"]["creditsDebited"] for job in jobs),
    )


def groups_of(jobs: list[dict[str, Any]], *by: str) -> dict[tuple[Any, ...], Sums]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for job in jobs:
        groups.setdefault(tuple(KEYS[name](job) for name in by), []).append(job)
    return {key: sums_of(group) for key, group in groups.items()}


@pytest.mark.parametrize("by", KEYS)
async def test_the_sums_are_those_of_the_server(by: GroupBy) -> None:
    """A stream of many projects adds up, by each key, to what the server says it has."""
    async with (
        Emulator(projects=3, jobs_per_project=400, seed=5) as emulator,
        AsyncPlangrep(emulator.api_key, base_url=emulator.base_url) as client,
        client.list_jobs_many(emulator.project_ids) as jobs,
    ):
        summary = await summarize(jobs, by=by)
    wire = [job for one in emulator.project_ids for job in emulator.jobs(one)]
    expected = {key: sums for (key,), sums in groups_of(wire, by).items()}
    assert len(expected) > 1
    assert summary.groups == expected
    assert summary.total == sums_of(wire)


async def test_several_keys_make_tuples() -> None:
    """With a tuple of keys, a group is a tuple in the same order; with none, all jobs are one."""
    async with (
        Emulator(jobs_per_project=300) as emulator,
        AsyncPlangrep(emulator.api_key, base_url=emulator.base_url) as client,
    ):
        (project_id,) = emulator.project_ids
        jobs = [job async for job in client.list_jobs(project_id)]
    wire = list(emulator.jobs(project_id))
    two = await summarize(jobs, by=("month", "status"))
    assert two.groups == groups_of(wire, "month", "status")
    assert (await summarize(jobs)).groups == {(): sums_of(wire)}


async def test_any_iterable_will_do() -> None:
    """A list, a generator and an asynchronous generator give the same; no jobs give no groups."""
    jobs = [make_job(number, externalId=f"{number % 2}") for number in range(5)]

    async def later() -> AsyncIterator[Job]:
        for job in jobs:
            yield job

    for given in (jobs, iter(jobs), later()):
        summary = await summarize(given, by="external_id")
        assert {key: sums.jobs for key, sums in summary.groups.items()} == {"0": 3, "1": 2}
    nothing = await summarize((), by="project")
    assert (nothing.groups, nothing.total) == ({}, Sums())


def test_a_month_is_that_of_utc() -> None:
    """A job counts for the month in which it was created in UTC, whatever zone its time is in."""
    east = timezone(timedelta(hours=14))
    moments = [
        datetime(2024, 10, 31, 23, 59, 59, 999999, UTC),
        datetime(2024, 11, 1, tzinfo=UTC),
        datetime(2024, 11, 1, 13, 59, tzinfo=east),
        datetime(2025, 11, 30, 23, tzinfo=UTC),
    ]
    summary: Summary[str | None] = Summary("month")
    for moment in moments:
        summary.add(attrs.evolve(make_job(), created_at=moment, completed_at=None))
    found = {month: sums.jobs for month, sums in summary.groups.items()}
    assert found == {"2024-10": 2, "2024-11": 1, "2025-11": 1}


def test_sums_are_exact() -> None:
    """Numbers beyond what a float or 64 bits can hold lose nothing."""
    summary: Summary[str | None] = Summary("project")
    for count in (2**63, 2**53, 1, 1):
        summary.add(make_job(pageCount=count, billing={"creditsDebited": count}))
    assert summary.total.credits_debited == summary.total.page_count == 2**63 + 2**53 + 2


def test_unknown_statuses_have_groups_of_their_own() -> None:
    """A status that this version does not know is told by its text."""
    summary: Summary[str | None] = Summary("status")
    for status in ("completed", "paused", "paused"):
        summary.add(make_job(status=status))
    assert {key: sums.jobs for key, sums in summary.groups.items()} == {
        JobStatus.COMPLETED: 1, "paused": 2
    }  # fmt: skip
    assert {type(key) for key in summary.groups} == {str}


@pytest.mark.parametrize(
    "by", ["day", ("project", "externalId"), "", None, ["month"], (["month"],)]
)
async def test_another_key_is_refused(by: Any) -> None:
    """What is no key is a `ConfigurationError` that lists those there are."""
    with pytest.raises(ConfigurationError, match="external_id"):
        await summarize([], by=by)
