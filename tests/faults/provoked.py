"""Every class of error, provoked with the API key and a result's token near it.

The servers here say both, in every place of an answer and in escapes.
"""

import asyncio
import gzip
import json
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import trustme

from plangrep_async import AsyncPlangrep, RetryPolicy, Timeouts
from plangrep_async.errors import (
    ApiStatusError,
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    IncompleteResponse,
    InvalidJob,
    InvalidResponse,
    NotFound,
    PermissionDenied,
    PlangrepError,
    RateLimited,
    RequestTimeout,
    ServerError,
    TlsFailed,
    WaitTimeout,
)
from tests.conftest import KEY, PROJECT, document, wire_job
from tests.raw_server import CHUNKED, Connection, RawServer, Script, chunked, head, response

Connect = Callable[..., AsyncPlangrep]
Provoke = Callable[[Connect], Awaitable[None]]
Case = tuple[type[PlangrepError], Provoke]

TWICE = RetryPolicy(attempts=2, first_wait=0.0)
JOB = wire_job(0)
JOBS = document([JOB, wire_job(1)])
SAID = f"Bearer {KEY} may not read {JOB['resultUrl']}"
ESCAPED = b"".join(b"\\u%04x" % ord(character) for character in SAID)
ECHO = [
    *((name, SAID) for name in ("X-Request-Id", "Location", "Retry-After", "X-Authorization")),
    ("Set-Cookie", f"no name {KEY}=1"),
]


def sends(data: bytes) -> Script:
    async def send(conn: Connection) -> None:
        await conn.send(data)

    return send


async def close(conn: Connection) -> None:
    conn.close()


async def stall(conn: Connection) -> None:
    await conn.stall()


async def stall_after_a_job(conn: Connection) -> None:
    await conn.send(head(200, SAID, [*ECHO, CHUNKED]))
    await conn.send(chunked([JOBS[:-40]], terminator=False))
    await conn.stall()


async def read(client: AsyncPlangrep) -> None:
    async for _ in client.list_jobs(PROJECT):
        pass


def served(script: Script, **options: Any) -> Provoke:
    """Read the list of a server that answers with this script."""

    async def provoke(connect: Connect) -> None:
        options.setdefault("retry", TWICE)
        async with RawServer(script) as server, connect(server.base_url, **options) as client:
            await read(client)

    return provoke


def answered(body: bytes, *headers: tuple[str, str], status: int = 200, **options: Any) -> Provoke:
    """Read the list where the answer is this body, under headers with all secrets in them."""
    data = response(body, status=status, reason=SAID, headers=[*ECHO, *headers])
    return served(sends(data), timeout=Timeouts(read=10.0), **options)


def refused(**options: Any) -> Provoke:
    """Make a client with these options."""

    async def provoke(connect: Connect) -> None:
        connect(**{"base_url": "https://plangrep.com", **options})

    return provoke


async def refuse_the_id(connect: Connect) -> None:
    connect("https://plangrep.com").list_jobs("..")


