"""The ids of many projects: in every form, read when somebody is free, each fetched once (K9)."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import pytest

from plangrep_async import ConfigurationError
from tests.faults.bulk import (
    Connect,
    asked,
    begins,
    by_its_project,
    by_project,
    closed_by_client,
    ids_of,
    lists,
    names,
    wait_for,
)
from tests.faults.streams import nothing_left, tasks_but_of_servers, turns
from tests.raw_server import RawServer


def generated(ids: Iterable[str]) -> Iterator[str]:
    """Give ids one by one, without a length."""
    yield from ids


async def generated_slowly(ids: Iterable[str]) -> AsyncIterator[str]:
    """Give ids one by one, as from a database."""
    for project_id in ids:
        await asyncio.sleep(0.0005)
        yield project_id


class Table:
    """Has a length, and gives its ids asynchronously."""

    def __init__(self, ids: list[str]) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def __aiter__(self) -> AsyncIterator[str]:
        return generated_slowly(self._ids)


@pytest.mark.fault("K9")
@pytest.mark.parametrize(
    ("form", "total"),
    [
        (list, 60),
        (dict.fromkeys, 20),
        (generated, None),
        (generated_slowly, None),
        (Table, 60),
    ],
)
async def test_ids_come_in_any_form_and_each_project_once(
    connect: Connect, form: Callable[[list[str]], Any], total: int | None
) -> None:
    """Duplicates are passed over, and once all were read the total is without them."""
    given = names(20) + names(20)[::-1] + names(20)
    async with (
        nothing_left(),
        RawServer(lists(2)) as server,
        connect(server.base_url, max_concurrency=3) as client,
        client.list_jobs_many(form(given)) as jobs,
    ):
        assert jobs.progress.projects_total == total
        assert await by_its_project(jobs) == {name: ids_of(name, 2) for name in names(20)}
        assert asked(server) == dict.fromkeys(names(20), 1)
        assert jobs.progress.projects_total == jobs.progress.projects_done == 20


@pytest.mark.fault("K9")
@pytest.mark.parametrize("is_async", [False, True])
async def test_ids_without_end_are_read_when_somebody_is_free(
    connect: Connect, is_async: bool
) -> None:
    """Of those that were read, all but one a worker are done; leaving reads no more of them."""
    taken: list[str] = []

    def endless() -> Iterator[str]:
        for number in itertools.count():
            taken.append(f"p{number:03}")
            yield taken[-1]

    async def endless_too() -> AsyncIterator[str]:
        for project_id in endless():
            await asyncio.sleep(0)
            yield project_id

    async with (
        nothing_left(),
        RawServer(lists(2)) as server,
        connect(server.base_url, max_concurrency=3) as client,
    ):
        ids = endless_too() if is_async else endless()
        async with client.list_jobs_many(ids) as jobs:
            assert taken == []
            for _ in range(40):
                await anext(jobs)
                assert len(taken) <= jobs.progress.projects_done + 3
            await asyncio.sleep(0.02)  # nobody reads, and nobody goes on
            assert len(taken) <= jobs.progress.projects_done + 3
            assert jobs.progress.projects_total is None
        count = len(taken)
        await turns()
        assert len(taken) == count
        assert len(server.requests) <= count
        if is_async:
            await ids.aclose()  # type: ignore[union-attr]  # it is the caller's to close


@pytest.mark.fault("K9")
async def test_waiting_for_an_id_holds_nobody_up(connect: Connect) -> None:
    """While the ids are slow to come, the jobs of those that came are given, and leaving works."""
    is_cancelled = asyncio.Event()

    async def stuck() -> AsyncIterator[str]:
        for project_id in names(2):
            yield project_id
        try:
            await asyncio.Event().wait()
        finally:
            is_cancelled.set()

    async with (
        nothing_left(),
        RawServer(lists(2)) as server,
        connect(server.base_url, max_concurrency=4) as client,
        client.list_jobs_many(stuck()) as jobs,
    ):
        seen = [(await anext(jobs)).id for _ in range(4)]
        assert sorted(seen) == sorted(ids_of("p000", 2) + ids_of("p001", 2))
    assert is_cancelled.is_set()


@pytest.mark.fault("K9")
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("error", [LookupError("gone"), asyncio.CancelledError("gone")], ids=repr)
async def test_ids_that_raise_do_so_after_what_had_come(
    connect: Connect, is_async: bool, error: BaseException
) -> None:
    """Collecting ends the projects before: the error itself comes last, and never a normal end."""

    def broken() -> Iterator[str]:
        yield from names(2)
        raise error

    async def broken_too() -> AsyncIterator[str]:
        for project_id in broken():
            yield project_id

    async with (
        nothing_left(),
        RawServer(lists(3, delay=0.01)) as server,
        connect(server.base_url) as client,
        client.list_jobs_many(broken_too() if is_async else broken(), on_error="collect") as jobs,
    ):
        seen = []
        with pytest.raises(type(error), match="gone") as caught:  # noqa: PT012
            async for job in jobs:
                seen.append(job.id)  # noqa: PERF401  # a comprehension would lose it
        assert caught.value is error
        assert sorted(seen) == sorted(ids_of("p000", 3) + ids_of("p001", 3))
        assert jobs.failures == {}
        with pytest.raises(StopAsyncIteration):
            await anext(jobs)


@pytest.mark.fault("K9")
async def test_ids_that_raise_end_all_projects(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Unless failures are collected: queued jobs come first, and what is open is closed."""
    go_on = asyncio.Event()

    async def broken() -> AsyncIterator[str]:
        for project_id in names(2):
            yield project_id
        await go_on.wait()
        raise LookupError("gone")

    scripts = {"p001": begins(0)}
    for is_read in (True, False):
        go_on.clear()
        async with (
            nothing_left(),
            RawServer(by_project(scripts, lists(3))) as server,
            connect(server.base_url) as client,
        ):
            async with client.list_jobs_many(broken()) as jobs:
                await wait_for(lambda: len(jobs._handover._waiting) == 2)
                await server.wait_until(lambda: len(server.requests) == 2)
                go_on.set()
                if is_read:
                    assert [(await anext(jobs)).id for _ in range(3)] == ids_of("p000", 3)
                    with pytest.raises(LookupError, match="gone"):
                        await anext(jobs)
                else:
                    await turns()
            await closed_by_client(server, "p001")
        logged = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        expected = ["a stream was left before it could raise LookupError"]
        assert logged == ([] if is_read else expected)


