"""The emulator in a thread of its own: for tests without an event loop, and for any loop."""

import asyncio
import socket
import threading
import urllib.request

import pytest

from plangrep_async import AsyncPlangrep, RetryPolicy
from plangrep_async.emulator import Emulator, Fault, Limits
from tests.conftest import QUICK


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "plangrep-emulator"]


async def count(emulator: Emulator, retry: RetryPolicy = QUICK) -> int:
    """Count all jobs, with a client of the running loop."""
    async with (
        AsyncPlangrep(emulator.api_key, base_url=emulator.base_url, retry=retry) as client,
        client.list_jobs_many(emulator.project_ids) as jobs,
    ):
        return len([job async for job in jobs])


def test_it_serves_those_who_have_no_loop() -> None:
    """Inside `with` a blocking client is answered, and when it is left nothing goes on."""
    emulator = Emulator(jobs_per_project=20)
    with emulator:
        (project_id,) = emulator.project_ids
        request = urllib.request.Request(  # noqa: S310  # of a loopback address
            f"{emulator.base_url}/projects/{project_id}/jobs",
            headers={"Authorization": f"Bearer {emulator.api_key}"},
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            assert answer.read() == emulator.job_list_body(project_id)
        assert threads() == ["plangrep-emulator"]
    assert threads() == []
    with pytest.raises(RuntimeError, match="only inside"):
        _ = emulator.base_url


def test_it_serves_any_number_of_loops() -> None:
    """Each `asyncio.run` is another loop, and all are served."""
    with Emulator(projects=2, jobs_per_project=20) as emulator:
        assert [asyncio.run(count(emulator)) for _ in range(2)] == [40, 40]


async def test_it_may_be_entered_while_a_loop_runs() -> None:
    """A test that is asynchronous itself is served from the thread while it goes on."""
    with Emulator(projects=2, jobs_per_project=20) as emulator:
        assert await count(emulator) == 40


async def test_what_was_read_to_its_end_is_complete() -> None:
    """A record says so at once, though another thread writes it down."""
    with Emulator(jobs_per_project=3) as emulator:
        for _ in range(200):
            assert await count(emulator) == 3
            assert emulator.requests[-1].complete
        assert len(emulator.requests) == 200
        emulator.requests.clear()
        assert emulator.requests == []


async def test_faults_and_limits_may_be_set_while_it_serves() -> None:
    """What is set in one thread holds for the next request in the other."""
    with Emulator(jobs_per_project=500) as emulator:
        (project_id,) = emulator.project_ids
        emulator.faults[project_id] = [Fault(status=503), Fault(cut_after_bytes=50_000)]
        assert await count(emulator) == 500
        assert [one.status for one in emulator.requests] == [503, 200, 200]
        emulator.limits = Limits(requests_per_second=0.01)
        once = RetryPolicy(attempts=1)
        assert await count(emulator, once) == 500
        with pytest.raises(Exception, match="429"):
            await count(emulator, RetryPolicy(attempts=1, budget=0.1))


async def test_a_stalled_client_does_not_hold_it_up() -> None:
    """It ends while an answer is stalled in the middle."""
    with Emulator(jobs_per_project=500) as emulator:
        (project_id,) = emulator.project_ids
        emulator.faults[project_id] = [Fault(stall_after_bytes=10_000)]
        client = AsyncPlangrep(emulator.api_key, base_url=emulator.base_url)
        jobs = client.list_jobs(project_id)
        await anext(jobs)
    assert threads() == []
    await jobs.aclose()
    await client.aclose()


def test_a_port_that_is_in_use_is_an_error_here() -> None:
    """What goes wrong at its start is raised by `with`, and leaves no thread."""
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(OSError, match="in use"),
        Emulator(port=other.getsockname()[1]),
    ):
        pass
    assert threads() == []


def test_it_serves_once_at_a_time() -> None:
    """Entering it a second time is refused, and the first goes on."""
    with Emulator(jobs_per_project=3) as emulator:
        with pytest.raises(RuntimeError, match="serving already"), emulator:
            pass
        assert threads() == ["plangrep-emulator"]
        assert asyncio.run(count(emulator)) == 3
        assert emulator.requests[-1].complete
