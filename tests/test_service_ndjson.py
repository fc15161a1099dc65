"""Jobs as lines of JSON: what is in a piece, when it comes, and how a stream of them ends."""

import asyncio
import gc
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Any

import pytest
from cattrs.gen import make_dict_unstructure_fn

from plangrep_async import (
    AsyncPlangrep,
    ClientClosed,
    ConfigurationError,
    IncompleteResponse,
    Job,
    NotFound,
)
from plangrep_async.converter import make_converter
from plangrep_async.emulator import Emulator
from plangrep_async.service import NdjsonStream, public_json
from tests.conftest import PROJECT, TOKEN, wire_job
from tests.faults.streams import IDS, nothing_left, stall_after
from tests.raw_server import RawServer, json_response

Connect = Callable[..., AsyncPlangrep]
CONVERTER = make_converter()


def job(number: int, **changes: Any) -> Job:
    made: Job = CONVERTER.structure(wire_job(number, **changes), Job)
    return made


class Source:
    """Jobs of a test: gives what is there, then waits until it is told to go on."""

    def __init__(self, *jobs: Job, then: BaseException | None = None) -> None:
        self.jobs = list(jobs)
        self.then = then
        self.given = 0
        self.go_on = asyncio.Event()
        self.is_closed = False

    async def read(self) -> AsyncGenerator[Job, None]:
        """Be the stream, once."""
        try:
            for one in self.jobs:
                self.given += 1
                yield one
            await self.go_on.wait()
            if self.then is not None:
                raise self.then
        finally:
            self.is_closed = True


async def collect(lines: AsyncIterator[bytes]) -> list[Any]:
    return [json.loads(line) for line in b"".join([data async for data in lines]).splitlines()]


async def test_a_job_is_a_line_as_the_api_has_it_without_its_secret() -> None:
    """Each line is the documented object but `resultUrl`, which comes when it is asked for."""
    source = [wire_job(number) for number in range(3)]
    jobs = [CONVERTER.structure(one, Job) for one in source]
    for with_result_url in (False, True):
        stream = Source(*jobs)
        stream.go_on.set()
        async with NdjsonStream(stream.read(), with_result_url=with_result_url) as lines:
            found = await collect(lines)
        expected = [dict(one) for one in source]
        for one in expected:
            if not with_result_url:
                del one["resultUrl"]
        assert found == expected
        assert (TOKEN in json.dumps(found)) is with_result_url
        assert found == [public_json(one, with_result_url=with_result_url) for one in jobs]


@pytest.mark.parametrize("character", ["\n", "\r", "\x0b", "\x1e", "\x85", "\u2028", "\u2029"])
async def test_no_text_breaks_a_line(character: str) -> None:
    """What some reader takes for the end of a line is written as an escape."""
    stream = Source(job(1, externalId=f"a{character}b"), job(2))
    stream.go_on.set()
    async with NdjsonStream(stream.read()) as lines:
        text = b"".join([data async for data in lines]).decode()
    first, second = text.splitlines()  # at more places than any other reader
    assert json.loads(first)["externalId"] == f"a{character}b"
    assert json.loads(second)["id"] == "job_000002"


async def test_a_converter_of_ones_own_writes_the_lines() -> None:
    """A hook for a type is used, as in `list_jobs`."""
    converter = make_converter()
    converter.register_unstructure_hook(datetime, lambda moment: moment.year)
    stream = Source(job(1))
    stream.go_on.set()
    async with NdjsonStream(stream.read(), converter=converter) as lines:
        (found,) = await collect(lines)
    assert found["createdAt"] == 2024


def test_a_hook_that_names_it_otherwise_does_not_tell_the_secret() -> None:
    """A token leaves only when it is asked for, whatever the caller's converter calls it."""
    converter = make_converter()
    converter.register_unstructure_hook(Job, make_dict_unstructure_fn(Job, converter))
    secret = CONVERTER.structure(wire_job(1), Job)
    assert TOKEN in json.dumps(public_json(secret, converter=converter, with_result_url=True))
    assert TOKEN not in json.dumps(public_json(secret, converter=converter))


async def test_what_is_there_comes_together_and_at_once() -> None:
    """A source that pauses has its jobs passed on, as one piece, before it goes on."""
    source = Source(*map(job, range(5)))
    async with NdjsonStream(source.read()) as lines:
        piece = await anext(lines)
        assert not source.go_on.is_set()
        assert piece.count(b"\n") == 5
        source.go_on.set()
        assert await collect(lines) == []


async def test_pieces_are_small_and_one_is_read_ahead() -> None:
    """A consumer that stops holds up the source, within two pieces of 32 KiB."""
    source = Source(*map(job, range(1_000)))
    source.go_on.set()
    async with NdjsonStream(source.read()) as lines:
        piece = await anext(lines)
        for _ in range(20):
            await asyncio.sleep(0)
        given = source.given
        assert piece.endswith(b"}\n")
        assert 32 << 10 <= len(piece) < 34 << 10
        assert given < 2.2 * piece.count(b"\n")
        rest = [data async for data in lines]
    assert source.given == 1_000
    assert piece.count(b"\n") + sum(data.count(b"\n") for data in rest) == 1_000
    assert all(len(data) < 34 << 10 for data in rest)


async def test_an_error_before_the_first_job_is_raised_on_entering() -> None:
    """There is no line yet, and a status can still say what is wrong."""
    source = Source(then=NotFound("not there", status=404))
    source.go_on.set()
    async with nothing_left():
        with pytest.raises(NotFound):
            async with NdjsonStream(source.read()):
                pytest.fail("the block must not be entered")
    assert source.is_closed


