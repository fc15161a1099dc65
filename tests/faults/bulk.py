"""Servers of many projects, and what is read of them."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import unquote

from plangrep_async import AsyncPlangrep, Job, RetryPolicy, Timeouts
from tests.conftest import document, wire_job
from tests.raw_server import (
    CHUNKED,
    Connection,
    RawServer,
    Request,
    Script,
    chunked,
    head,
    response,
)

Connect = Callable[..., AsyncPlangrep]

PATIENT: dict[str, Any] = {  # a client that waits far longer than any test
    "timeout": Timeouts(connect=30, read=30),
    "retry": RetryPolicy(first_wait=30, max_wait=30),
}


def names(count: int) -> list[str]:
    """Make the ids of so many projects."""
    return [f"p{number:03}" for number in range(count)]


def project_in(request: Request) -> str:
    """Give the project whose jobs are asked for."""
    return unquote(request.target.split("/")[-2])


def project_of(conn: Connection) -> str:
    """Give the project whose jobs a connection asks for."""
    return project_in(conn.request)


def jobs_of(project_id: str, count: int) -> list[dict[str, Any]]:
    """Make the newest jobs of a project; those of no other one have their ids."""
    return [
        wire_job(number * 60, id=f"{project_id}-{number}", projectId=project_id)
        for number in range(count)
    ]


def ids_of(project_id: str, count: int) -> list[str]:
    """Give the ids of `jobs_of`."""
    return [job["id"] for job in jobs_of(project_id, count)]


def lists(count: int, *, delay: float = 0.0) -> Script:
    """Send so many jobs of whatever project is asked for, after so many seconds."""

    async def send_list(conn: Connection) -> None:
        await asyncio.sleep(delay)
        await conn.send(response(document(jobs_of(project_of(conn), count))))

    return send_list


def begins(count: int) -> Script:
    """Send so many jobs of whatever project is asked for, and then nothing more."""

    async def send_beginning(conn: Connection) -> None:
        part = document(jobs_of(project_of(conn), count))[:-2]
        await conn.send(head(headers=[CHUNKED]) + chunked([part], terminator=False))
        await conn.stall()

    return send_beginning


def refuses(status: int, *headers: tuple[str, str]) -> Script:
    """Answer with this status."""

    async def refuse(conn: Connection) -> None:
        await conn.send(response(b'{"error":"no"}', status=status, headers=headers))

    return refuse


def by_project(scripts: Mapping[str, Script], otherwise: Script) -> Script:
    """Serve some projects in ways of their own."""

    async def serve(conn: Connection) -> None:
        await scripts.get(project_of(conn), otherwise)(conn)

    return serve


def when_told(go_on: asyncio.Event, script: Script) -> Script:
    """Answer once the event is set."""

    async def wait(conn: Connection) -> None:
        await go_on.wait()
        await script(conn)

    return wait


def asked(server: RawServer) -> Counter[str]:
    """Count the requests by project."""
    return Counter(map(project_in, server.requests))


async def closed_by_client(server: RawServer, project_id: str) -> None:
    """Wait until the client has closed the connection of a project's first request."""
    first = next(request for request in server.requests if project_in(request) == project_id)
    await server.wait_closed_by_client(first.connection)


async def by_its_project(jobs: AsyncIterator[Job]) -> dict[str, list[str]]:
    """Read to the end; give the ids in order of arrival, by project."""
    seen = defaultdict(list)
    async for job in jobs:
        seen[job.project_id].append(job.id)
    return dict(seen)


async def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until it holds, at most a few seconds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # nobody could set an event
            await asyncio.sleep(0.001)
