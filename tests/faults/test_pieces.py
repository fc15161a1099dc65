"""Documents in tiny pieces, and with something behind them (rows B13 and B15)."""

import asyncio
import gzip
import json
from typing import Any

import pytest

from plangrep_async import InvalidResponse, Job
from plangrep_async.converter import make_converter
from tests.conftest import PROJECT, wire_job
from tests.faults.bodies import BODY, GZIP, IDS, ONCE, PATIENT, Connect, read
from tests.faults.streams import nothing_left, slots
from tests.raw_server import CHUNKED, Connection, RawServer, chunked, head, response
from tests.toxic_proxy import Toxic, ToxicProxy

# Each of them is split at every byte: UTF-8 of two to four bytes, escapes, a surrogate pair, text
# that looks like the end of a job, numbers, literals.
CHANGES: list[dict[str, Any]] = [
    {"externalId": "é€🙂", "pageCount": 1234567890, "x": [True, False, None, -1.5e-10]},
    {"externalId": '"}],[{\\\b\t\u2028', "files": [{"id": '"},{', "fileName": "]}]\\"}, {}]},
    {"status": "🙂", "error": {"code": "\x7f", "message": '\\\\"', "x": {"jobs": [{}]}}},
]
LAYOUTS: dict[str, dict[str, Any]] = {
    "as it is": {"ensure_ascii": False, "separators": (",", ":")},
    "escaped": {"indent": 1},
}


@pytest.mark.fault("B13")
@pytest.mark.parametrize("framing", ["length", "chunks", "gzip"])
@pytest.mark.parametrize("layout", LAYOUTS)
async def test_a_list_that_comes_byte_by_byte_is_the_list(
    connect: Connect, layout: str, framing: str
) -> None:
    """Over a socket that gives one byte at a time the jobs are those that `json` finds."""
    wire = [wire_job(number, **changes) for number, changes in enumerate(CHANGES)]
    body = json.dumps({"x": "🙂", "jobs": wire, "y": [1]}, **LAYOUTS[layout]).encode()
    messages = {
        "length": response(body),
        "chunks": head(headers=[CHUNKED]) + chunked([bytes([byte]) for byte in body]),
        "gzip": response(gzip.compress(body), headers=[GZIP]),
    }

    async def send(conn: Connection) -> None:
        await conn.send(messages[framing])

    async with (
        RawServer([send]) as server,
        ToxicProxy(server.port, [Toxic(slice_bytes=1)]) as proxy,
        connect(proxy.base_url, retry=ONCE, timeout=PATIENT) as client,
    ):
        jobs = [job async for job in client.list_jobs(PROJECT)]
        converter = make_converter()
        assert jobs == [converter.structure(job, Job) for job in json.loads(body)["jobs"]]
        assert proxy.bytes_forwarded == len(messages[framing])
        assert len(server.requests) == 1


BEHIND = {
    "a letter": b"x",
    "NUL": b"\0",
    "no UTF-8": b"\xff",
    "a bracket": b"}",
    "a list's end": b"]}",
    "a comma": b",",
    "an object": b"{}",
    "a number": b" 0",
    "the same document": b"\n" + BODY,
    "a beginning": b" \r\n{",
    "no white space": b"\x0b",
    "white space of Unicode": "\u2028".encode(),
}
WHITE_SPACE = [b" ", b"\n", b"\r\n\t ", b" " * 5000]


class Answer:
    """Sends `BODY` and what stands behind it, which may come when all jobs have been taken."""

    def __init__(self, behind: bytes, framing: str, *, at_once: bool) -> None:
        length = ("Content-Length", str(len(BODY) + len(behind)))
        self._start = head(headers=[length] if framing == "length" else []) + BODY
        self._behind = behind
        self._framing = framing
        self._at_once = at_once
        self.taken: asyncio.Queue[str] = asyncio.Queue()

    async def __call__(self, conn: Connection) -> None:
        """Answer a request."""
        if self._at_once:
            await conn.send(self._start + self._behind)
        else:
            await conn.send(self._start)
            for _ in IDS:
                await self.taken.get()
            await conn.send(self._behind)
        if self._framing == "connection":
            conn.close()


framings = pytest.mark.parametrize("framing", ["length", "connection"])
packets = pytest.mark.parametrize("at_once", [True, False], ids=["one packet", "two packets"])


@pytest.mark.fault("B15")
@framings
@packets
@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
async def test_what_stands_behind_the_document_is_an_error(
    connect: Connect, behind: bytes, framing: str, *, at_once: bool
) -> None:
    """After all jobs it is an `InvalidResponse`, once: neither an end nor another document."""
    answer = Answer(behind, framing, at_once=at_once)
    async with (
        nothing_left(),
        RawServer([answer]) as server,
        connect(server.base_url, timeout=PATIENT) as client,
    ):
        ids, error = await read(client, answer.taken)
        assert (ids, type(error)) == (IDS, InvalidResponse)
        assert len(server.requests) == server.connections == 1
        assert slots(client) == 0


@pytest.mark.fault("B15")
@framings
@packets
@pytest.mark.parametrize("space", WHITE_SPACE, ids=lambda space: f"{len(space)} bytes")
async def test_white_space_behind_the_document_is_none(
    connect: Connect, space: bytes, framing: str, *, at_once: bool
) -> None:
    """The stream ends normally, and leaves a connection with a length for the next one."""
    answers = [Answer(space, framing, at_once=at_once) for _ in range(2)]
    async with (
        nothing_left(),
        RawServer(answers) as server,
        connect(server.base_url, retry=ONCE, timeout=PATIENT) as client,
    ):
        for answer in answers:
            assert await read(client, answer.taken) == (IDS, None)
        assert server.connections == (1 if framing == "length" else 2)
        assert slots(client) == 0
