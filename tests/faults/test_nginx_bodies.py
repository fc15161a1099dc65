"""Lists on their way through a real nginx: compressed there, and broken off (rows B)."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from plangrep_async import AsyncPlangrep, Job
from plangrep_async.converter import make_converter
from plangrep_async.emulator import Emulator
from tests.conftest import document
from tests.faults.streams import IDS, JOBS, nothing_left, slots, stall_after
from tests.nginx import Nginx
from tests.raw_server import CHUNKED, Connection, RawServer, Script, chunked, head, json_response
from tests.test_stream import ids
from tests.test_transport import answer

Connect = Callable[..., AsyncPlangrep]

JSON = ("Content-Type", "application/json")
WHOLE = answer(json_response({"jobs": JOBS}))


@pytest.mark.parametrize("buffering", ["on", "off"])
async def test_a_list_in_gzip_is_the_list(connect: Connect, tmp_path: Path, buffering: str) -> None:
    """What nginx compresses on the way arrives whole, each job equal to the server's."""
    converter = make_converter()
    async with nothing_left(), Emulator(jobs_per_project=300) as emulator:
        (project_id,) = emulator.project_ids
        lines = f"""
            proxy_pass {emulator.base_url.removesuffix("/api/open/v1")};
            proxy_buffering {buffering};
            gzip on; gzip_proxied any; gzip_types application/json;
        """
        async with (
            Nginx(tmp_path, lines) as nginx,
            connect(f"{nginx.base_url}/api/open/v1", api_key=emulator.api_key) as client,
        ):
            jobs = [job async for job in client.list_jobs(project_id)]
        assert jobs == [converter.structure(job, Job) for job in emulator.jobs(project_id)]
        (request,) = nginx.requests
        assert (request.status, request.content_encoding, request.completion) == (200, "gzip", "OK")
        assert request.body_bytes_sent < len(emulator.job_list_body(project_id)) / 3
        assert len(emulator.requests) == 1


def cut_after(count: int, end: str, *, in_chunks: bool) -> Script:
    """Send so many of `JOBS`, then end the connection."""
    body = document(JOBS)
    part = body[: body.index(IDS[count].encode())]
    data = head(headers=[JSON]) + part
    if in_chunks:
        data = head(headers=[JSON, CHUNKED]) + chunked([part], terminator=False)

    async def send(conn: Connection) -> None:
        await conn.send(data)
        await asyncio.sleep(0.02)  # a reset would overtake what nginx has not read yet
        getattr(conn, end)()

    return send


@pytest.mark.fault("B2", "B4")
@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("in_chunks", [True, False], ids=["chunks", "no length"])
@pytest.mark.parametrize("buffering", ["on", "off"])
@pytest.mark.parametrize("gzip", ["on", "off"])
async def test_a_cut_behind_nginx_gives_every_job_once(
    connect: Connect, tmp_path: Path, *, gzip: str, buffering: str, in_chunks: bool, end: str
) -> None:
    """A cut, which nginx may pass on as a clean end, costs one more request and no job."""
    lines = f"""
        proxy_http_version 1.1;
        proxy_buffering {buffering};
        gzip {gzip}; gzip_proxied any; gzip_types application/json;
    """
    async with (
        nothing_left(),
        RawServer([cut_after(17, end, in_chunks=in_chunks), WHOLE]) as upstream,
        Nginx(tmp_path, f"proxy_pass {upstream.base_url}; {lines}") as nginx,
        connect(nginx.base_url) as client,
    ):
        assert await ids(client) == IDS
        assert slots(client) == 0
    encoding = "gzip" if gzip == "on" else ""
    answers = [(request.status, request.content_encoding) for request in nginx.requests]
    assert answers == [(200, encoding), (200, encoding)]
    assert len(upstream.requests) == 2
    # Without a length nginx takes the FIN for the end of the list, and keeps our connection.
    first, second = nginx.requests
    is_silent = not in_chunks and end == "close"
    assert (first.connection == second.connection) == is_silent


@pytest.mark.fault("B2", "B12")
async def test_a_server_that_stalls_behind_nginx_costs_no_job(
    connect: Connect, tmp_path: Path
) -> None:
    """nginx gives up the silent server and cuts us off: the stream goes on in a second answer."""
    async with (
        nothing_left(),
        RawServer([stall_after(17), WHOLE]) as upstream,
        Nginx(tmp_path, f"proxy_pass {upstream.base_url}; proxy_read_timeout 50ms;") as nginx,
        connect(nginx.base_url) as client,
    ):
        assert await ids(client) == IDS
        await upstream.wait_closed_by_client(0)
    assert [request.status for request in nginx.requests] == [200, 200]
