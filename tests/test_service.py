"""The README's web service, served by a real uvicorn: what its visitors get and what it costs."""

import asyncio
import json
import logging
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from plangrep_async import AsyncPlangrep, PlangrepError, RetryPolicy, Timeouts
from plangrep_async._stream import JobReader
from plangrep_async.emulator import Emulator, Fault
from plangrep_async.service import NdjsonStream
from tests.conftest import KEY, PROJECT, document
from tests.faults.streams import IDS, JOBS, nothing_left, slots, stall, stall_after
from tests.faults.test_web import endless
from tests.raw_server import CHUNKED, Connection, RawServer, Script, chunked, head, json_response
from tests.secrets import watched_log
from tests.web import Visitor, served, service_block, service_module, visit

CURRENT = f"/projects/{PROJECT}/current"
NEWEST = f"/projects/{PROJECT}/jobs"
EVERY = f"/projects/{PROJECT}/jobs.ndjson"

SHORT = Timeouts(connect=0.2, read=0.2), RetryPolicy(attempts=2, first_wait=0.001, budget=1)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Serve the README's service on top of an API; the value is the port and its client."""

    @asynccontextmanager
    async def serve(
        base_url: str, *, api_key: str = KEY, patience: Any = SHORT
    ) -> AsyncIterator[tuple[int, AsyncPlangrep]]:
        monkeypatch.setenv("PLANGREP_API_KEY", api_key)
        monkeypatch.setenv("PLANGREP_BASE_URL", base_url)
        module = service_module()
        module.PATIENCE = patience
        async with served(module.app) as port:
            yield port, module.app.state.plangrep

    return serve


async def get(port: int, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as browser:
        return await browser.get(path)


def answer(status: int, *headers: tuple[str, str]) -> Script:
    async def refuse(conn: Connection) -> None:
        error = {"code": "its_code", "message": f"{KEY} said something"}
        await conn.send(json_response(error, status=status, headers=headers))

    return refuse


async def whole(conn: Connection) -> None:
    await conn.send(json_response({"jobs": JOBS}))


async def no_jobs(conn: Connection) -> None:
    await conn.send(json_response({"something": "else"}))


async def reset(conn: Connection) -> None:
    conn.reset()


async def test_the_block_runs_as_a_program(tmp_path: Path) -> None:
    """Served by uvicorn's own command, with warnings as errors, it answers and ends in order."""
    (tmp_path / "service.py").write_text(service_block())
    command = ["-X", "dev", "-W", "error", "-m", "uvicorn", "--port", "0", "service:app"]
    async with Emulator(projects=2, jobs_per_project=150) as emulator:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            cwd=tmp_path,
            env={
                **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
                "PLANGREP_API_KEY": emulator.api_key,
                "PLANGREP_BASE_URL": emulator.base_url,
            },
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stderr is not None
            text = ""
            while not (found := re.search(r"running on http://127\.0\.0\.1:(\d+)", text)):
                line = await process.stderr.readline()
                assert line, text
                text += line.decode()
            port, project = int(found[1]), emulator.project_ids[0]
            expected = list(emulator.jobs(project))
            current = await get(port, f"/projects/{project}/current")
            newest = await get(port, f"/projects/{project}/jobs")
            every = await get(port, f"/projects/{project}/jobs.ndjson")
            missing = await get(port, "/projects/proj_of_somebody_else/jobs.ndjson")
            strange = await get(port, "/projects/%2e%2e/jobs")
        finally:
            process.send_signal(signal.SIGTERM)
            _, rest = await process.communicate()
    for job in expected:
        del job["resultUrl"]
    assert current.json() == {"job": next(job for job in expected if job["completedAt"] is None)}
    assert newest.json() == {"jobs": expected[:20]}
    assert every.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in every.iter_lines()] == expected
    assert missing.status_code == 404
    assert strange.status_code == 422
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Error" not in text + rest.decode()
    assert "Warning" not in text + rest.decode()


@pytest.mark.parametrize(
    ("script", "status", "wait"),
    [
        (answer(401), 500, None),
        (answer(403), 500, None),
        (answer(404), 404, None),
        (answer(422), 502, None),
        (answer(429, ("Retry-After", "120")), 429, "120"),
        (answer(503, ("Retry-After", "120")), 503, "120"),
        (answer(500), 502, None),
        (stall, 504, None),
        (reset, 502, None),
        (no_jobs, 502, None),
    ],
)
async def test_what_fails_before_the_first_job_has_its_status(
    service: Any, script: Script, status: int, wait: str | None
) -> None:
    """One handler answers for each route, the streaming one too, and tells nothing of ours."""
    async with RawServer(script) as upstream, service(upstream.base_url) as (port, _):
        answers = [await get(port, path) for path in (NEWEST, EVERY, CURRENT)]
    for got in answers:
        assert got.status_code == status
        assert got.headers.get("retry-after") == wait
        assert got.headers["cache-control"] == "no-store"
        assert list(got.json()["error"]) == ["code", "message"]
        assert not any(word in got.text for word in (KEY, upstream.base_url, "said", "its_code"))


