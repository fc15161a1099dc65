"""Programs that use a client, run as programs; and the server they talk to."""

import asyncio
import signal
import sys

from tests.conftest import document
from tests.faults.streams import JOBS, stall_after
from tests.raw_server import Connection, RawServer, response

PRELUDE = """
import asyncio, gc, logging, os, signal, sys
from plangrep_async import AsyncPlangrep, ConfigurationError, RetryPolicy, Timeouts

signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where tests run
logging.getLogger("asyncio").setLevel(logging.ERROR)  # "Executing … took 0.1 seconds" is none
kept = []

def connect():
    options = {"timeout": Timeouts(read=2), "retry": RetryPolicy(attempts=2)}
    return AsyncPlangrep("pgk_tests", base_url=sys.argv[1], **options)

async def ids(client, project_id="whole"):
    return [job.id async for job in client.list_jobs(project_id)]

async def begin(client):
    kept.append(client.list_jobs("stalls"))
    return await anext(kept[-1])

def fork(function, *arguments):
    child = os.fork()
    if child == 0:
        try:
            function(*arguments)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
"""


async def by_project(conn: Connection) -> None:
    """Answer as the project is called."""
    match conn.request.target.split("/")[2]:
        case "stalls":
            await stall_after(2)(conn)
        case "silent":
            await conn.stall()
        case "busy":
            await conn.send(response(status=503, headers=[("Retry-After", "60")]))
        case _:
            await conn.send(response(document(JOBS)))


async def run(
    program: str, server: RawServer, *, interrupted: bool = False
) -> tuple[int | None, str, str]:
    """Run a program with every warning an error; give its exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-W", "error", "-c", PRELUDE + program, server.base_url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(20):
            if interrupted:
                await server.wait_until(lambda: len(server.requests) > 0, timeout=20)
                await asyncio.sleep(0.1)  # until it waits again
                process.send_signal(signal.SIGINT)
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, out.decode(), err.decode()