@pytest.mark.fault("K9")
async def test_ids_that_cannot_be_one_fail_alone_or_end_the_stream(connect: Connect) -> None:
    """An id that no path can hold is its own failure; what is no text is an error of the ids."""
    bad = ["", ".", "..", "half \ud83d"]
    async with RawServer([lists(1)]) as server, connect(server.base_url) as client:
        async with client.list_jobs_many([*bad, "p000"], on_error="collect") as jobs:
            assert await by_its_project(jobs) == {"p000": ids_of("p000", 1)}
        assert list(jobs.failures) == bad
        assert {type(error) for error in jobs.failures.values()} == {ConfigurationError}
        wrong: Any = [7]
        async with client.list_jobs_many(wrong, on_error="collect") as jobs:
            with pytest.raises(ConfigurationError, match="must be a text, not a int"):
                await anext(jobs)


@pytest.mark.fault("K9")
async def test_ids_that_come_after_the_call_are_read(connect: Connect) -> None:
    """A list that was empty when the stream was made, and has grown since, is no empty stream."""
    ids: list[str] = []
    async with RawServer(lists(1)) as server, connect(server.base_url) as client:
        stream = client.list_jobs_many(ids)
        ids.extend(names(3))
        async with stream as jobs:
            assert set(await by_its_project(jobs)) == set(names(3))
        assert jobs.progress.projects_total == 3


@pytest.mark.fault("K9")
async def test_no_more_workers_than_ids(connect: Connect) -> None:
    """A short list has as many tasks as ids, an endless one as many as requests are allowed."""
    async with RawServer([]) as server:
        for ids, count in ((names(2), 2), (names(5), 4), (generated(names(9)), 4)):
            async with connect(server.base_url, max_concurrency=4) as client:
                before = tasks_but_of_servers()
                async with client.list_jobs_many(ids):
                    await turns(1)
                    assert len(tasks_but_of_servers() - before) == count