async def test_a_list_without_jobs_is_no_lines() -> None:
    """It begins and ends in order."""
    source = Source()
    source.go_on.set()
    async with NdjsonStream(source.read()) as lines:
        assert await collect(lines) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [(IncompleteResponse("cut"), "upstream_invalid"), (ZeroDivisionError(), "internal_error")],
)
async def test_an_error_after_jobs_is_a_line_and_is_raised(error: Exception, code: str) -> None:
    """All jobs before it come first, then a line that is no job, then the error itself."""
    source = Source(*map(job, range(3)), then=error)
    source.go_on.set()
    got: list[bytes] = []

    async def consume(lines: NdjsonStream) -> None:
        async for data in lines:
            got.append(data)  # noqa: PERF401  # what came before an error counts

    async with NdjsonStream(source.read()) as lines:
        with pytest.raises(type(error)) as raised:
            await consume(lines)
    assert raised.value is error
    *jobs, last = map(json.loads, b"".join(got).splitlines())
    assert [one["id"] for one in jobs] == ["job_000000", "job_000001", "job_000002"]
    assert list(last) == ["failure"]
    assert last["failure"]["code"] == code


async def test_leaving_closes_the_source() -> None:
    """Whether it waits for jobs, or for the consumer to take some: everything has ended then."""
    for jobs in ([job(1)], list(map(job, range(1_000)))):
        source = Source(*jobs)
        async with nothing_left():
            async with NdjsonStream(source.read()) as lines:
                await anext(lines)
                for _ in range(5):
                    await asyncio.sleep(0)
                assert not source.is_closed
            assert source.is_closed
            with pytest.raises(ClientClosed, match="was left"):
                await anext(lines)


async def test_an_error_that_nobody_waited_for_is_no_complaint() -> None:
    """A consumer who leaves before the failure has nothing to do with it."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, facts: complaints.append(facts))

    async def leave_early() -> None:
        source = Source(job(1), then=IncompleteResponse("cut"))
        async with NdjsonStream(source.read()) as lines:
            await anext(lines)
            source.go_on.set()
            for _ in range(5):
                await asyncio.sleep(0)
            assert source.is_closed

    await leave_early()
    gc.collect()
    assert complaints == []


@pytest.mark.parametrize("turns", range(8))
async def test_cancelling_ends_everything(turns: int) -> None:
    """At whatever moment: the cancellation goes on its way, and the source is closed."""
    source = Source(job(1))

    async def consume() -> None:
        async with NdjsonStream(source.read()) as lines:
            async for _ in lines:
                pass

    async with nothing_left():
        task = asyncio.create_task(consume())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
    assert source.is_closed or source.given == 0


async def test_a_cancelled_reader_is_no_end() -> None:
    """Who cancels all tasks cancels the reading one, too: the stream does not look complete."""
    source = Source(job(1))
    async with NdjsonStream(source.read()) as lines:
        await anext(lines)
        assert lines._reading is not None
        lines._reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await anext(lines)


async def test_it_has_to_be_entered_and_once() -> None:
    """Both mistakes are told at once, with what to do."""
    source = Source()
    source.go_on.set()
    stream = NdjsonStream(source.read())
    with pytest.raises(ConfigurationError, match="async with"):
        await anext(stream)
    async with stream:
        pass
    with pytest.raises(ConfigurationError, match="make a new one"):
        await stream.__aenter__()


async def test_two_consumers_share_the_lines() -> None:
    """Each line goes to one of them, and both see the end."""
    source = Source(*map(job, range(1_000)))
    source.go_on.set()
    async with NdjsonStream(source.read()) as lines:
        found = await asyncio.gather(collect(lines), collect(lines))
    ids = [one["id"] for part in found for one in part]
    assert sorted(ids) == [f"job_{number:06}" for number in range(1_000)]


async def test_a_closed_client_ends_the_lines(connect: Connect) -> None:
    """`aclose()` of the client is heard of as by any stream of its jobs: by a failure."""
    async with nothing_left(), RawServer([stall_after(2)]) as server:
        client = connect(server.base_url)
        async with NdjsonStream(client.list_jobs(PROJECT)) as lines:
            piece = await anext(lines)
            await client.aclose()
            last = await anext(lines)
            with pytest.raises(ClientClosed):
                await anext(lines)
    assert [json.loads(line)["id"] for line in piece.splitlines()] == IDS[:2]
    assert json.loads(last)["failure"]["code"] == "shutting_down"


async def test_many_projects_are_lines_as_well() -> None:
    """`list_jobs_many`, inside its own block, is a source like any other."""
    async with Emulator(projects=3, jobs_per_project=40) as emulator:
        async with (
            AsyncPlangrep(emulator.api_key, base_url=emulator.base_url) as client,
            client.list_jobs_many(emulator.project_ids) as jobs,
            NdjsonStream(jobs) as lines,
        ):
            found = await collect(lines)
        expected = {one["id"] for name in emulator.project_ids for one in emulator.jobs(name)}
    assert len(found) == 120
    assert {one["id"] for one in found} == expected


async def test_a_filtered_stream_is_lines_as_well(connect: Connect) -> None:
    """Any asynchronous generator of jobs will do."""
    jobs = [wire_job(1), wire_job(2, status="processing"), wire_job(3)]
    answer = json_response({"jobs": jobs})
    async with (
        RawServer([lambda conn: conn.send(answer)]) as server,
        connect(server.base_url) as client,
        aclosing(client.list_jobs(PROJECT)) as stream,
        NdjsonStream(one async for one in stream if not one.status.is_terminal) as lines,
    ):
        found = await collect(lines)
    assert [one["id"] for one in found] == ["job_000002"]
