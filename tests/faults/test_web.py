"""A web application that streams jobs on to its visitors, behind a real server (uvicorn)."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from plangrep_async import AsyncPlangrep, Timeouts
from tests.conftest import PROJECT, wire_job
from tests.faults.streams import IDS, JOBS, nothing_left, slots, stall_after
from tests.raw_server import CHUNKED, Connection, RawServer, Script, chunked, head
from tests.test_resuming import whole
from tests.web import served

Connect = Callable[..., AsyncPlangrep]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def endless(conn: Connection) -> None:
    """Send jobs, older and older, for as long as someone takes them."""
    await conn.send(head(headers=[CHUNKED]) + chunked([b'{"jobs":['], terminator=False))
    for number in range(1_000_000):
        job = json.dumps(wire_job(number)).encode() + b","
        await conn.send(chunked([job], terminator=False))


class Application:
    """Answers each request with the jobs of a project, a line each, as a streaming response does.

    A disconnect is only heard of by who listens: one task waits for it, one sends, and whichever
    ends first ends the other.
    """

    def __init__(self, client: AsyncPlangrep) -> None:
        self.client = client
        self.ends: list[str] = []

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Be an ASGI 3 application."""
        sending = asyncio.create_task(self._send_jobs(send))
        listening = asyncio.create_task(self._listen(receive))
        await asyncio.wait([sending, listening], return_when=asyncio.FIRST_COMPLETED)
        self.ends.append("sent" if sending.done() else "left")
        for task in (sending, listening):
            task.cancel()
        await asyncio.gather(sending, listening, return_exceptions=True)

    async def _send_jobs(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async for job in self.client.list_jobs(PROJECT):
            line = json.dumps({"id": job.id}).encode() + b"\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


@pytest.mark.fault("L10")
@pytest.mark.parametrize(
    ("script", "last_read"), [(endless, "job_000100"), (stall_after(2), IDS[1])]
)
async def test_a_visitor_who_leaves_ends_the_download(
    connect: Connect, script: Script, last_read: str
) -> None:
    """The connection to the API ends with the visitor's, whether jobs are coming or awaited."""
    async with (
        nothing_left(),
        RawServer([script], send_buffer_bytes=64 * 1024) as upstream,
        connect(upstream.base_url, timeout=Timeouts(read=30)) as client,
    ):
        application = Application(client)
        async with served(application, lifespan="off") as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(last_read.encode())
            assert upstream.accepted[0].ended is None
            writer.close()
            await upstream.wait_closed_by_client(0, timeout=2)  # it takes some milliseconds
            await writer.wait_closed()
        assert slots(client) == 0
        assert application.ends == ["left"]


@pytest.mark.fault("L10")
async def test_a_visitor_who_stays_gets_the_whole_list(connect: Connect) -> None:
    """The same application sends a list that ends to its end: it is the visitor that counts."""
    async with (
        nothing_left(),
        RawServer([whole(JOBS)]) as upstream,
        connect(upstream.base_url) as client,
    ):
        application = Application(client)
        async with served(application, lifespan="off") as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        assert re.findall(r"job_\d+", answer.decode()) == IDS
        assert application.ends == ["sent"]
