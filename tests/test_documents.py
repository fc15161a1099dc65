"""One project, one job and its result, against real servers: all of it, or one honest error."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

from plangrep_async import (
    ApiStatusError,
    AsyncPlangrep,
    ClientClosed,
    ConfigurationError,
    IncompleteResponse,
    InvalidJob,
    InvalidResponse,
    Job,
    NotFound,
    PlangrepError,
    Project,
    ServerError,
)
from plangrep_async.converter import make_converter
from plangrep_async.emulator import Emulator
from tests.conftest import PROJECT, QUICK, TOKEN, wire_job
from tests.faults.answers import LANES
from tests.faults.bulk import PATIENT
from tests.faults.streams import nothing_left, stall, turns
from tests.raw_server import (
    CHUNKED,
    Connection,
    RawServer,
    Script,
    chunked,
    head,
    json_response,
    response,
)
from tests.secrets import leaks
from tests.test_elements import plain_converter

Connect = Callable[..., AsyncPlangrep]
Ask = Callable[[AsyncPlangrep], Awaitable[Any]]

JOB = wire_job(7)
RESULT = {"schemaVersion": "v1", "documents": [{"fileId": "file_1"}], "warnings": []}
NOW = {"createdAt": "2024-11-02T09:00:00Z", "updatedAt": "2024-11-02T09:00:00Z"}

ASK: dict[str, Ask] = {
    "project": lambda client: client.get_project(PROJECT),
    "job": lambda client: client.get_job("job_1"),
    "result": lambda client: client.get_job_result("job_1"),
}
ANSWERS = {
    "project": {"project": {"id": PROJECT, "status": "ready", **NOW}},
    "job": {"job": JOB},
    "result": RESULT,
}
ABOUT = {"project": (PROJECT, None), "job": (None, "job_1"), "result": (None, "job_1")}

each = pytest.mark.parametrize("kind", ASK)


def sends(body: bytes, status: int = 200) -> Script:
    async def send(conn: Connection) -> None:
        await conn.send(response(body, status=status))

    return send


def breaks_off(body: bytes) -> Script:
    async def send(conn: Connection) -> None:
        await conn.send(head(headers=[CHUNKED]) + chunked([body], terminator=False))
        conn.close()

    return send


def answers(obj: object, status: int = 200) -> Script:
    return sends(json_response(obj).partition(b"\r\n\r\n")[2], status)


async def refusal(
    connect: Connect, kind: str, scripts: list[Script], error: type[PlangrepError], **options: Any
) -> Any:
    """Ask for something; give the error that is expected, after all scripts were used."""
    async with (
        nothing_left(),
        RawServer(scripts) as server,
        connect(server.base_url, **options) as client,
    ):
        with pytest.raises(error) as caught:
            await ASK[kind](client)
        assert len(server.requests) == len(scripts)
    assert (caught.value.project_id, caught.value.job_id) == ABOUT[kind]
    assert leaks(caught.value, TOKEN, "canary") == []
    return caught.value


async def test_all_of_them_are_as_the_emulator_holds_them(connect: Connect) -> None:
    """Each with one request to the path of the documentation, and equal to what the server has."""
    converter = make_converter()
    async with (
        Emulator(projects=4, jobs_per_project=30) as emulator,
        connect(emulator.base_url, api_key=emulator.api_key) as client,
    ):
        for name in emulator.project_ids:
            expected = converter.structure(emulator.project(name), Project)
            assert await client.get_project(name) == expected
            for wire in emulator.jobs(name):
                assert await client.get_job(wire["id"]) == converter.structure(wire, Job)
        with_result = [
            job for name in emulator.project_ids for job in emulator.jobs(name) if job["resultUrl"]
        ]
        result = await client.get_job_result(with_result[0]["id"])
        assert result["job"]["id"] == with_result[0]["id"]
        assert result["usage"]["pageCount"] == with_result[0]["pageCount"]
        assert emulator.requests[0].path == f"/api/open/v1/projects/{emulator.project_ids[0]}"
        path = f"/api/open/v1/jobs/{with_result[0]['id']}/result"
        assert emulator.requests[-1].path == path
        assert len(emulator.requests) == 4 * 31 + 1


@each
async def test_what_is_not_there_is_not_found_by_its_id(connect: Connect, kind: str) -> None:
    """It is asked for once, and the error names it, as an attribute too."""
    error = await refusal(connect, kind, [answers({"code": "gone"}, 404)], NotFound)
    assert error.code == "gone"
    assert f"({f'project {PROJECT}' if kind == 'project' else 'job job_1'})" in str(error)


async def test_a_job_without_a_result_is_an_error_of_its_status(connect: Connect) -> None:
    """Which status that is nobody documents: 409 is as good as 404."""
    error = await refusal(connect, "result", [answers({"code": "not_ready"}, 409)], ApiStatusError)
    assert (error.status, error.code) == (409, "not_ready")
    async with (
        Emulator(jobs_per_project=5) as emulator,
        connect(emulator.base_url, api_key=emulator.api_key) as client,
    ):
        job = next(job for job in emulator.jobs(emulator.project_ids[0]) if not job["resultUrl"])
        with pytest.raises(NotFound):
            await client.get_job_result(job["id"])


@each
@pytest.mark.fault("H7", "B1")
async def test_what_may_pass_is_asked_again(connect: Connect, kind: str) -> None:
    """A refusal, and an answer that breaks off, in HTTP's view or only in that of JSON."""

    async def cut(conn: Connection) -> None:
        await conn.send(head(headers=[CHUNKED]) + chunked([b'{"job":'], terminator=False))
        conn.close()

    body = json.dumps(ANSWERS[kind]).encode()
    scripts = [answers({}, 503), cut, sends(body[:-1]), sends(b""), sends(body)]
    async with (
        RawServer(scripts) as server,
        connect(server.base_url, retry=attrs.evolve(QUICK, attempts=5)) as client,
    ):
        await ASK[kind](client)
        assert len(server.requests) == 5


