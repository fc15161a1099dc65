"""Cancellation at every await of a stream that meets every kind of trouble on its way."""

import asyncio
import itertools
import types
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

import pytest

from plangrep_async import AsyncPlangrep, RetryPolicy, Timeouts
from tests.conftest import document
from tests.faults.streams import (
    IDS,
    JOBS,
    nothing_left,
    slots,
    stall_after,
    tasks_but_of_servers,
    turns,
)
from tests.raw_server import CHUNKED, Connection, RawServer, Script, chunked, head, response

Connect = Callable[..., AsyncPlangrep]

MESSAGE = "by the consumer"
OPTIONS: dict[str, Any] = {
    "timeout": Timeouts(connect=30, read=30),
    "retry": RetryPolicy(first_wait=0.001, max_wait=0.001),
}


def troubled() -> Script:
    """Serve each project so: a refusal, a body in pieces that is cut, then the whole in pieces."""
    requests: Counter[str] = Counter()
    body = document(JOBS)
    middle = body.index(IDS[20].encode())

    async def send(conn: Connection) -> None:
        target = conn.request.target
        if "plain" in target:
            await conn.send(response(body))
            return
        requests[target] += 1
        if requests[target] == 1:
            refusal = response(b'{"error":"busy"}', status=503)
            await conn.send(refusal[:-8])
            await asyncio.sleep(0.0005)
            await conn.send(refusal[-8:])
            return
        end = middle if requests[target] == 2 else len(body)
        await conn.send(head(headers=[CHUNKED]))
        for start in range(0, end, 8_000):
            await asyncio.sleep(0.0005)
            piece = body[start : min(start + 8_000, end)]
            await conn.send(chunked([piece], terminator=False))
        if end == middle:
            conn.close()
        else:
            await conn.send(chunked([]))

    return send


