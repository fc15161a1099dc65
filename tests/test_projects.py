"""`list_projects` against real servers on loopback: all of the list, or one honest error."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from plangrep_async import (
    AsyncPlangrep,
    ClientClosed,
    IncompleteResponse,
    InvalidResponse,
    PermissionDenied,
    PlangrepError,
    Project,
    RetryPolicy,
    ServerError,
    Timeouts,
)
from plangrep_async.converter import make_converter
from plangrep_async.emulator import Emulator
from tests.faults.streams import nothing_left, stall, turns
from tests.raw_server import CHUNKED, Connection, RawServer, Script, chunked, head, json_response

Connect = Callable[..., AsyncPlangrep]

LONG: dict[str, Any] = {
    "timeout": Timeouts(connect=30, read=30),
    "retry": RetryPolicy(first_wait=30, max_wait=30),
}


def wire_project(number: int, **changes: Any) -> dict[str, Any]:
    """Make a project as the API sends it."""
    return {
        "id": f"proj_{number:03}",
        "name": f"Plan {number}",
        "projectKind": "open_api",
        "status": "ready",
        "runtime": {"status": "running", "upgradeStatus": None},
        "createdAt": "2024-11-02T09:00:00.000Z",
        "updatedAt": "2024-11-02T10:00:00.000Z",
        **changes,
    }


PROJECTS = [wire_project(number) for number in range(30)]


def answers(obj: object, status: int = 200) -> Script:
    """Send this as JSON."""

    async def send(conn: Connection) -> None:
        await conn.send(json_response(obj, status=status))

    return send


def cut(count: int) -> Script:
    """Send so many projects, then end the connection."""

    async def send(conn: Connection) -> None:
        body = json_response({"projects": PROJECTS[:count]}).partition(b"\r\n\r\n")[2]
        await conn.send(head(headers=[CHUNKED]) + chunked([body[:-2]], terminator=False))
        await asyncio.sleep(0.02)  # until the client has read it
        conn.close()

    return send


async def read(client: AsyncPlangrep) -> list[str]:
    """Read all; give the ids."""
    return [project.id async for project in client.list_projects()]


async def read_none(client: AsyncPlangrep, expected: type[PlangrepError]) -> PlangrepError:
    """Read to the error that is expected before any project."""
    seen = []
    try:
        async for project in client.list_projects():
            seen.append(project.id)  # noqa: PERF401  # a comprehension would lose it
    except expected as error:
        assert seen == []
        return error
    raise AssertionError(f"the list ended normally after {len(seen)} projects")


async def test_all_projects_arrive_as_the_emulator_holds_them(connect: Connect) -> None:
    """In the order of the API, each equal to the server's, and with one request."""
    converter = make_converter()
    async with (
        Emulator(projects=300, jobs_per_project=0, seed=2) as emulator,
        connect(emulator.base_url, api_key=emulator.api_key) as client,
    ):
        projects = [project async for project in client.list_projects()]
        expected = [
            converter.structure(emulator.project(name), Project) for name in emulator.project_ids
        ]
        assert projects == expected
        assert [request.path for request in emulator.requests] == ["/api/open/v1/projects"]
        assert emulator.requests[0].complete


async def test_projects_are_typed(connect: Connect) -> None:
    """Times are aware, what is missing has its default, and new fields and texts survive."""
    short = {
        "id": "proj_x",
        "status": "hibernating",
        "createdAt": "2024-11-02T09:00:00Z",
        "updatedAt": "2024-11-02T11:00:00+02:00",
        "colour": "blue",
    }
    async with (
        RawServer([answers({"projects": [PROJECTS[0], short], "more": 1})]) as server,
        connect(server.base_url) as client,
    ):
        first, second = [project async for project in client.list_projects()]
    nine = datetime(2024, 11, 2, 9, tzinfo=UTC)
    assert (first.id, first.name, first.project_kind) == ("proj_000", "Plan 0", "open_api")
    assert (first.status, first.runtime.status) == ("ready", "running")
    assert (first.runtime.upgrade_status, first.created_at) == (None, nine)
    assert second == Project(id="proj_x", status="hibernating", created_at=nine, updated_at=nine)


async def test_no_projects_are_no_error(connect: Connect) -> None:
    """An organisation without projects gives none."""
    async with RawServer([answers({"projects": []})]) as server, connect(server.base_url) as client:
        assert await read(client) == []


@pytest.mark.fault("B2")
async def test_a_list_that_was_cut_is_read_again_from_its_beginning(connect: Connect) -> None:
    """Without an order there is no place to go on from; each project is given once all the same."""
    async with (
        nothing_left(),
        RawServer([cut(20), cut(3), answers({"projects": PROJECTS})]) as server,
        connect(server.base_url) as client,
    ):
        assert await read(client) == [project["id"] for project in PROJECTS]


@pytest.mark.fault("B2")
async def test_a_list_that_is_always_cut_gives_nothing_but_the_error(connect: Connect) -> None:
    """Not one project is given of a list that never came to its end."""
    async with (
        nothing_left(),
        RawServer([cut(20)] * 3) as server,
        connect(server.base_url) as client,
    ):
        error = await read_none(client, IncompleteResponse)
        assert (error.attempts, error.delivered) == (3, 0)