@each
@pytest.mark.fault("B6")
async def test_what_always_breaks_off_is_incomplete(connect: Connect, kind: str) -> None:
    """A text that HTTP calls whole is not, if it does not close."""
    body = json.dumps(ANSWERS[kind]).encode()[:-1]
    error = await refusal(connect, kind, [sends(body)] * 3, IncompleteResponse)
    assert error.attempts == 3


@each
@pytest.mark.fault("S6", "S8", "S9")
@pytest.mark.parametrize(
    "body",
    [b"<html>canary</html>", b"[]", b"null", b'"canary"', b'{"error":{"code":"canary"}}'],
    ids=repr,
)
async def test_another_document_is_an_invalid_response(
    connect: Connect, kind: str, body: bytes
) -> None:
    """It is asked for once, and names the request."""
    error = await refusal(connect, kind, [sends(body)], InvalidResponse)
    assert type(error) is InvalidResponse
    assert str(error).startswith("GET http://127.0.0.1:")


@pytest.mark.fault("S7")
@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize(
    ("bad", "path"),
    [
        (None, "$"),
        (7, "$"),
        ([JOB], "$"),
        ({**JOB, "pageCount": "canary"}, "$.page_count"),
        ({**JOB, "pageCount": 1.0}, "$.page_count"),
        ({**JOB, "createdAt": "2024-11-02T09:00:00"}, "$.created_at"),
        ({**JOB, "files": [{"id": None}]}, "$.files[0].id"),
    ],
    ids=["null", "number", "list", "text", "float", "no zone", "deep"],
)
async def test_a_job_that_is_none_is_an_invalid_job(
    connect: Connect, lane: str, bad: Any, path: str
) -> None:
    """By the same rules as in a list: what is wrong and where, and never what stood there."""
    error = await refusal(connect, "job", [answers({"job": bad})], InvalidJob, **LANES[lane])
    assert (error.index, error.path) == (0, path)
    assert "it is no job" in str(error)


@pytest.mark.fault("S7")
async def test_a_project_that_is_none_is_an_invalid_response(connect: Connect) -> None:
    """As in the list of projects."""
    error = await refusal(connect, "project", [answers({"project": {"id": 7}})], InvalidResponse)
    assert type(error) is InvalidResponse
    assert "it is no project" in str(error)


