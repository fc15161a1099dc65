"""Answers that mean something wrong, and what a client, and its decoder alone, make of them."""

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from plangrep_async import AsyncPlangrep, Job, PlangrepError
from plangrep_async._elements import array_decoder
from plangrep_async.converter import InvalidElement, make_converter
from tests.conftest import PROJECT, TOKEN, wire_job
from tests.faults.streams import nothing_left
from tests.raw_server import Connection, RawServer, response
from tests.secrets import leaks
from tests.test_elements import plain_converter
from tests.test_jsonarray import decoded, in_pieces

Connect = Callable[..., AsyncPlangrep]

LANES: dict[str, dict[str, Any]] = {"fast": {}, "plain": {"converter": plain_converter()}}
"""Options of a client, by the lane that its jobs then come through."""

A, B, C = (json.dumps(wire_job(number * 60)).encode() for number in range(3))
IDS = ["job_000000", "job_000060", "job_000120"]
JOBS = b'"jobs":[%b,%b,%b]' % (A, B, C)

PLACES: dict[str, tuple[bytes, bytes, int]] = {
    # What stands before and behind a value, and how many jobs do.
    "before the list": (b'{"x":', b"," + JOBS + b"}", 0),
    "in an unknown field": (b'{"jobs":[' + A + b',{"x":', b"," + B[1:] + b"," + C + b"]}", 1),
    "in a known field": (b'{"jobs":[' + A + b"," + B[:-1] + b',"error":', b"}," + C + b"]}", 1),
    "as an element": (b'{"jobs":[' + A + b",", b"," + C + b"]}", 1),
    "behind the list": (b"{" + JOBS + b',"x":', b"}", 3),
}
SIZES = [1, 100, 1 << 30]  # bytes of a piece

DECODERS = {
    "fast": array_decoder(make_converter(), Job),
    "plain": array_decoder(plain_converter(), Job),
}


@dataclass
class Outcome:
    """What came out of a stream."""

    jobs: list[Job] = field(default_factory=list)
    bad: list[InvalidElement] = field(default_factory=list)
    error: PlangrepError | None = None
    peak_bytes: int = 0
    """The most that was allocated by then, while `tracemalloc` watches."""

    @property
    def ids(self) -> list[str]:
        """The ids of the jobs that were delivered."""
        return [job.id for job in self.jobs]


async def read(connect: Connect, body: bytes, *, skip: bool = False, **options: Any) -> Outcome:
    """Read the jobs of a body, whose bad ones are skipped or raised.

    A second request fails the test: waiting cannot mend what was sent. An error shows nothing of a
    job, knows what was delivered, and nothing is left when the client is closed.
    """

    async def send(conn: Connection) -> None:
        await conn.send(response(body))

    async with (
        nothing_left(),
        RawServer([send]) as server,
        connect(server.base_url, **options) as client,
    ):
        outcome = await consume(client, skip=skip)
        assert server.connections == len(server.requests) == 1
    return outcome


async def consume(client: AsyncPlangrep, *, skip: bool = False) -> Outcome:
    """Read the list of a client to its end, and look at the error, if that is one."""
    outcome = Outcome()
    try:
        async for job in client.list_jobs(PROJECT, on_invalid=outcome.bad.append if skip else None):
            outcome.jobs.append(job)
    except PlangrepError as error:
        outcome.error = error
    outcome.peak_bytes = tracemalloc.get_traced_memory()[1]
    if outcome.error is not None:
        assert leaks(outcome.error, TOKEN) == []
        assert outcome.error.delivered == len(outcome.jobs)
        assert outcome.error.project_id == PROJECT
    return outcome


def outcomes(document: bytes) -> list[tuple[list[str], Any]]:
    """Decode a document in both lanes and in pieces of any size; give each outcome once."""
    found = []
    for decode in DECODERS.values():
        for size in SIZES:
            elements, end = decoded(in_pieces(document, size), decode)
            if (outcome := ([getattr(e, "id", "bad") for e in elements], end)) not in found:
                found.append(outcome)
    return found


def everywhere(value: bytes) -> dict[str, list[tuple[list[str], Any]]]:
    """Decode documents with a value in each of the places."""
    return {p: outcomes(before + value + behind) for p, (before, behind, _) in PLACES.items()}


def brief(value: object) -> str:
    """Name a test by a value that may be long."""
    return ascii(value)[:30]
