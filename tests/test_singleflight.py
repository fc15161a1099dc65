"""`get_jobs`: one request for all who ask at one time, and what is kept for those after them."""

import asyncio
import contextvars
import time
import traceback
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from plangrep_async import (
    AsyncPlangrep,
    ClientClosed,
    ConfigurationError,
    Job,
    NotFound,
    PlangrepError,
    ServerError,
)
from plangrep_async._singleflight import SingleFlight
from tests.faults.bulk import (
    PATIENT,
    asked,
    begins,
    by_project,
    ids_of,
    lists,
    names,
    refuses,
    wait_for,
    when_told,
)
from tests.faults.streams import nothing_left, tasks_but_of_servers, turns
from tests.raw_server import RawServer

pytestmark = pytest.mark.fault("K12")

Connect = Callable[..., AsyncPlangrep]
Jobs = tuple[Job, ...]


def calls(
    client: AsyncPlangrep, count: int, project_id: str = "p", **options: Any
) -> list[asyncio.Task[Jobs]]:
    """Begin as many calls, of which the first one is the leader."""
    return [
        asyncio.create_task(client.get_jobs(project_id, **options), name=f"call {number}")
        for number in range(count)
    ]


async def all_wait(server: RawServer) -> None:
    """Wait until one request has come and its callers wait for it."""
    await server.wait_until(lambda: len(server.requests) == 1)
    await turns()


async def results(tasks: list[asyncio.Task[Jobs]]) -> list[list[str]]:
    return [[job.id for job in await task] for task in tasks]


async def test_calls_in_flight_share_one_request(connect: Connect) -> None:
    """Twenty callers, one request, and one tuple for all of them."""
    async with (
        nothing_left(),
        RawServer([lists(300, delay=0.02)]) as server,
        connect(server.base_url) as client,
    ):
        tasks = calls(client, 20)
        assert await results(tasks) == [ids_of("p", 300)] * 20
        assert len({id(task.result()) for task in tasks}) == 1
        assert len(server.requests) == 1


async def test_a_call_joins_one_that_is_already_half_read(connect: Connect) -> None:
    """Without `max_age`, and one with it does not have to wait for another request either."""
    go_on = asyncio.Event()
    async with (
        RawServer([when_told(go_on, lists(5))]) as server,
        connect(server.base_url) as client,
    ):
        tasks = calls(client, 1)
        await all_wait(server)
        tasks += calls(client, 1) + calls(client, 1, max_age=30)
        await turns()
        go_on.set()
        assert await results(tasks) == [ids_of("p", 5)] * 3


@pytest.mark.parametrize("who", [0, 1], ids=["leader", "waiter"])
async def test_a_caller_that_is_cancelled_hurts_no_other(connect: Connect, who: int) -> None:
    """Neither the one who began the request nor one who joined; the others get their answer."""
    go_on = asyncio.Event()
    async with (
        nothing_left(),
        RawServer([when_told(go_on, lists(5))]) as server,
        connect(server.base_url) as client,
    ):
        tasks = calls(client, 3)
        await all_wait(server)
        left = tasks.pop(who)
        left.cancel()
        await asyncio.wait([left])
        assert left.cancelled()
        go_on.set()
        assert await results(tasks) == [ids_of("p", 5)] * 2
        assert server.accepted[0].ended is None


async def test_the_last_caller_that_is_cancelled_stops_the_download(connect: Connect) -> None:
    """The server sees it, no task is left, and the next call begins a request of its own."""
    async with (
        nothing_left(),
        RawServer([begins(3), lists(5)]) as server,
        connect(server.base_url, **PATIENT) as client,
    ):
        before = tasks_but_of_servers()
        tasks = calls(client, 3)
        await all_wait(server)
        for task in tasks[:2]:
            task.cancel()
        await asyncio.wait(tasks[:2])
        await turns()
        assert server.accepted[0].ended is None
        tasks[2].cancel()
        await asyncio.wait(tasks[2:])
        assert all(task.cancelled() for task in tasks)
        assert tasks_but_of_servers() == before
        await server.wait_closed_by_client(0)
        assert len(await client.get_jobs("p")) == 5


@pytest.mark.fault("K6")
@pytest.mark.parametrize("steps", range(8))
async def test_all_callers_cancelled_at_any_step(connect: Connect, steps: int) -> None:
    """From before the first step on: nothing is left, and the client serves on."""
    async with nothing_left(), RawServer(lists(5)) as server, connect(server.base_url) as client:
        before = tasks_but_of_servers()
        tasks = calls(client, 2)
        await turns(steps)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert tasks_but_of_servers() == before
        assert len(await client.get_jobs("p")) == 5


