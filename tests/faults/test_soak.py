"""Thousands of requests, every fifth with a fault: what a long-lived client may keep of them."""

import asyncio
import gc
import logging
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import psutil
import pytest

from plangrep_async import AsyncPlangrep, PlangrepError, RetryPolicy, Timeouts
from tests.conftest import document
from tests.faults.streams import IDS, JOBS, pooled, slots, turns
from tests.raw_server import CHUNKED, Connection, RawServer, Script, chunked, head, response

Connect = Callable[..., AsyncPlangrep]

WAVES, WARM_UP, LISTS, WORKERS = 9, 4, 220, 20
BODY = document(JOBS[:12])
WANTED = IDS[:12]
HALF = len(BODY) // 2


async def refuse(conn: Connection) -> None:
    await conn.send(response(b'{"error":"busy"}', status=503))


async def throttle(conn: Connection) -> None:
    await conn.send(response(status=429, headers=[("Retry-After", "0")]))


async def hang_up(conn: Connection) -> None:
    conn.close()


async def reset(conn: Connection) -> None:
    conn.reset()


async def babble(conn: Connection) -> None:
    await conn.send(b"HTTP/9.9 canary\r\n\r\n")
    conn.close()


async def stall(conn: Connection) -> None:
    await conn.send(head(headers=[CHUNKED]) + chunked([BODY[:HALF]], terminator=False))
    await conn.stall()


async def bad_chunk(conn: Connection) -> None:
    await conn.send(head(headers=[CHUNKED]) + chunked([BODY[:HALF]], terminator=False))
    await asyncio.sleep(0.001)
    await conn.send(b"canary\r\n")


async def cut(conn: Connection) -> None:
    await conn.send(head(headers=[("Content-Length", str(len(BODY)))]) + BODY[:HALF])
    conn.close()


async def reset_in_body(conn: Connection) -> None:
    await conn.send(head(headers=[CHUNKED]) + chunked([BODY[:HALF]], terminator=False))
    await asyncio.sleep(0.001)
    conn.reset()


FAULTS = [refuse, throttle, hang_up, reset, babble, stall, bad_chunk, cut, reset_in_body]


def moody(chance: random.Random, served: Counter[str]) -> Script:
    """Answer four requests of five as they should be, and the fifth with a fault."""

    async def answer(conn: Connection) -> None:
        served["requests"] += 1
        if chance.random() < 0.2:
            fault = chance.choice(FAULTS)
            served[fault.__name__] += 1
            await fault(conn)
        else:
            await conn.send(response(BODY))

    return answer


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


@attrs.frozen
class Sample:
    """What a process has at a quiet moment."""

    descriptors: int
    tasks: int
    resident_bytes: int
    objects: int


async def quiet(server: RawServer, client: AsyncPlangrep) -> Sample:
    """End the connections that wait in the pool, forget the server's records, and look."""
    assert slots(client) == 0
    await server.wait_until(
        lambda: sum(conn.ended is None for conn in server.accepted) == pooled(client)
    )
    for conn in server.accepted:
        conn.close()
    await asyncio.gather(*server._tasks)
    for record in (server._tasks, server.accepted, server.requests):
        record.clear()
    await turns(20)
    gc.collect()
    process = psutil.Process()
    return Sample(
        descriptors=process.num_fds(),
        tasks=len(asyncio.all_tasks()),
        resident_bytes=process.memory_info().rss,
        objects=len(gc.get_objects()),
    )


@pytest.mark.fault("L8")
@pytest.mark.slow
async def test_thousands_of_requests_with_faults_leave_nothing_behind(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Descriptors, tasks, objects and memory of a client stay as they were after a warm-up."""
    caplog.set_level(logging.ERROR, logger="plangrep_async")  # or pytest would keep every retry
    chance, served, outcomes = random.Random(8), Counter[str](), Counter[str]()
    options: dict[str, Any] = {
        "retry": RetryPolicy(attempts=4, first_wait=0.001, max_wait=0.002),
        "timeout": Timeouts(connect=5, read=0.15),
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
