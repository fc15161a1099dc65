"""Making, using and closing a client."""

import asyncio
import gc
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import aiohttp
import attrs
import psutil
import pytest
from cattrs import Converter

from plangrep_async import AsyncPlangrep, ClientClosed, ConfigurationError, RetryPolicy, Timeouts
from tests.conftest import KEY, PROJECT, document, wire_job
from tests.raw_server import Connection, RawServer, response

Connect = Callable[..., AsyncPlangrep]


async def fine(conn: Connection) -> None:
    await conn.send(response(document([wire_job(0)])))


async def count(client: AsyncPlangrep) -> int:
    return len([job async for job in client.list_jobs(PROJECT)])


def test_key_and_address_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments the two environment variables count, and a missing key says which."""
    monkeypatch.delenv("PLANGREP_API_KEY", raising=False)
    monkeypatch.setenv("PLANGREP_BASE_URL", "http://127.0.0.1:1/api/")
    with pytest.raises(ConfigurationError, match="PLANGREP_API_KEY"):
        AsyncPlangrep()
    monkeypatch.setenv("PLANGREP_API_KEY", KEY)
    assert repr(AsyncPlangrep()) == "AsyncPlangrep(base_url='http://127.0.0.1:1/api')"
    monkeypatch.delenv("PLANGREP_BASE_URL")
    assert repr(AsyncPlangrep()) == "AsyncPlangrep(base_url='https://plangrep.com/api/open/v1')"


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"api_key": "with blank"}, "API key"),
        ({"api_key": 7}, "api_key"),
        ({"base_url": "http://plangrep.com/api"}, "https"),
        ({"max_job_bytes": 10}, "max_job_bytes"),
        ({"max_job_bytes": True}, "max_job_bytes"),
        ({"user_agent_suffix": "two\nlines"}, "user_agent_suffix"),
        ({"user_agent_suffix": ""}, "user_agent_suffix"),
        ({"user_agent_suffix": 5}, "user_agent_suffix"),
        ({"user_agent_suffix": ["my", "service"]}, "user_agent_suffix"),
        ({"trust_env": "false"}, "trust_env"),
        ({"ssl": False}, "SSLContext"),
        ({"ssl": True}, "SSLContext"),
        ({"converter": Converter()}, "make_converter"),
        ({"converter": object()}, "converter"),
        ({"timeout": 5}, "timeout"),
        ({"timeout": None}, "timeout"),
        ({"retry": 3}, "retry"),
        ({"session": object()}, "session"),
        ({"trace_configs": None}, "trace_configs"),
        ({"trace_configs": [1]}, "trace_configs"),
    ],
)
def test_what_cannot_work_is_refused_by_the_constructor(
    options: dict[str, Any], names: str
) -> None:
    """A wrong argument is a `ConfigurationError` that names it, and a `ValueError`."""
    with pytest.raises(ConfigurationError, match=names) as caught:
        AsyncPlangrep(**{"api_key": KEY, **options})
    assert isinstance(caught.value, ValueError)


def test_what_cannot_take_elements_is_refused_by_the_call() -> None:
    """An `on_invalid` that is no function is a `ConfigurationError` of `list_jobs()` itself."""
    client = AsyncPlangrep(KEY)
    on_invalid: Any = 3
    with pytest.raises(ConfigurationError, match="on_invalid"):
        client.list_jobs(PROJECT, on_invalid=on_invalid)


@pytest.mark.fault("X4")
def test_neither_repr_nor_attributes_in_repr_show_the_key() -> None:
    """The key stays out of the `repr` of the client and of what it is made of."""
    client = AsyncPlangrep(KEY)
    parts = [client, *vars(client).values()]
    for _ in range(2):
        parts += [part for one in parts if hasattr(one, "__dict__") for part in vars(one).values()]
    assert not [part for part in parts if KEY in repr(part) and part != KEY]


@pytest.mark.fault("L3")
async def test_closing_is_idempotent_and_final(connect: Connect) -> None:
    """A closed client stays closed, however often it is closed, and says so when it is used."""
    async with RawServer([fine]) as server:
        client = connect(server.base_url)
        async with client:
            assert await count(client) == 1
        await client.aclose()
        with pytest.raises(ClientClosed):
            await count(client)
        await server.wait_closed_by_client(0)


async def test_a_client_that_was_never_used_closes_without_a_session(connect: Connect) -> None:
    """The session is made on first use: an unused client opens and leaves nothing."""
    async with RawServer([]) as server, connect(server.base_url):
        pass
    assert server.connections == 0


@pytest.mark.fault("L3")
def test_a_client_may_be_made_outside_a_loop_and_used_in_one(connect: Connect) -> None:
    """Making it needs no event loop; using it on a second one is refused."""
    clients: list[AsyncPlangrep] = []

    async def first() -> int:
        async with RawServer([fine]) as server:
            clients.append(connect(server.base_url))
            jobs = await count(clients[0])
            with pytest.raises(ConfigurationError, match="one client per loop"):
                await asyncio.to_thread(asyncio.run, count(clients[0]))
            await clients[0].aclose()
            return jobs

    assert asyncio.run(first()) == 1


@pytest.mark.fault("L6", "X4")
async def test_a_forgotten_client_warns_once_and_closes_its_connections(connect: Connect) -> None:
    """Dropping an open client gives one `ResourceWarning` that names the way to close it."""
    async with RawServer([fine]) as server:
        client = connect(server.base_url)
        assert await count(client) == 1
        gc.collect()  # what other tests left is not the matter here
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del client
            gc.collect()
        (warning,) = caught
        assert warning.category is ResourceWarning
        assert "async with" in str(warning.message)
        assert KEY not in str(warning.message)
        await server.wait_closed_by_client(0)


@pytest.mark.fault("L7")
async def test_a_session_of_the_callers_is_used_and_left_alone(connect: Connect) -> None:
    """A borrowed session is neither closed nor changed, and its middlewares run."""
    seen: list[str] = []

    async def note(request: aiohttp.ClientRequest, handler: Any) -> Any:
        seen.append(request.method)
        return await handler(request)

    async with (
        RawServer([fine, fine]) as server,
        aiohttp.ClientSession(headers={"X-Mine": "1"}, middlewares=[note]) as session,
    ):
        headers = dict(session.headers)
        for _ in range(2):
            async with connect(server.base_url, session=session) as client:
                assert await count(client) == 1
        assert not session.closed
        assert dict(session.headers) == headers
        assert [request.headers["X-Mine"] for request in server.requests] == ["1", "1"]
        assert seen == ["GET", "GET"]
        assert server.connections == 1


async def test_a_session_that_cannot_serve_is_refused(connect: Connect) -> None:
    """A session that does not decompress, or options meant for our own session, are refused."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        with pytest.raises(ConfigurationError, match="auto_decompress"):
            connect("http://127.0.0.1:1", session=session)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ConfigurationError, match="your own session"):
            connect("http://127.0.0.1:1", session=session, trust_env=True)
        client = connect("http://127.0.0.1:1", session=session)
    with pytest.raises(ClientClosed, match="session given"):
        await count(client)


