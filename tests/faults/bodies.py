"""A small list, every way to send it, and what must come of it when it is cut short."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from plangrep_async import AsyncPlangrep, IncompleteResponse, PlangrepError, RetryPolicy, Timeouts
from tests.conftest import PROJECT
from tests.faults.streams import nothing_left, slots
from tests.raw_server import Connection, RawServer

Connect = Callable[..., AsyncPlangrep]

ONCE = RetryPolicy(attempts=1)
AT_ONCE = RetryPolicy(attempts=3, first_wait=0.0)
PATIENT = Timeouts(read=10.0)  # for tests in which nothing is to run into it
GZIP = ("Content-Encoding", "gzip")
DEFLATE = ("Content-Encoding", "deflate")


def _job(number: int, **changes: Any) -> dict[str, Any]:
    """Make a job with few fields: the tests that use it cut at each byte."""
    at = f"2024-11-02T09:00:0{9 - number}Z"
    known = {"id": f"j{number}", "projectId": "p", "status": "failed"}
    return {**known, "createdAt": at, "updatedAt": at, **changes}


_FILES = [{"id": "f", "fileName": '"}],[{"'}, {"fileName": "\\"}]
_JOBS = [
    json.dumps(_job(0)),
    json.dumps(_job(1, externalId='é🙂 {"'), ensure_ascii=False, separators=(",", ":")),
    json.dumps(_job(2, externalId="é🙂\n", files=_FILES, pageCount=120)),
]
BODY = ('{"jobs":[' + ", ".join(_JOBS) + "]}").encode()
IDS = ["j0", "j1", "j2"]
_ENDS = [BODY.index(job.encode()) + len(job.encode()) for job in _JOBS]


def complete(body: bytes) -> list[str]:
    """Give the ids of the jobs that are whole in a beginning of `BODY`."""
    return [job_id for job_id, end in zip(IDS, _ENDS, strict=True) if end <= len(body)]


def after(count: int) -> bytes:
    """Give the beginning of `BODY` in which so many jobs are whole, and the next one is not."""
    return BODY[: _ENDS[count - 1] + 20] if count else BODY[:40]


def expected(body: bytes) -> tuple[list[str], type[Exception]]:
    """Give what must be delivered of a beginning of `BODY`, and the error that must follow."""
    return complete(body), IncompleteResponse if len(body) < len(BODY) else type(None)


def raw_deflate(data: bytes) -> bytes:
    """Compress without the header and checksum of zlib, as some servers do."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKED: dict[str, tuple[tuple[str, str], bytes, int]] = {
    # The header, the packed body, and how zlib is to read it.
    "gzip": (GZIP, gzip.compress(BODY, mtime=0), 16 + zlib.MAX_WBITS),
    "deflate": (DEFLATE, zlib.compress(BODY), zlib.MAX_WBITS),
    "raw deflate": (DEFLATE, raw_deflate(BODY), -zlib.MAX_WBITS),
}


def unpacked(name: str, part: bytes) -> bytes:
    """Give all that can be known from the beginning of a packed body."""
    return zlib.decompressobj(PACKED[name][2]).decompress(part)


async def read(
    client: AsyncPlangrep,
    taken: "asyncio.Queue[str] | None" = None,
    *,
    project_id: str = PROJECT,
) -> tuple[list[str], PlangrepError | None]:
    """Read a list; give the ids that were delivered and the error, which must know of them.

    Each id is put in `taken` as soon as it is here: for a server that waits for that.
    """
    ids: list[str] = []
    failure = None
    try:
        async for job in client.list_jobs(project_id):
            ids.append(job.id)
            if taken is not None:
                taken.put_nowait(job.id)
    except PlangrepError as error:
        failure = error
    if failure is not None:
        assert (failure.delivered, failure.last_job_id) == (len(ids), ids[-1] if ids else None)
        assert failure.project_id == project_id
    return ids, failure


async def read_each(
    connect: Connect, messages: Sequence[bytes], *, close: bool
) -> list[tuple[list[str], type[Exception]]]:
    """Read a list for each of the messages, with one server and one client and no retries.

    Gives, of each, the ids that were delivered and the type of the error. With `close` the server
    ends the connection behind each message, and else never does.
    """

    async def send(conn: Connection) -> None:
        await conn.send(messages[conn.request.number])
        if close:
            conn.close()

    outcomes = []
    async with (
        nothing_left(),
        RawServer(send) as server,
        connect(server.base_url, retry=ONCE, timeout=PATIENT) as client,
    ):
        for number in range(len(messages)):
            outcomes.append(await read(client))
            assert len(server.requests) == number + 1
            assert slots(client) == 0
        if close:
            assert server.connections == len(messages)
            assert {connection.ended for connection in server.accepted} == {"closed by server"}
    return [(ids, type(error)) for ids, error in outcomes]