@pytest.mark.fault("S2", "S9")
@pytest.mark.parametrize("lane", LANES)
async def test_what_a_list_takes_is_taken(connect: Connect, lane: str) -> None:
    """A cut emoji, an escaped name, a status of tomorrow, and members that nobody knows."""
    job = {**JOB, "externalId": "\ud83d", "status": "paused", "more": {"job": 1}}
    body = json.dumps({"x": [{"job": 0}], "job": job, "y": "\ude00"}).encode()
    scripts = [sends(body.replace(b'"job": {"id', rb'"\u006aob": {"id'))]
    async with RawServer(scripts) as server, connect(server.base_url, **LANES[lane]) as client:
        got = await client.get_job("job_1")
        assert (got.external_id, got.status, got.status.is_terminal) == ("\ufffd", "paused", False)


@each
@pytest.mark.fault("S1", "S2", "S3")
@pytest.mark.parametrize(
    "value",
    [b"NaN", b'"\xff"', b"[" * 100_000 + b"]" * 100_000, b'"\x01"', b"01"],
    ids=["NaN", "no UTF-8", "deep", "control", "number"],
)
async def test_what_is_no_json_is_refused_in_unknown_members_too(
    connect: Connect, kind: str, value: bytes
) -> None:
    """Beside what is wanted, and inside of it."""
    body = json.dumps(ANSWERS[kind]).encode()
    for text in (body[:-1] + b',"x":' + value + b"}", body[:-2] + b',"x":' + value + b"}}"):
        error = await refusal(connect, kind, [sends(text)], InvalidResponse)
        assert not isinstance(error, IncompleteResponse)


@pytest.mark.fault("S10")
async def test_a_result_above_its_limit_says_what_to_do(connect: Connect) -> None:
    """The limit counts unpacked bytes, and the rest is not downloaded."""
    body = json.dumps({**RESULT, "evidence": ["x" * 100] * 80_000}).encode()
    async with (
        nothing_left(),
        RawServer([sends(body), sends(body)], send_buffer_bytes=16 << 10) as server,
        connect(server.base_url) as client,
    ):
        with pytest.raises(
            InvalidResponse, match=r"max_result_bytes, 100000: allow more"
        ) as caught:
            await client.get_job_result("job_1", max_result_bytes=100_000)
        await server.wait_closed_by_client(0)
        assert server.accepted[0].bytes_sent < len(body) / 2
        assert caught.value.job_id == "job_1"
        result = await client.get_job_result("job_1", max_result_bytes=len(body))
        assert result["evidence"] == ["x" * 100] * 80_000


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, None])
async def test_a_limit_that_is_none_is_refused(limit: Any) -> None:
    """Nothing is sent."""
    async with RawServer([]) as server, AsyncPlangrep("key", base_url=server.base_url) as client:
        with pytest.raises(ConfigurationError, match="max_result_bytes"):
            await client.get_job_result("job_1", max_result_bytes=limit)
        assert server.connections == 0


@each
async def test_a_broken_answer_names_its_request_once(connect: Connect, kind: str) -> None:
    """Whether its HTTP breaks off or its JSON does."""
    body = json.dumps(ANSWERS[kind]).encode()[:-3]
    for script in (sends(body), breaks_off(body)):
        error = await refusal(connect, kind, [script] * 3, IncompleteResponse)
        assert str(error).count("GET ") == 1


@pytest.mark.fault("S10")
@pytest.mark.parametrize("kind", ["job", "project"])
async def test_a_single_object_has_the_limit_of_one_job(connect: Connect, kind: str) -> None:
    """`max_job_bytes` bounds the whole answer."""
    body = json.dumps(ANSWERS[kind]).encode() + b" " * 4096
    error = await refusal(connect, kind, [sends(body)], InvalidResponse, max_job_bytes=4096)
    assert "exceeds max_job_bytes, 4096" in str(error)