async def refuse_tcp(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with connect(f"http://127.0.0.1:{port}") as client:
        await read(client)


async def refuse_tls(connect: Connect) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with RawServer([], ssl=context) as server, connect(server.base_url) as client:
        await read(client)


async def use_after_close(connect: Connect) -> None:
    client = connect("https://plangrep.com")
    await client.aclose()
    await read(client)


async def use_a_closed_session(connect: Connect) -> None:
    async with aiohttp.ClientSession() as session:
        client = connect("https://plangrep.com", session=session)
    await read(client)


async def close_between_jobs(connect: Connect) -> None:
    async with RawServer([stall_after_a_job]) as server, connect(server.base_url) as client:
        async for _ in client.list_jobs(PROJECT):
            await client.aclose()


async def close_under_a_reader(connect: Connect) -> None:
    async with RawServer([stall_after_a_job]) as server, connect(server.base_url) as client:
        jobs = client.list_jobs(PROJECT)
        await anext(jobs)
        reading = asyncio.ensure_future(anext(jobs))
        await asyncio.sleep(0.01)
        await client.aclose()
        await reading


def waited(script: Script) -> Provoke:
    """Wait for a job of a server that answers with this script, not for long."""

    async def provoke(connect: Connect) -> None:
        async with RawServer(script) as server, connect(server.base_url) as client:
            await client.wait_for_job(JOB["id"], timeout=0.05)

    return provoke


BODIES = {
    "JSON": json.dumps({"code": SAID, "message": SAID, "resultUrl": JOB["resultUrl"]}).encode(),
    "inner JSON": json.dumps({"job": JOB, "error": {"code": KEY, "message": SAID}}).encode(),
    "escapes": b'{"code":"%b","message":"%b"}' % (ESCAPED, ESCAPED),
    "slashes": json.dumps({"error": SAID}).replace("/", "\\/").encode(),
    "text": SAID.encode(),
    "long text": f"{'x' * 184} {KEY} {JOB['resultUrl']}".encode(),
    "HTML": f"<html><a href='{SAID}'>{SAID}</a></html>".encode(),
    "cut JSON": json.dumps({"message": SAID, "job": JOB}).encode()[:-2],
    "cut escapes": b'{"message":"%b' % ESCAPED,
}
STATUSES = {
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFound,
    422: ApiStatusError,
    429: RateLimited,
    503: ServerError,
}
BAD_OPTIONS: dict[str, Any] = {
    "base_url": "ftp://plangrep.com",
    "timeout": 3,
    "retry": 3,
    "max_job_bytes": 3,
    "converter": 3,
    "session": 3,
    "ssl": 3,
    "trace_configs": 3,
    "user_agent_suffix": "ü",
}
PROVOKED: dict[str, Case] = {
    **{
        f"{status}, {kind}": (expected, answered(body, status=status))
        for status, expected in STATUSES.items()
        for kind, body in BODIES.items()
    },
    **{
        f"200, {kind}": (IncompleteResponse if "cut" in kind else InvalidResponse, answered(body))
        for kind, body in BODIES.items()
    },
    "204": (InvalidResponse, answered(b"", status=204)),
    "307": (InvalidResponse, answered(SAID.encode(), status=307)),
    "encoding": (InvalidResponse, answered(JOBS, ("Content-Encoding", "br"))),
    "encoding, secret": (InvalidResponse, answered(JOBS, ("Content-Encoding", KEY))),
    "gzip": (
        InvalidResponse,
        answered(gzip.compress(JOBS)[:-8] + bytes(8), ("Content-Encoding", "gzip")),
    ),
    "member": (InvalidResponse, answered(json.dumps({SAID: SAID}).encode())),
    "head": (InvalidResponse, answered(b'{"other":"%b" oops,"jobs":[]}' % SAID.encode())),
    "list, text": (InvalidResponse, answered(json.dumps({"jobs": SAID}).encode())),
    "list, object": (InvalidResponse, answered(json.dumps({"jobs": JOB}).encode())),
    "first job": (InvalidResponse, answered(b'{"jobs":[{"resultUrl":"%b" oops}]}' % ESCAPED)),
    "second job": (InvalidResponse, answered(JOBS.replace(b'"job_000001"', b"oops"))),
    "huge job": (InvalidResponse, answered(document([JOB, [JOB] * 40]), max_job_bytes=4096)),
    "behind the list": (InvalidResponse, answered(JOBS[:-1] + b',"x":"%b" oops}' % ESCAPED)),
    "behind the root": (InvalidResponse, answered(JOBS + SAID.encode())),
    "second list": (InvalidResponse, answered(JOBS[:-1] + b',"x":"%b",' % ESCAPED + JOBS[1:])),
    "job, id": (InvalidJob, answered(document([JOB, {**JOB, "id": {SAID: SAID}}]))),
    "job, URL": (InvalidJob, answered(document([{**JOB, "resultUrl": [JOB["resultUrl"]]}]))),
    "job, time": (InvalidJob, answered(document([{**JOB, "createdAt": SAID, SAID: SAID}]))),
    "job, text": (InvalidJob, answered(document([SAID]))),
    "cut before a job": (IncompleteResponse, answered(JOBS[:300])),
    "cut after a job": (IncompleteResponse, answered(JOBS[:-40])),
    "stall after a job": (IncompleteResponse, served(stall_after_a_job)),
    "stall": (RequestTimeout, served(stall)),
    "no answer": (ConnectionFailed, served(close)),
    "no HTTP": (ConnectionFailed, served(sends(f"SSH-{SAID}\r\n\r\n".encode()))),
    "no status": (ConnectionFailed, served(sends(f"HTTP/1.1 {SAID}\r\n\r\n".encode()))),
    "no header": (ConnectionFailed, served(sends(f"HTTP/1.1 200 OK\r\n{SAID}\r\n\r\n".encode()))),
    "no TCP": (ConnectionFailed, refuse_tcp),
    "no TLS": (TlsFailed, refuse_tls),
    "closed": (ClientClosed, use_after_close),
    "closed session": (ClientClosed, use_a_closed_session),
    "closed between jobs": (ClientClosed, close_between_jobs),
    "closed under a reader": (ClientClosed, close_under_a_reader),
    "no end of a job": (
        WaitTimeout,
        waited(sends(response(json.dumps({"job": {**JOB, "status": "processing"}}).encode()))),
    ),
    "no answer about a job": (WaitTimeout, waited(stall)),
    "id": (ConfigurationError, refuse_the_id),
    "key": (ConfigurationError, refused(api_key=f"{KEY}\n")),
    "key, bytes": (ConfigurationError, refused(api_key=KEY.encode())),
    "key, asked": (ConfigurationError, served(stall, api_key=lambda: f"{KEY}\n")),
    "user": (ConfigurationError, refused(base_url=f"https://user:{KEY}@plangrep.com")),
    "query": (ConfigurationError, refused(base_url=f"https://plangrep.com?key={KEY}")),
    **{
        f"option, {name}": (ConfigurationError, refused(**{name: value}))
        for name, value in BAD_OPTIONS.items()
    },
}