@pytest.mark.parametrize(
    ("status", "requests", "error"), [(403, 1, PermissionDenied), (503, 3, ServerError)]
)
async def test_a_refusal_is_the_error_of_its_status(
    connect: Connect, status: int, requests: int, error: type[PlangrepError]
) -> None:
    """What may pass is asked again as often as the policy says."""
    async with (
        nothing_left(),
        RawServer([answers({"error": "no"}, status)] * requests) as server,
        connect(server.base_url) as client,
    ):
        assert (await read_none(client, error)).attempts == requests


@pytest.mark.fault("S7")
@pytest.mark.parametrize(
    "bad",
    [7, None, [], {}, wire_project(1, id=7), wire_project(1, createdAt="today canary")],
    ids=["number", "null", "list", "empty", "wrong id", "wrong time"],
)
async def test_a_bad_element_is_an_invalid_response(connect: Connect, bad: Any) -> None:
    """It says which one, asks once, and never shows what stood there."""
    async with (
        nothing_left(),
        RawServer([answers({"projects": [*PROJECTS[:5], bad, *PROJECTS[5:]]})]) as server,
        connect(server.base_url) as client,
    ):
        error = await read_none(client, InvalidResponse)
        assert type(error) is InvalidResponse
        assert "/projects: element 5 is no project" in str(error)
        assert "canary" not in str(error)


@pytest.mark.fault("S6")
@pytest.mark.parametrize("root", [{"jobs": []}, {"projects": None}, [], "x"], ids=repr)
async def test_another_document_is_an_invalid_response(connect: Connect, root: Any) -> None:
    """No list is not an empty list."""
    async with RawServer([answers(root)]) as server, connect(server.base_url) as client:
        await read_none(client, InvalidResponse)


async def half(conn: Connection) -> None:
    """Send the beginning of the list, and then nothing more."""
    await conn.send(head(headers=[CHUNKED]) + chunked([b'{"projects":['], terminator=False))
    await conn.stall()


@pytest.mark.fault("L2")
@pytest.mark.parametrize(
    "script", [stall, half, answers({}, 503)], ids=["headers", "body", "between two attempts"]
)
async def test_closing_the_client_ends_it_wherever_it_waits(
    connect: Connect, script: Script
) -> None:
    """It raises `ClientClosed` at once, and its connection is closed."""
    async with nothing_left(), RawServer([script]) as server:
        client = connect(server.base_url, **LONG)
        reading = asyncio.create_task(read_none(client, ClientClosed))
        await server.wait_until(lambda: len(server.requests) == 1)
        await asyncio.sleep(0.02)  # until it waits
        await turns()
        assert not reading.done()
        await client.aclose()
        await asyncio.wait_for(reading, 2)
        await server.wait_closed_by_client(0)


@pytest.mark.fault("L3")
async def test_a_closed_client_asks_nothing(connect: Connect) -> None:
    """Begun before its end or after it, the list is refused without a request."""
    async with nothing_left(), RawServer([]) as server:
        client = connect(server.base_url)
        before = client.list_projects()
        await client.aclose()
        for projects in (before, client.list_projects()):
            with pytest.raises(ClientClosed):
                await anext(projects)
        assert server.connections == 0


@pytest.mark.fault("L4")
async def test_cancelling_it_closes_its_connection(connect: Connect) -> None:
    """The consumer's own time-out comes out as itself, and nothing is left."""
    async with (
        nothing_left(),
        RawServer([half]) as server,
        connect(server.base_url, **LONG) as client,
    ):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(client), 0.05)
        await server.wait_closed_by_client(0)
        assert client._lifetime.limiter.pace.in_flight == 0


async def test_its_projects_are_ids_for_many_lists(connect: Connect) -> None:
    """`list_jobs_many` takes them as they come, from an asynchronous generator."""
    async with (
        Emulator(projects=12, jobs_per_project=5) as emulator,
        connect(emulator.base_url, api_key=emulator.api_key, max_concurrency=1) as client,
    ):
        ids = (project.id async for project in client.list_projects())
        async with client.list_jobs_many(ids) as jobs:
            seen = [job.id async for job in jobs]
        expected = {job["id"] for name in emulator.project_ids for job in emulator.jobs(name)}
        assert set(seen) == expected
        assert len(seen) == len(expected)


async def test_a_time_out_of_the_key_function_is_no_end(connect: Connect) -> None:
    """What the caller's own function raises comes through, and nothing is sent."""

    async def ask() -> str:
        raise TimeoutError("the vault is slow")

    async with RawServer([]) as server, connect(server.base_url, api_key=ask) as client:
        with pytest.raises(TimeoutError, match="vault"):
            _ = [project async for project in client.list_projects()]


async def test_a_list_without_end_is_refused(connect: Connect) -> None:
    """The list is held whole, so it has a limit, and the connection is closed there."""
    names = {"name": "x" * 100_000}
    element = json.dumps(wire_project(0, **names)).encode()

    async def endless(conn: Connection) -> None:
        await conn.send(head(headers=[CHUNKED]) + chunked([b'{"projects":['], terminator=False))
        while True:
            await conn.send(chunked([element + b","], terminator=False))

    async with RawServer([endless]) as server, connect(server.base_url) as client:
        with pytest.raises(InvalidResponse, match="too large"):
            _ = [project async for project in client.list_projects()]
        await server.wait_closed_by_client()
