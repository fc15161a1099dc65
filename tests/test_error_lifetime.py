"""An error is gone when its last holder is: it waits for no garbage collector, nor keeps a loop."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import backoff
import pytest

from plangrep_async import AsyncPlangrep, PlangrepError
from plangrep_async.emulator import Emulator
from tests.conftest import document, wire_job
from tests.raw_server import CHUNKED, Connection, RawServer, Script, chunked, head, json_response

pytestmark = pytest.mark.skipif(
    hasattr(backoff._async, "aretry_context"),
    reason="the fork of backoff keeps its last error in a cycle of its own",
)

Ask = Callable[[AsyncPlangrep], Awaitable[object]]


async def read(client: AsyncPlangrep) -> None:
    async for _ in client.list_jobs("proj_1"):
        pass


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Let nothing be freed but what nobody refers to."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


JOBS = [wire_job(number * 60) for number in range(3)]
OUT_OF_ORDER = [*JOBS, wire_job(180), wire_job(170)]
PROJECT_NOW = {"createdAt": "2024-11-02T09:00:00Z", "updatedAt": "2024-11-02T09:00:00Z"}


def answer(obj: object, status: int = 200) -> Script:
    async def send(conn: Connection) -> None:
        await conn.send(json_response(obj, status=status))

    return send


async def cut(conn: Connection) -> None:
    """Send two jobs, then end the connection."""
    part = document(JOBS[:2])[:-2]
    await conn.send(head(headers=[CHUNKED]) + chunked([part], terminator=False))
    await asyncio.sleep(0.02)  # until the client has read it
    conn.close()


def errors() -> list[PlangrepError]:
    """Find those that are in memory."""
    return [one for one in gc.get_objects() if isinstance(one, PlangrepError)]


FAILS = answer({}, 503)
PROJECT = answer({"project": {"id": "proj_1", "status": "ready", **PROJECT_NOW}})
LIST = answer({"jobs": JOBS})


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    ("ask", "scripts"),
    [
        ("project", [FAILS, ...]),
        ("project", [FAILS, answer({}, 404)]),
        ("project", [FAILS, PROJECT]),
        ("list", [FAILS, ...]),
        ("list", [FAILS, LIST]),
        ("list", [cut, LIST]),
        ("list", [cut, cut, ...]),
        ("list", [answer({"jobs": [*JOBS, {"id": 7}]})]),
        ("list", [cut, answer({"jobs": OUT_OF_ORDER})]),
    ],
)
async def test_no_error_is_left_of_what_was_tried_again(
    ask: str, scripts: list[Script], connect: Callable[..., AsyncPlangrep]
) -> None:
    """Neither those that were outlived nor the last one, whatever came of it."""
    others = errors()  # of other tests, which somebody keeps
    async with RawServer(scripts) as server, connect(server.base_url) as client:
        with suppress(PlangrepError):
            await (read(client) if ask == "list" else client.get_project("proj_1"))
        await asyncio.sleep(0.01)
        assert [one for one in errors() if not any(one is other for other in others)] == []


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "ask",
    [
        read,
        lambda client: client.get_jobs("proj_1"),
        lambda client: client.current_job("proj_1"),
        lambda client: client.get_project("proj_1"),
        lambda client: client.get_job("job_1"),
        lambda client: client.get_job_result("job_1"),
    ],
    ids=["list_jobs", "get_jobs", "current_job", "get_project", "get_job", "get_job_result"],
)
async def test_an_error_is_freed_with_its_last_reference(ask: Ask) -> None:
    """No frame of its traceback refers to it, so that nothing it holds outlives its handler."""
    async with Emulator() as emulator, AsyncPlangrep("pgk_1", base_url=emulator.base_url) as client:
        freed: list[object] = []
        with suppress(PlangrepError):
            try:
                await ask(client)
            except PlangrepError as error:
                weakref.finalize(error, freed.append, "freed")
                raise
        assert freed == ["freed"]