async def test_an_error_in_mid_stream_looks_like_no_end(
    service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer was 200 already: a last line says what failed, and the answer breaks off."""

    async def cut(conn: Connection) -> None:
        await conn.send(head(headers=[CHUNKED]) + chunked([document(JOBS)[:-1]], terminator=False))
        conn.close()

    got: list[bytes] = []

    async def read(response: httpx.Response) -> None:
        async for data in response.aiter_bytes():
            got.append(data)  # noqa: PERF401  # what came before an error counts

    async with (
        RawServer(cut) as upstream,
        service(upstream.base_url) as (port, _),
        httpx.AsyncClient(trust_env=False) as browser,
        browser.stream("GET", f"http://127.0.0.1:{port}{EVERY}") as response,
    ):
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            await read(response)
    *jobs, last = map(json.loads, b"".join(got).splitlines())
    assert [job["id"] for job in jobs] == IDS
    assert last["failure"]["code"] == "upstream_invalid"
    assert any(record.name == "uvicorn.error" for record in caplog.records)  # its author sees it


async def read_nothing(_: Visitor) -> None:
    """Do not even wait for the head of the answer."""


async def read_head(visitor: Visitor) -> None:
    assert await visitor.status() == 200


async def test_visitors_share_one_request(service: Any) -> None:
    """All who ask for a project within five seconds get the answer to one question."""
    async with RawServer([whole]) as upstream, service(upstream.base_url) as (port, _):
        at_once = await asyncio.gather(*(get(port, NEWEST) for _ in range(20)))
        later = await get(port, NEWEST)
    assert {got.status_code for got in (*at_once, later)} == {200}
    assert {got.text for got in at_once} == {later.text}
    assert len(upstream.requests) == 1


@pytest.mark.fault("L10")
@pytest.mark.parametrize(
    ("script", "read"),
    [(stall, read_nothing), (stall_after(2), read_head), (endless, read_head)],
    ids=["before the first job", "between jobs", "who does not read"],
)
async def test_a_visitor_who_leaves_closes_the_upstream(
    service: Any, script: Script, read: Callable[[Visitor], Awaitable[None]]
) -> None:
    """At once, whichever of the two the service is waiting for."""
    patience = Timeouts(read=30), RetryPolicy()
    async with (
        nothing_left(),
        RawServer([script], send_buffer_bytes=64 * 1024) as upstream,
        service(upstream.base_url, patience=patience) as (port, client),
    ):
        async with visit(port, EVERY) as visitor:
            await read(visitor)
            await upstream.wait_until(lambda: len(upstream.requests) == 1)
            if script is endless:
                await no_more_is_read(client)
            assert upstream.accepted[0].ended is None
        await upstream.wait_closed_by_client(0, timeout=2)  # it takes one or two milliseconds
        assert slots(client) == 0


async def no_more_is_read(client: AsyncPlangrep) -> int:
    """Wait until a client has stopped reading its one stream; return how many bytes it read."""
    (reader,) = (one for one in client._lifetime._streams if isinstance(one, JobReader))
    before, now = -1, 0
    while before != now:
        await asyncio.sleep(0.1)
        before, now = now, reader.bytes_read
    return now


async def test_a_visitor_who_does_not_read_stops_the_upstream(service: Any) -> None:
    """Of a list without an end the service takes some hundred KiB, and goes on when asked to."""
    async with (
        RawServer([endless], send_buffer_bytes=64 * 1024) as upstream,
        service(upstream.base_url) as (port, client),
        visit(port, EVERY) as visitor,
    ):
        assert await visitor.status() == 200
        read = await no_more_is_read(client)
        assert 0 < read < 1 << 20
        for _ in range(3 * read // 1024):
            await visitor.reader.readexactly(1024)
        assert await no_more_is_read(client) > read


async def test_starlette_alone_is_served_by_the_same_parts(connect: Any) -> None:
    """The README's handler and response need nothing of FastAPI's."""
    module = service_module()

    async def every(request: Request) -> Any:
        return module.JobLines(NdjsonStream(client.list_jobs(request.path_params["project_id"])))

    app = Starlette(
        routes=[Route("/projects/{project_id}/jobs.ndjson", every)],
        exception_handlers={PlangrepError: module.answer_failure},
    )
    async with (
        nothing_left(),
        RawServer([whole, answer(404), stall_after(2)]) as upstream,
        connect(upstream.base_url) as client,
        served(app) as port,
    ):
        every_job, missing = await get(port, EVERY), await get(port, EVERY)
        async with visit(port, EVERY) as visitor:
            assert await visitor.status() == 200
        await upstream.wait_closed_by_client(-1, timeout=2)
    assert [json.loads(line)["id"] for line in every_job.iter_lines()] == IDS
    assert missing.status_code == 404


async def test_the_log_of_a_service_tells_retries_and_no_secret(
    service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Each retry is a line of `plangrep_async` at INFO; at DEBUG nobody logs a key or a token."""
    caplog.set_level(logging.DEBUG)
    async with Emulator(jobs_per_project=50) as emulator:
        project = emulator.project_ids[0]
        token = next(job["resultUrl"] for job in emulator.jobs(project) if job["resultUrl"])
        emulator.faults[project] = [
            Fault(status=503),
            Fault(cut_after_bytes=9_000),
            Fault(),
            Fault(status=500, times=2),
        ]
        with watched_log(emulator.api_key, token.partition("?")[2]) as watch:
            async with service(emulator.base_url, api_key=emulator.api_key) as (port, _):
                every = await get(port, f"/projects/{project}/jobs.ndjson")
                newest = await get(port, f"/projects/{project}/jobs")
    assert (every.status_code, every.text.count("\n")) == (200, 50)
    assert newest.status_code == 502
    assert watch.leaks == []
    told = [record for record in caplog.records if record.name == "plangrep_async"]
    retries = [record.getMessage() for record in told if record.levelno >= logging.INFO]
    assert [line.partition(" failed")[0] for line in retries] == ["attempt 1"] * 3
    (line,) = [record for record in caplog.records if record.name == "my_service"]
    assert line.levelname == "ERROR"
    assert "answered 500" in line.getMessage()
