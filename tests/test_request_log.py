"""What the library logs of requests, for those who set its logger to DEBUG."""

import logging
import re
from collections.abc import Callable
from contextlib import aclosing

import pytest

from plangrep_async import AsyncPlangrep, ConnectionFailed, IncompleteResponse, RetryPolicy
from plangrep_async.emulator import Emulator, Fault
from tests.conftest import PROJECT
from tests.raw_server import Connection, RawServer

SECONDS = re.compile(r"\d+\.\d{3} s")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Give what was logged at DEBUG, without the times."""
    found = [one for one in caplog.record_tuples if one[:2] == ("plangrep_async", logging.DEBUG)]
    return [SECONDS.sub("N s", message) for _, _, message in found]


@pytest.fixture(autouse=True)
def _debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "plangrep_async")


async def test_an_answer_and_its_end_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A list is two lines: status when its headers are there, bytes when it was read."""
    async with (
        Emulator(jobs_per_project=30) as emulator,
        AsyncPlangrep(emulator.api_key, base_url=emulator.base_url) as client,
    ):
        (project_id,) = emulator.project_ids
        assert len([job async for job in client.list_jobs(project_id)]) == 30
        size = len(emulator.job_list_body(project_id))
        what = f"GET {emulator.base_url}/projects/{project_id}/jobs"
    assert lines(caplog) == [
        f"{what}: 200 after N s",
        f"{what}: complete, {size:,} bytes after N s",
    ]


async def test_a_list_that_is_left_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """Where the reader stops, the end of the answer is that it was left."""
    async with (
        Emulator(jobs_per_project=5000) as emulator,
        AsyncPlangrep(emulator.api_key, base_url=emulator.base_url) as client,
        aclosing(client.list_jobs(*emulator.project_ids)) as jobs,
    ):
        await anext(jobs)
        await jobs.aclose()
        (_, end) = lines(caplog)
    assert re.search(r"/jobs: left early, [\d,]+ bytes after N s$", end)


async def test_failures_are_logged_by_their_kind(caplog: pytest.LogCaptureFixture) -> None:
    """A refusal is its status; an answer that breaks off says so; nothing of a body is told."""
    patience = RetryPolicy(attempts=1)
    async with (
        Emulator(jobs_per_project=300) as emulator,
        AsyncPlangrep(emulator.api_key, base_url=emulator.base_url, retry=patience) as client,
    ):
        (project_id,) = emulator.project_ids
        emulator.faults[project_id] = [Fault(status=501), Fault(cut_after_bytes=50_000)]
        with pytest.raises(Exception, match="501"):
            _ = [job async for job in client.list_jobs(project_id)]
        with pytest.raises(IncompleteResponse):
            _ = [job async for job in client.list_jobs(project_id)]
        what = f"GET {emulator.base_url}/projects/{project_id}/jobs"
    assert lines(caplog) == [
        f"{what}: 501 after N s",
        f"{what}: 200 after N s",
        f"{what}: broke off, 50,000 bytes after N s",
    ]


async def test_no_answer_is_logged(
    caplog: pytest.LogCaptureFixture, connect: Callable[..., AsyncPlangrep]
) -> None:
    """A connection that is lost before there are headers is a line for each attempt."""

    async def leave(conn: Connection) -> None:
        conn.close()

    async with RawServer(leave) as server, connect(server.base_url) as client:
        with pytest.raises(ConnectionFailed):
            await anext(client.list_jobs(PROJECT))
        what = f"GET {server.base_url}/projects/{PROJECT}/jobs"
    assert lines(caplog) == [f"{what}: ConnectionFailed after N s"] * 3


async def test_nothing_is_logged_at_other_levels(caplog: pytest.LogCaptureFixture) -> None:
    """A logger that is not at DEBUG gets no line of a request that goes well."""
    caplog.set_level(logging.INFO, "plangrep_async")
    async with (
        Emulator(jobs_per_project=3) as emulator,
        AsyncPlangrep(emulator.api_key, base_url=emulator.base_url) as client,
    ):
        assert len([job async for job in client.list_jobs(*emulator.project_ids)]) == 3
    assert [one for one in caplog.records if one.name == "plangrep_async"] == []