async def test_trace_configs_see_the_requests(connect: Connect) -> None:
    """`trace_configs` are handed to the session, next to what the client needs itself."""
    ended: list[int] = []

    async def on_end(_: Any, __: Any, params: aiohttp.TraceRequestEndParams) -> None:
        ended.append(params.response.status)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(on_end)
    async with (
        RawServer([fine]) as server,
        connect(server.base_url, trace_configs=[trace]) as client,
    ):
        await count(client)
    assert ended == [200]


async def test_many_lists_at_once_share_a_client(connect: Connect) -> None:
    """Streams of one client run side by side, each complete."""
    async with RawServer(fine) as server, connect(server.base_url) as client:
        assert await asyncio.gather(*(count(client) for _ in range(30))) == [1] * 30


@pytest.mark.fault("L8")
async def test_nothing_is_left_behind(connect: Connect) -> None:
    """After a client is closed there is no task and no open socket of its making."""
    process = psutil.Process()

    async def work() -> None:
        async with RawServer(fine) as server, connect(server.base_url) as client:
            for _ in range(5):
                await count(client)

    await work()
    before = process.net_connections()
    await work()
    assert process.net_connections() == before
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_policies_are_values() -> None:
    """`RetryPolicy` and `Timeouts` compare by value, pickle, and do not change."""
    for value in (RetryPolicy(attempts=2), Timeouts(read=3.0)):
        assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301
        assert value == attrs.evolve(value)
        assert "=" in repr(value)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            value.read = 1  # type: ignore[union-attr,misc]


@pytest.mark.fault("L3")
def test_a_session_of_another_loop_is_refused(connect: Connect) -> None:
    """It would fail in aiohttp, and not say why."""

    async def make() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    async def use() -> None:
        client = connect("http://127.0.0.1:9", session=session)
        with pytest.raises(ConfigurationError, match="another event loop"):
            await anext(client.list_jobs(PROJECT))

    with asyncio.Runner() as runner:
        session = runner.run(make())
        asyncio.run(use())
        runner.run(session.close())