@pytest.mark.fault("L4")
async def test_a_time_out_of_a_callers_own_is_only_theirs(connect: Connect) -> None:
    """The leader's comes out as `TimeoutError`, and the other caller goes on."""
    go_on = asyncio.Event()

    async def impatient(client: AsyncPlangrep) -> None:
        async with asyncio.timeout(0.02):
            await client.get_jobs("p")

    async with (
        RawServer([when_told(go_on, lists(5))]) as server,
        connect(server.base_url, **PATIENT) as client,
    ):
        leader = asyncio.create_task(impatient(client))
        others = calls(client, 1)
        with pytest.raises(TimeoutError):
            await leader
        go_on.set()
        assert await results(others) == [ids_of("p", 5)]


async def test_an_error_is_shared(connect: Connect) -> None:
    """Every caller gets it, after as many requests as one caller would have caused."""
    async with (
        nothing_left(),
        RawServer(refuses(500)) as server,
        connect(server.base_url) as client,
    ):
        errors: list[Any] = await asyncio.gather(*calls(client, 5), return_exceptions=True)
        assert {type(error) for error in errors} == {ServerError}
        assert {(error.attempts, error.project_id) for error in errors} == {(3, "p")}
        assert len(server.requests) == 3


async def test_each_caller_gets_an_error_of_its_own(connect: Connect) -> None:
    """Raised again in any place it does not grow for the others, and tells where it came from."""

    async def ask(client: AsyncPlangrep, number: int) -> PlangrepError:
        try:
            try:
                _ = {}[number]
            except KeyError:
                await client.get_jobs("p")
        except PlangrepError as error:
            for _ in range(number):
                try:
                    raise error
                except PlangrepError:
                    pass
            return error
        raise AssertionError

    async with RawServer([refuses(404)]) as server, connect(server.base_url) as client:
        errors = await asyncio.gather(*(ask(client, number) for number in (0, 30, 2)))
    assert len(set(map(id, errors))) == 3
    assert [str(error.__context__) for error in errors] == ["0", "30", "2"]
    frames = [traceback.extract_tb(error.__traceback__) for error in errors]
    assert [len(stack) - len(frames[0]) for stack in frames] == [0, 30, 2]
    assert {stack[-1].name for stack in frames} == {frames[0][-1].name}
    assert frames[0][-1].filename.endswith("_transport/__init__.py")


async def test_an_error_is_not_kept(connect: Connect) -> None:
    """The next call asks anew, with a `max_age`, too."""
    async with (
        RawServer([refuses(404), refuses(404), lists(5)]) as server,
        connect(server.base_url) as client,
    ):
        for _ in range(2):
            with pytest.raises(NotFound):
                await client.get_jobs("p", max_age=60)
        assert len(await client.get_jobs("p", max_age=60)) == 5


async def test_an_error_of_a_class_that_cannot_be_copied_is_shared(connect: Connect) -> None:
    """What a function of the caller's raises comes through as it is, with one traceback."""

    class Odd(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} {two}")

    async def ask() -> str:
        await turns()
        raise Odd(1, 2)

    async with RawServer([]) as server, connect(server.base_url, api_key=ask) as client:
        errors: list[Any] = await asyncio.gather(*calls(client, 3), return_exceptions=True)
        assert [str(error) for error in errors] == ["1 2"] * 3
        assert len(traceback.extract_tb(errors[0].__traceback__)) < 40


async def test_an_error_of_the_callers_keeps_its_text(connect: Connect) -> None:
    """Also where its class would make another text of what it is made from."""

    class VaultFailed(Exception):
        def __init__(self, code: int) -> None:
            super().__init__(f"the vault said {code}")

    async def ask() -> str:
        raise VaultFailed(7)

    async with RawServer([]) as server, connect(server.base_url, api_key=ask) as client:
        errors: list[Any] = await asyncio.gather(*calls(client, 3), return_exceptions=True)
        assert [str(error) for error in errors] == ["the vault said 7"] * 3


