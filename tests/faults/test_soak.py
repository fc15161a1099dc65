"""Thousands of requests, every fifth with a fault: what a long-lived client may keep of them."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from plangrep_async import AsyncPlangrep, PlangrepError, RetryPolicy, Timeouts
from tests.faults.moody import FAULTS, WANTED, Sample, moody, quiet
from tests.raw_server import RawServer

Connect = Callable[..., AsyncPlangrep]

WAVES, WARM_UP, LISTS, WORKERS = 9, 4, 220, 20


async def read(client: AsyncPlangrep, chance: random.Random) -> str:
    """Read a list to its end, or leave it; what was read must be the head of the right one."""
    seen: list[str] = []
    leave_at = chance.randrange(len(WANTED)) if chance.random() < 0.1 else None

    async def consume() -> None:
        async for job in client.list_jobs("soak"):
            seen.append(job.id)
            if len(seen) == leave_at:
                return
        assert seen == WANTED

    delivered = None
    try:
        if chance.random() < 0.05:
            await asyncio.wait_for(consume(), chance.random() / 200)
        else:
            await consume()
    except PlangrepError as error:
        delivered, outcome = error.delivered, type(error).__name__
    except TimeoutError:
        outcome = "cancelled"
    else:
        outcome = "left" if seen != WANTED else "complete"
    assert seen == WANTED[: len(seen)]
    assert delivered in {None, len(seen)}
    return outcome


@pytest.mark.fault("L8")
@pytest.mark.slow
@pytest.mark.timeout(150)  # its 429s set the pace
async def test_thousands_of_requests_with_faults_leave_nothing_behind(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Descriptors, tasks, objects and memory of a client stay as they were after a warm-up."""
    caplog.set_level(logging.ERROR, logger="plangrep_async")  # or pytest would keep every retry
    chance, served, outcomes = random.Random(8), Counter[str](), Counter[str]()
    options: dict[str, Any] = {
        "retry": RetryPolicy(attempts=2, first_wait=0.001, max_wait=0.002),
        "timeout": Timeouts(connect=0.5, read=0.15),
    }
    samples: list[Sample] = []
    async with (
        RawServer(moody(chance, served)) as server,
        connect(server.base_url, **options) as client,
    ):

        async def work() -> None:
            for _ in range(LISTS // WORKERS):
                outcomes[await read(client, chance)] += 1

        for _ in range(WAVES):
            await asyncio.gather(*(work() for _ in range(WORKERS)))
            samples.append(await quiet(server, client))
    warm = samples[WARM_UP - 1]
    for sample in samples[WARM_UP:]:
        assert (sample.descriptors, sample.tasks) == (warm.descriptors, warm.tasks)
        assert abs(sample.objects - warm.objects) < 300  # one in three requests
        assert sample.resident_bytes - warm.resident_bytes < 3 << 20
    faults = [served[fault.__name__] for fault in FAULTS]
    assert min(faults) > 10
    assert 0.15 < sum(faults) / served["requests"] < 0.25
    assert served["requests"] >= 2_000
    assert {"complete", "left", "cancelled", "IncompleteResponse"} <= set(outcomes)
