"""A server of which every fifth answer is a fault, and what a process has beside it."""

import asyncio
import gc
import random
from collections import Counter

import attrs
import psutil

from plangrep_async import AsyncPlangrep
from tests.conftest import document
from tests.faults.streams import IDS, JOBS, pooled, slots, turns
from tests.raw_server import CHUNKED, Connection, RawServer, Script, chunked, head, response

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


@attrs.frozen
class Sample:
    """What a process has at a quiet moment."""

    sockets: int
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
    await asyncio.sleep(0.7)  # a timer that was cancelled stays in the loop until its moment
    gc.collect()
    process = psutil.Process()
    return Sample(
        sockets=len(process.net_connections()),
        descriptors=process.num_fds(),
        tasks=len(asyncio.all_tasks()),
        resident_bytes=process.memory_info().rss,
        objects=len(gc.get_objects()),
    )