async def test_different_projects_are_independent(connect: Connect) -> None:
    """One that stalls, one that fails and one that is well, each with a request of its own."""
    scripts = {"stalls": begins(1), "fails": refuses(404)}
    async with (
        nothing_left(),
        RawServer(by_project(scripts, lists(5))) as server,
        connect(server.base_url, **PATIENT) as client,
    ):
        stalled, failed, fine = (calls(client, 2, name) for name in ("stalls", "fails", "fine"))
        assert await results(fine) == [ids_of("fine", 5)] * 2
        for task in failed:
            with pytest.raises(NotFound):
                await task
        assert not any(task.done() for task in stalled)
        assert asked(server) == {"stalls": 1, "fails": 1, "fine": 1}
        for task in stalled:
            task.cancel()
        await asyncio.wait(stalled)


@pytest.mark.fault("L3")
def test_another_loop_is_refused(connect: Connect) -> None:
    """By the error that every call gives, also while a call is in flight, or where one is kept."""

    async def main() -> None:
        go_on = asyncio.Event()
        async with (
            RawServer(by_project({"slow": when_told(go_on, lists(1))}, lists(1))) as server,
            connect(server.base_url, **PATIENT) as client,
        ):
            await client.get_jobs("kept", max_age=60)
            slow = calls(client, 1, "slow")
            await server.wait_until(lambda: len(server.requests) == 2)
            for name in ("kept", "slow", "other"):
                with pytest.raises(ConfigurationError, match="one client per loop"):
                    await asyncio.to_thread(asyncio.run, client.get_jobs(name, max_age=60))
            go_on.set()
            assert await results(slow) == [ids_of("slow", 1)]

    asyncio.run(main())


@pytest.mark.fault("L2")
async def test_closing_the_client_ends_calls_in_flight(connect: Connect) -> None:
    """At once and with `ClientClosed` for each of them; no task is left when it has closed."""
    async with nothing_left(), RawServer([begins(2)]) as server:
        before = tasks_but_of_servers()
        client = connect(server.base_url, **PATIENT)
        tasks = calls(client, 3)
        await all_wait(server)
        late = calls(client, 1, "late")  # has not had a turn yet
        await client.aclose()
        assert tasks_but_of_servers() - {*tasks, *late} == before
        for task in tasks + late:
            with pytest.raises(ClientClosed):
                await task
        with pytest.raises(ClientClosed):
            await client.get_jobs("p")
        await server.wait_closed_by_client(0)


@pytest.mark.fault("L2")
async def test_a_closed_client_gives_nothing_that_was_kept(connect: Connect) -> None:
    """It says that it is closed, as everywhere."""
    async with RawServer([lists(1)]) as server:
        client = connect(server.base_url)
        await client.get_jobs("p", max_age=60)
        await client.aclose()
        with pytest.raises(ClientClosed):
            await client.get_jobs("p", max_age=60)


@pytest.mark.fault("L2")
async def test_closing_the_client_waits_for_what_its_task_cleans_up(connect: Connect) -> None:
    """A function that gives the key may take a while to end; it has ended when `aclose()` has."""
    ended = False

    async def ask() -> str:
        nonlocal ended
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.03)
            ended = True
        return "key"

    async with nothing_left(), RawServer([]) as server:
        client = connect(server.base_url, api_key=ask)
        (call,) = calls(client, 1)
        await turns()
        await client.aclose()
        assert ended
        with pytest.raises(ClientClosed):
            await call


@pytest.mark.fault("L2")
@pytest.mark.parametrize("is_borrowed", [False, True])
async def test_a_function_of_the_callers_may_close_the_client(
    connect: Connect, is_borrowed: bool
) -> None:
    """Called by the very task that is waited for then, it waits for nobody."""
    clients: list[AsyncPlangrep] = []

    async def ask() -> str:
        await clients[0].aclose()
        return "key"

    async with nothing_left(), RawServer([]) as server, aiohttp.ClientSession() as own:
        session = own if is_borrowed else None
        clients.append(connect(server.base_url, api_key=ask, session=session))
        with pytest.raises(ClientClosed):
            await asyncio.wait_for(clients[0].get_jobs("p"), 5)


async def test_it_runs_in_the_context_of_who_began_it(connect: Connect) -> None:
    """A trace of the request belongs to the caller that caused it."""
    visitor: contextvars.ContextVar[str] = contextvars.ContextVar("visitor", default="nobody")
    seen: list[str] = []

    def ask() -> str:
        seen.append(visitor.get())
        return "key"

    async def call(client: AsyncPlangrep, name: str) -> None:
        visitor.set(name)
        await client.get_jobs("p")
        assert visitor.get() == name

    async with (
        RawServer([lists(1, delay=0.01)]) as server,
        connect(server.base_url, api_key=ask) as client,
    ):
        await asyncio.gather(call(client, "first"), call(client, "second"))
    assert seen == ["first"]


