"""Streams whose client, session or connection goes away under them, and what a traceback shows."""

import asyncio
import gc
import warnings
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from plangrep_async import (
    AsyncPlangrep,
    ClientClosed,
    IncompleteResponse,
    InvalidResponse,
    PlangrepError,
    RetryPolicy,
    Timeouts,
)
from tests.conftest import PROJECT, document, wire_job
from tests.raw_server import CHUNKED, Connection, RawServer, chunked, head, response
from tests.secrets import leaks

Connect = Callable[..., AsyncPlangrep]

JOBS = [wire_job(number) for number in range(3_000)]
ONCE = RetryPolicy(attempts=1)


async def whole(conn: Connection) -> None:
    await conn.send(response(document(JOBS)))


async def stall_after_one(conn: Connection) -> None:
    await conn.send(head(headers=[CHUNKED]))
    await conn.send(chunked([document(JOBS[:1])[:-2]], terminator=False))
    await conn.stall()


@pytest.mark.fault("L2")
async def test_closing_twice_at_the_same_time(connect: Connect) -> None:
    """Overlapping calls of `aclose()` are one: the streams end once, and nothing else is raised."""
    async with RawServer([stall_after_one]) as server:
        client = connect(server.base_url, timeout=Timeouts(read=30))
        jobs = client.list_jobs(PROJECT)
        await anext(jobs)
        waiting = asyncio.ensure_future(anext(jobs))
        await asyncio.sleep(0.01)
        closings = [asyncio.create_task(client.aclose())]
        for _ in range(4):
            await asyncio.sleep(0)
            closings.append(asyncio.create_task(client.aclose()))
        assert await asyncio.gather(*closings) == [None] * 5
        with pytest.raises(ClientClosed):
            await waiting


async def test_a_stream_keeps_its_client_alive(connect: Connect) -> None:
    """A client of which only a stream is left goes on; dropped with it, it warns once."""
    async with RawServer([whole]) as server:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            jobs = [job async for job in connect(server.base_url).list_jobs(PROJECT)]
            gc.collect()
        assert len(jobs) == len(JOBS)
        assert ["was not closed" in str(one.message) for one in caught] == [True]


@pytest.mark.fault("L7")
async def test_a_borrowed_session_closed_in_mid_stream(connect: Connect) -> None:
    """Whoever closes their session under a stream gets one of our errors, and not aiohttp's."""
    async with RawServer([whole], send_buffer_bytes=16 * 1024) as server:
        session = aiohttp.ClientSession()
        client = connect(server.base_url, session=session)
        jobs = client.list_jobs(PROJECT)
        await anext(jobs)
        await session.close()
        with pytest.raises(ClientClosed) as caught:
            async for _ in jobs:
                pass
        assert caught.value.delivered > 0


@pytest.mark.fault("X7")
async def test_a_password_file_does_not_get_in_the_way(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `trust_env` a `.netrc` may name the host: the key is what is sent all the same."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password canary\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with RawServer([whole]) as server, connect(server.base_url, trust_env=True) as client:
        assert len([job async for job in client.list_jobs(PROJECT)]) == len(JOBS)
        assert server.requests[0].headers["Authorization"].startswith("Bearer pgk_")


@pytest.mark.fault("X4")
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (document(JOBS[:3])[:-400], IncompleteResponse),
        (document(JOBS[:3]) + b"canary", InvalidResponse),
        (b'{"jobs":[{"resultUrl":"?token=canary" oops}]}', InvalidResponse),
        (b'{"jobs":[' + document(JOBS[:1]) * 30 + b"]}", InvalidResponse),
        (b'{"other":"canary" oops,"jobs":[]}', InvalidResponse),
    ],
)
async def test_a_traceback_with_variables_shows_no_token(
    connect: Connect, body: bytes, expected: type[PlangrepError]
) -> None:
    """Frames of the library keep no bytes of an answer in a variable while an error passes."""

    async def send(conn: Connection) -> None:
        await conn.send(response(body, content_length=False))
        conn.close()

    async with (
        RawServer([send]) as server,
        connect(server.base_url, retry=ONCE, max_job_bytes=4096) as client,
    ):
        with pytest.raises(expected) as caught:
            async for _ in client.list_jobs(PROJECT):
                pass
    assert leaks(caught.value, "canary") == []