class Reader:
    """Reads one list, and is cancelled at a given suspension of its task, counted from 0."""

    def __init__(self, cancel_at: int = -1, moment: str = "") -> None:
        self.cancel_at = cancel_at
        self.moment = moment
        self.suspensions = 0
        self.seen: list[str] = []
        self.passed: list[BaseException] = []  # what came out of the stream

    async def run(self, client: AsyncPlangrep, project_id: str) -> None:
        """Read to the end, or to the cancellation."""
        await self._watch(self._read(client, project_id))

    async def _read(self, client: AsyncPlangrep, project_id: str) -> None:
        try:
            async for job in client.list_jobs(project_id):
                self.seen.append(job.id)
        except BaseException as error:
            self.passed.append(error)
            raise

    @types.coroutine
    def _watch(self, coroutine: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        go_on: Callable[[], Any] = partial(coroutine.send, None)
        while True:
            try:
                future = go_on()
            except StopIteration:
                return
            self._suspended(future)
            try:
                go_on = partial(coroutine.send, (yield future))
            except BaseException as error:  # noqa: BLE001  # it is thrown where it belongs
                go_on = partial(coroutine.throw, error)

    def _suspended(self, future: asyncio.Future[Any] | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self.suspensions == self.cancel_at:
            if self.moment == "at once":
                task.cancel(MESSAGE)
            elif self.moment == "a turn later" or future is None:
                asyncio.get_running_loop().call_soon(task.cancel, MESSAGE)
            else:
                # Comes before the task's own callback: the task is to go on, but has not yet.
                future.add_done_callback(lambda _: task.cancel(MESSAGE))
        self.suspensions += 1


@pytest.mark.fault("L4")
@pytest.mark.parametrize("moment", ["at once", "a turn later", "when it could go on"])
async def test_cancellation_passes_at_every_await(connect: Connect, moment: str) -> None:
    """Wherever it meets a stream, it comes out as it went in, and the stream leaves nothing."""
    reached = set()
    async with nothing_left(), RawServer(troubled()) as server:
        for number in itertools.count():
            reader = Reader(number, moment)
            before = len(server.requests)
            async with connect(server.base_url, **OPTIONS) as client:
                task = asyncio.create_task(reader.run(client, f"{moment} {number}"))
                await asyncio.wait([task], timeout=10)
                if reader.suspensions <= number:
                    await task
                    assert reader.seen == IDS
                    break
                assert task.cancelled()
                assert [error.args for error in reader.passed] == [(MESSAGE,)]
                assert type(reader.passed[0]) is asyncio.CancelledError
                assert task.cancelling() == 1
                assert reader.seen == IDS[: len(reader.seen)]
                assert slots(client) == 0
                reached.add((len(server.requests) - before, len(reader.seen) > 0))
                assert [job.id async for job in client.list_jobs("plain")] == IDS
            await server.wait_until(lambda: all(conn.ended for conn in server.accepted))
            assert tasks_but_of_servers() == {asyncio.current_task()}
    # Nothing sent; refused, or asleep; in the first body; cut, or in the second body.
    assert {(0, False), (1, False), (2, False), (2, True), (3, True)} <= reached


@pytest.mark.fault("L2", "L4")
@pytest.mark.parametrize("first", ["cancelled", "closed"])
async def test_a_cancellation_is_not_lost_when_the_client_is_closed_with_it(
    connect: Connect, first: str
) -> None:
    """A task that is cancelled in the very turn in which its client closes is cancelled."""
    async with nothing_left(), RawServer([stall_after(2)]) as server:
        client = connect(server.base_url, **OPTIONS)
        reader = Reader()
        task = asyncio.create_task(reader.run(client, "stalls"))
        await server.wait_until(lambda: server.bytes_sent > 0)
        await turns(20)
        if first == "cancelled":
            task.cancel(MESSAGE)
        closing = asyncio.create_task(client.aclose())
        await asyncio.sleep(0)
        if first == "closed":
            task.cancel(MESSAGE)
        await asyncio.wait([task], timeout=2)
        assert task.cancelled()
        assert [type(error) for error in reader.passed] == [asyncio.CancelledError]
        await closing
        await server.wait_closed_by_client(0)


@pytest.mark.fault("L4")
async def test_a_step_that_is_cancelled_is_the_last_one(connect: Connect) -> None:
    """Like that of any async generator: `wait_for` around a step ends the stream, cleanly."""
    async with (
        nothing_left(),
        RawServer([stall_after(2)]) as server,
        connect(server.base_url, **OPTIONS) as client,
    ):
        jobs = client.list_jobs("stalls")
        assert [(await anext(jobs)).id for _ in range(2)] == IDS[:2]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(jobs), 0.02)
        assert slots(client) == 0
        await server.wait_closed_by_client(0)
        with pytest.raises(StopAsyncIteration):
            await anext(jobs)
        assert len(server.requests) == 1


@pytest.mark.fault("L4")
async def test_a_step_may_be_waited_for_in_pieces(connect: Connect) -> None:
    """`asyncio.wait` gives up waiting without ending the step: nothing is lost by it."""
    go_on = asyncio.Event()
    body = document(JOBS)

    async def send(conn: Connection) -> None:
        await conn.send(head(headers=[CHUNKED]) + chunked([body[:5_000]], terminator=False))
        await go_on.wait()
        await conn.send(chunked([body[5_000:]]))

    async with (
        nothing_left(),
        RawServer([send]) as server,
        connect(server.base_url, **OPTIONS) as client,
    ):
        jobs = client.list_jobs("pauses")
        seen, pauses = [], 0
        step = asyncio.ensure_future(anext(jobs))
        while True:
            await asyncio.wait([step], timeout=0.02)
            if not step.done():
                pauses += 1
                go_on.set()
                continue
            try:
                seen.append((await step).id)
            except StopAsyncIteration:
                break
            step = asyncio.ensure_future(anext(jobs))
        assert seen == IDS
        assert pauses > 0
