"""Answers that are made to hurt: bounded memory, an early end, and turns for all others (B10, L9).

How long the event loop stands still is measured by `python -m tests.bombs`; here stands what makes
it short, and does not depend on the machine.
"""

import asyncio
import tracemalloc
from collections.abc import Callable

import pytest

from plangrep_async import AsyncPlangrep, InvalidResponse, Timeouts
from plangrep_async.converter import make_converter
from plangrep_async.models import Job
from tests.bombs import BOMBS, MIB, bomb
from tests.conftest import PROJECT, document, wire_job
from tests.raw_server import Connection, RawServer, response

Connect = Callable[..., AsyncPlangrep]

PATIENT = Timeouts(read=30)
SOCKET_BYTES = 16 * MIB  # what two sockets hold on loopback, generously


@pytest.mark.fault("B10", "S10")
@pytest.mark.parametrize("name", [name for name in BOMBS if "list of" not in name])
async def test_a_bomb_is_refused_early_and_in_little_memory(connect: Connect, name: str) -> None:
    """One request, a few MiB of a GiB, memory for two jobs of `max_job_bytes`, a typed error."""
    async with (
        RawServer([bomb(name)]) as server,
        connect(server.base_url, timeout=PATIENT, max_job_bytes=8 * MIB) as client,
    ):
        tracemalloc.start()
        try:
            with pytest.raises(InvalidResponse):
                await anext(client.list_jobs(PROJECT))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert await server.wait_closed_by_client() in {"closed by client", "reset by client"}
        assert peak <= 32 * MIB
        assert server.bytes_sent <= 8 * MIB + SOCKET_BYTES
        assert server.connections == len(server.requests) == 1


class Turns:
    """Counts how much is made at most between two turns of another task."""

    def __init__(self) -> None:
        self.made = self.most = 0

    def count(self, *_: object) -> None:
        """Note that an element was made."""
        self.made += 1

    async def take(self) -> None:
        """Take a turn whenever there is one."""
        while True:
            self.most, self.made = max(self.most, self.made), 0
            await asyncio.sleep(0)


@pytest.mark.fault("L9", "B10")
@pytest.mark.parametrize("unit", [b"0", b"{}", b'"x"', b"[]"])
async def test_others_get_their_turn_while_a_list_is_decoded(connect: Connect, unit: bytes) -> None:
    """However many elements arrive at once, a few are made, and then the loop goes round."""
    body = b'{"jobs":[' + b",".join([unit] * 20_000) + b"]}"

    async def send(conn: Connection) -> None:
        await conn.send(response(body))

    turns = Turns()
    async with RawServer(send) as server, connect(server.base_url, timeout=PATIENT) as client:
        others = asyncio.create_task(turns.take())
        jobs = [job async for job in client.list_jobs(PROJECT, on_invalid=turns.count)]
        others.cancel()
    assert jobs == []
    assert 0 < turns.most <= 32


@pytest.mark.fault("L9")
async def test_others_get_their_turn_after_each_piece(connect: Connect) -> None:
    """Typical jobs are made in C, and yet no more of them at once than 128 KiB can hold."""
    body = document([wire_job(number) for number in range(3_000)])
    turns = Turns()

    async def send(conn: Connection) -> None:
        await conn.send(response(body))

    async with RawServer(send) as server, connect(server.base_url) as client:
        jobs = client.list_jobs(PROJECT)
        await anext(jobs)
        await asyncio.sleep(0.05)  # more than one piece is here then
        others = asyncio.create_task(turns.take())
        async for _ in jobs:
            turns.count()
        others.cancel()
    assert 0 < turns.most <= (128 << 10) / (len(body) / 3_000) + 2


@pytest.mark.fault("L9")
async def test_jobs_by_rules_of_the_callers_are_made_a_few_at_a_time(connect: Connect) -> None:
    """A converter with a hook of its own is slower, and does not hold the loop longer for it."""
    turns = Turns()
    ours, theirs = make_converter(), make_converter()

    def counted(value: dict[str, str], _: object) -> Job:
        turns.count()
        return ours.structure(value, Job)

    async def send(conn: Connection) -> None:
        await conn.send(response(document([wire_job(n) for n in range(500)])))

    theirs.register_structure_hook(Job, counted)
    async with RawServer(send) as server, connect(server.base_url, converter=theirs) as client:
        others = asyncio.create_task(turns.take())
        jobs = [job async for job in client.list_jobs(PROJECT)]
        others.cancel()
    assert len(jobs) == 500
    assert 0 < turns.most <= 32
