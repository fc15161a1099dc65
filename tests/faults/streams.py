"""Streams that stop in the middle, and what they must not leave behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import psutil

from plangrep_async import AsyncPlangrep
from tests.conftest import document, wire_job
from tests.raw_server import CHUNKED, Connection, RawServer, Script, chunked, head

JOBS = [wire_job(number * 60) for number in range(40)]
IDS = [job["id"] for job in JOBS]


def stall_after(count: int) -> Script:
    """Send so many of `JOBS`, the last one whole, then nothing more; the connection stays open."""

    async def stall(conn: Connection) -> None:
        part = document(JOBS[:count])[:-2]
        await conn.send(head(headers=[CHUNKED]) + chunked([part], terminator=False))
        await conn.stall()

    return stall


async def stall(conn: Connection) -> None:
    """Send nothing at all."""
    await conn.stall()


async def turns(count: int = 5) -> None:
    """Let the event loop go round; whatever is ready to run has run then."""
    for _ in range(count):
        await asyncio.sleep(0)


def _connector(client: AsyncPlangrep) -> aiohttp.BaseConnector:
    assert client._lifetime.session._session is not None
    connector = client._lifetime.session._session.connector
    assert connector is not None
    return connector


def slots(client: AsyncPlangrep) -> int:
    """Count the connections that a client holds for an answer; those in the pool are free."""
    return len(_connector(client)._acquired)


def pooled(client: AsyncPlangrep) -> int:
    """Count the connections that a client keeps for the next request."""
    return sum(map(len, _connector(client)._conns.values()))


def tasks_but_of_servers() -> set[asyncio.Task[object]]:
    """Return the tasks that are left but those of raw servers, which see an end a little later."""
    return {task for task in asyncio.all_tasks() if not task.get_name().startswith("RawServer")}


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Demand that no task and no file descriptor of the block is left when it ends in order."""
    async with RawServer([]):  # uvloop opens a descriptor of its own with the first server
        pass
    process = psutil.Process()
    tasks, descriptors = asyncio.all_tasks(), process.num_fds()
    yield
    await turns()  # a socket is closed in the turn after its transport
    assert asyncio.all_tasks() == tasks
    assert process.num_fds() <= descriptors