async def test_a_list_that_is_young_enough_is_given_again(connect: Connect) -> None:
    """Measured from when it was asked for: what is older than that is asked for anew."""
    async with (
        RawServer([lists(5, delay=0.06), lists(6), lists(7)]) as server,
        connect(server.base_url) as client,
    ):
        first = await client.get_jobs("p", max_age=30)
        assert await client.get_jobs("p", max_age=30) is first
        assert len(await client.get_jobs("p", max_age=0.05)) == 6
        assert len(await client.get_jobs("p", max_age=30)) == 6
        assert len(await client.get_jobs("p")) == 7
        assert len(await client.get_jobs("p", max_age=30)) == 7
        assert len(server.requests) == 3


async def test_nothing_is_kept_for_who_does_not_ask_for_it(connect: Connect) -> None:
    """Without a `max_age` a list is freed with its last caller; with one, that project's is not."""
    async with RawServer(lists(2)) as server, connect(server.base_url) as client:
        for name in names(3):
            await client.get_jobs(name)
        assert not client._readers._whole_lists._kept
        await client.get_jobs("p", max_age=1)
        await client.get_jobs("q")
        assert list(client._readers._whole_lists._kept) == ["p"]
        assert not client._readers._whole_lists._flights


async def test_a_caller_that_joins_can_ask_to_keep_it(connect: Connect) -> None:
    """What the leader would not have kept is kept for them."""
    async with (
        RawServer([lists(5, delay=0.01)]) as server,
        connect(server.base_url) as client,
    ):
        await results(calls(client, 1) + calls(client, 1, max_age=30))
        assert len(await client.get_jobs("p", max_age=30)) == 5


async def test_the_lists_of_at_most_128_projects_are_kept(connect: Connect) -> None:
    """Those that were used least recently go first."""
    async with RawServer(lists(1)) as server, connect(server.base_url) as client:
        for name in names(128):
            await client.get_jobs(name, max_age=60)
        await client.get_jobs(names(1)[0], max_age=60)
        await client.get_jobs("one more", max_age=60)
        assert len(server.requests) == 129
        await client.get_jobs(names(1)[0], max_age=60)
        assert len(server.requests) == 129
        await client.get_jobs(names(2)[1], max_age=60)
        assert len(server.requests) == 130
        assert len(client._readers._whole_lists._kept) == 128


@pytest.mark.parametrize("age", [-1, float("nan"), float("inf"), True, "5", None])
async def test_an_age_that_is_none_is_refused(age: Any) -> None:
    """As are ids that are none, before anything is sent."""
    async with RawServer([]) as server, AsyncPlangrep("key", base_url=server.base_url) as client:
        with pytest.raises(ConfigurationError, match="max_age"):
            await client.get_jobs("p", max_age=age)
        for name in ("", "..", None, ["p"]):
            with pytest.raises(ConfigurationError, match="project id"):
                await client.get_jobs(name)  # type: ignore[arg-type]
        assert server.connections == 0


async def test_a_call_that_ends_by_itself_as_cancelled_cancels_its_callers(
    connect: Connect,
) -> None:
    """A function of the caller's that raises `CancelledError` has the last word."""

    async def fetch() -> int:
        await turns()
        raise asyncio.CancelledError

    client = connect("http://127.0.0.1:9")
    single: SingleFlight[int] = SingleFlight(client._lifetime)
    callers = [asyncio.create_task(single.get("key", fetch, max_age=0)) for _ in range(2)]
    await asyncio.wait(callers)
    assert all(caller.cancelled() for caller in callers)
    await client.aclose()


async def test_callers_that_come_in_a_row_ask_once_in_each_age(connect: Connect) -> None:
    """A hundred visitors in a while: at most one request in each `max_age`."""
    async with RawServer(lists(3)) as server, connect(server.base_url) as client:
        begun = time.monotonic()
        for _ in range(100):
            await client.get_jobs("p", max_age=0.05)
            await asyncio.sleep(0.001)
        took = time.monotonic() - begun
        assert 2 <= len(server.requests) <= took / 0.05 + 1


async def test_the_download_ends_when_its_last_caller_leaves_in_mid_list(connect: Connect) -> None:
    """Also when it is the time-out of the only caller that fires."""
    async with (
        nothing_left(),
        RawServer([begins(20)]) as server,
        connect(server.base_url, **PATIENT) as client,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.get_jobs("p")
        await server.wait_closed_by_client(0)
        await wait_for(lambda: client._lifetime.limiter.pace.in_flight == 0)