@pytest.mark.fault("X2")
@each
async def test_an_id_is_one_segment_or_refused(connect: Connect, kind: str) -> None:
    """As in the path of a list."""

    def ask(client: AsyncPlangrep, name: Any) -> Awaitable[Any]:
        ways: dict[str, Callable[[Any], Awaitable[Any]]] = {
            "project": client.get_project,
            "job": client.get_job,
            "result": client.get_job_result,
        }
        return ways[kind](name)

    before = "/projects/" if kind == "project" else "/jobs/"
    after = "/result" if kind == "result" else ""
    async with (
        RawServer([answers(ANSWERS[kind])]) as server,
        connect(server.url("/api/v1")) as client,
    ):
        await ask(client, "../a?b#c%2e")
        assert server.requests[0].target == f"/api/v1{before}..%2Fa%3Fb%23c%252e{after}"
        for name in ("", ".", "..", "\ud83d", None, 7):
            with pytest.raises(ConfigurationError, match="id must"):
                await ask(client, name)
        assert len(server.requests) == 1


async def half(conn: Connection) -> None:
    await conn.send(head(headers=[CHUNKED]) + chunked([b'{"job":'], terminator=False))
    await conn.stall()


@each
@pytest.mark.fault("L2")
@pytest.mark.parametrize(
    "script", [stall, half, answers({}, 503)], ids=["headers", "body", "between two attempts"]
)
async def test_closing_the_client_ends_it_wherever_it_waits(
    connect: Connect, kind: str, script: Script
) -> None:
    """It raises `ClientClosed` at once, and its connection is closed."""
    async with nothing_left(), RawServer([script]) as server:
        client = connect(server.base_url, **PATIENT)
        asking = asyncio.ensure_future(ASK[kind](client))
        await server.wait_until(lambda: len(server.requests) == 1)
        await asyncio.sleep(0.02)  # until it waits
        await turns()
        assert not asking.done()
        await client.aclose()
        with pytest.raises(ClientClosed):
            await asyncio.wait_for(asking, 2)
        await server.wait_closed_by_client(0)
        with pytest.raises(ClientClosed):
            await ASK[kind](client)


@each
@pytest.mark.fault("L4")
async def test_cancelling_it_closes_its_connection(connect: Connect, kind: str) -> None:
    """The caller's own time-out comes out as itself, and nothing is left."""
    async with (
        nothing_left(),
        RawServer([half]) as server,
        connect(server.base_url, **PATIENT) as client,
    ):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.ensure_future(ASK[kind](client)), 0.1)
        await server.wait_closed_by_client(0)
        assert client._lifetime.limiter.pace.in_flight == 0


@each
async def test_a_time_out_of_the_key_function_is_the_callers(connect: Connect, kind: str) -> None:
    """What the caller's own function raises comes through, and nothing is sent."""

    async def ask() -> str:
        raise TimeoutError("the vault is slow")

    async with RawServer([]) as server, connect(server.base_url, api_key=ask) as client:
        with pytest.raises(TimeoutError, match="vault"):
            await ASK[kind](client)


@pytest.mark.fault("H7")
@each
async def test_a_refusal_is_tried_as_often_as_the_policy_says(connect: Connect, kind: str) -> None:
    """And the last one is what is raised."""
    error = await refusal(connect, kind, [answers({}, 500)] * 3, ServerError)
    assert error.attempts == 3


async def test_a_hook_of_the_callers_is_used(connect: Connect) -> None:
    """The client's converter makes single objects, too."""
    converter = plain_converter()
    converter.register_structure_hook(str, lambda value, _: f"{value}!")
    async with (
        RawServer([answers({"job": JOB})]) as server,
        connect(server.base_url, converter=converter) as client,
    ):
        assert (await client.get_job("job_1")).id == f"{JOB['id']}!"


@pytest.mark.fault("L9")
async def test_a_large_result_lets_others_run(connect: Connect) -> None:
    """Others in the loop get many turns while it is read and decoded."""
    body = json.dumps({**RESULT, "evidence": [{"text": "door", "box": [1.5] * 9}] * 30_000})
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    async with RawServer([sends(body.encode())]) as server, connect(server.base_url) as client:
        ticking = asyncio.create_task(tick())
        result = await client.get_job_result("job_1")
        ticking.cancel()
    assert len(result["evidence"]) == 30_000
    assert ticks > len(body) / (64 << 10)
