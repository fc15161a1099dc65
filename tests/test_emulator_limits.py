"""The emulator refuses what is too much, fails when it is told to, and reports what it saw."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from plangrep_async import AsyncPlangrep, ServerError, Timeouts
from plangrep_async.emulator import Emulator, Fault, Limits, RequestRecord
from plangrep_async.emulator._admission import Admission, Refusal
from plangrep_async.emulator._faults import take
from plangrep_async.emulator._limits import Bucket, retry_after

RARE = 0.001  # tokens a second: no test lives long enough to see the next one
HOLD = Fault(stall_after_bytes=0, times=None)
OTHER_METHODS = ["POST", "DELETE", "HEAD"]


def session_of(emulator: Emulator) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers={"Authorization": f"Bearer {emulator.api_key}"})


async def fetch(
    emulator: Emulator, path: str = "/projects", method: str = "GET"
) -> aiohttp.ClientResponse:
    async with (
        session_of(emulator) as session,
        session.request(method, emulator.base_url + path) as response,
    ):
        await response.read()
    return response


async def statuses(emulator: Emulator, count: int, path: str = "/projects") -> list[int]:
    return [(await fetch(emulator, path)).status for _ in range(count)]


async def status_for_a_stranger(emulator: Emulator, path: str) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(emulator.base_url + path) as response,
    ):
        return response.status


def jobs_of(project_id: str) -> str:
    return f"/projects/{project_id}/jobs"


@contextlib.asynccontextmanager
async def held(emulator: Emulator, project_id: str, count: int) -> AsyncIterator[None]:
    """Keep so many requests in the middle of being answered."""
    emulator.faults[project_id] = [HOLD]
    first = len(emulator.requests)
    async with session_of(emulator) as session:
        url = emulator.base_url + jobs_of(project_id)
        responses = [await session.get(url) for _ in range(count)]
        records = emulator.requests[first:]
        assert [response.status for response in responses] == [200] * count
        yield
        for response in responses:
            response.close()
        for record in records:
            await end_of(record)
    del emulator.faults[project_id]


async def arrival(emulator: Emulator, count: int) -> None:
    """Wait until so many requests have come."""
    async with asyncio.timeout(5):
        while len(emulator.requests) < count:  # noqa: ASYNC110 - it is a list, to be looked at
            await asyncio.sleep(0.001)


async def end_of(record: RequestRecord) -> None:
    async with asyncio.timeout(5):
        while not record.ended:  # noqa: ASYNC110 - a record is plain data, to be looked at
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def raw_answer(
    emulator: Emulator, project_id: str, *, buffer_bytes: int = 64 * 1024
) -> AsyncIterator[tuple[bytes, asyncio.StreamReader]]:
    """Ask for a project's jobs, and give the headers and what comes after them, untouched."""
    url = URL(emulator.base_url + jobs_of(project_id))
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, (url.host, url.port))
        reader, writer = await asyncio.open_connection(sock=client, limit=buffer_bytes)
        writer.write(
            f"GET {url.path} HTTP/1.1\r\nHost: {url.host}\r\n"
            f"Authorization: Bearer {emulator.api_key}\r\n\r\n".encode()
        )
        try:
            yield await reader.readuntil(b"\r\n\r\n"), reader
        finally:
            writer.close()
            await writer.wait_closed()


async def read_chunk(reader: asyncio.StreamReader) -> bytes | None:
    """Read one HTTP chunk (RFC 9112, section 7.1): empty at the marked end, `None` after a cut."""
    size = await reader.readline()
    if not size:
        return None
    chunk = await reader.readexactly(int(size, 16))
    assert await reader.readexactly(2) == b"\r\n"
    return chunk


# The bucket


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate() -> None:
    """Four tokens at one instant, then one each half second."""
    bucket = Bucket(per_second=2.0, burst=4)
    for _ in range(4):
        assert bucket.wait(10.0) == 0.0
        bucket.take(10.0)
    assert bucket.wait(10.0) == 0.5
    assert bucket.wait(10.25) == 0.25
    assert bucket.wait(10.5) == 0.0
    bucket.take(10.5)
    assert bucket.wait(10.5) == 0.5


def test_a_bucket_holds_no_more_than_its_burst() -> None:
    """After a long rest there are as many tokens as at first."""
    bucket = Bucket(per_second=2.0, burst=2)
    bucket.take(0.0)
    for _ in range(2):
        assert bucket.wait(1000.0) == 0.0
        bucket.take(1000.0)
    assert bucket.wait(1000.0) == 0.5


@pytest.mark.parametrize(
    ("per_second", "tokens"), [(0.5, 1), (1.0, 1), (2.9, 2), (3.0, 3), (250, 250)]
)
def test_a_full_bucket_is_what_comes_back_in_a_second(per_second: float, tokens: int) -> None:
    """Without a burst of its own a bucket has one second's worth, and at least one token."""
    bucket = Bucket(per_second=per_second, burst=None)
    given_out = 0
    while bucket.wait(5.0) == 0.0:
        bucket.take(5.0)
        given_out += 1
    assert given_out == tokens


@given(
    per_second=st.floats(0.1, 1000),
    burst=st.integers(1, 20),
    gaps=st.lists(st.floats(0, 2), max_size=60),
)
def test_no_stretch_of_time_has_more_than_burst_and_rate_allow(
    per_second: float, burst: int, gaps: list[float]
) -> None:
    """At most burst + rate x time come in, and a wait that is told is long enough."""
    bucket = Bucket(per_second=per_second, burst=burst)
    now, taken = 0.0, list[float]()
    for gap in gaps:
        now += gap
        wait = bucket.wait(now)
        assert 0.0 <= wait <= 1 / per_second + 1e-6
        if wait > 0.0:
            assert bucket.wait(now + wait) < 1e-6
            continue
        bucket.take(now)
        taken.append(now)
    for first, start in enumerate(taken):
        for last, end in enumerate(taken[first:], start=1):
            assert last <= burst + per_second * (end - start) + 1e-6


@pytest.mark.parametrize(
    ("wait", "header"),
    [(0.0001, "1"), (1.0, "1"), (1.0000000001, "1"), (1.001, "2"), (59.5, "60"), (7200.0, "7200")],
)
def test_seconds_are_whole_and_rounded_up(wait: float, header: str) -> None:
    """A wait is told in whole seconds, at least one, and not made longer by noise."""
    assert retry_after("seconds", wait, 0.0) == header


@pytest.mark.parametrize(
    ("now", "wait", "header"),
    [
        (0.0, 1.0, "Thu, 01 Jan 1970 00:00:01 GMT"),
        (0.5, 1.0, "Thu, 01 Jan 1970 00:00:02 GMT"),
        (784111776.2, 0.01, "Sun, 06 Nov 1994 08:49:37 GMT"),
    ],
)
def test_a_date_is_the_first_whole_second_after_the_wait(
    now: float, wait: float, header: str
) -> None:
    """A date is written as HTTP wants it, and is never before the wait is over."""
    assert retry_after("date", wait, now) == header


def test_no_header_is_no_value() -> None:
    """A service may keep to itself how long to wait."""
    assert retry_after(None, 5.0, 0.0) is None


# Requests per second


async def test_too_many_requests_get_429() -> None:
    """The burst is answered and the rest refused, in the API's form and told how long to wait."""
    limits = Limits(requests_per_second=RARE, burst=3)
    async with Emulator(limits=limits) as emulator:
        assert emulator.limits is limits
        assert await statuses(emulator, 5) == [200, 200, 200, 429, 429]
        assert [record.status for record in emulator.requests] == [200, 200, 200, 429, 429]
        async with (
            session_of(emulator) as session,
            session.get(f"{emulator.base_url}/projects") as refused,
        ):
            error = await refused.json()
    assert list(error) == ["code", "message"]
    assert error["code"] == "too_many_requests"
    assert 900 < int(refused.headers["Retry-After"]) <= 1000


async def test_every_request_with_the_key_counts_and_no_other() -> None:
    """Unknown paths and methods cost a token; who has no key costs none, and always gets 401."""
    async with Emulator(limits=Limits(requests_per_second=RARE, burst=3)) as emulator:
        for _ in range(4):
            assert await status_for_a_stranger(emulator, "/projects") == 401
        assert (await fetch(emulator, "/nothing")).status == 404
        assert (await fetch(emulator, method="DELETE")).status == 405
        assert await statuses(emulator, 2) == [200, 429]
        assert await status_for_a_stranger(emulator, "/projects") == 401


async def test_a_date_can_say_how_long_to_wait() -> None:
    """`Retry-After` as a date is the whole second at which there is a token again."""
    limits = Limits(requests_per_second=RARE, burst=1, retry_after="date")
    async with Emulator(limits=limits) as emulator:
        before = time.time()
        await fetch(emulator)
        refused = await fetch(emulator)
        after = time.time()
    date = parsedate_to_datetime(refused.headers["Retry-After"]).timestamp()
    assert before + 1000 - 0.1 <= date <= after + 1001


async def test_a_429_may_say_nothing() -> None:
    """Without `retry_after` there is no such header."""
    limits = Limits(requests_per_second=RARE, burst=1, retry_after=None)
    async with Emulator(limits=limits) as emulator:
        await fetch(emulator)
        refused = await fetch(emulator)
    assert refused.status == 429
    assert "Retry-After" not in refused.headers


async def test_refused_requests_take_no_token() -> None:
    """Who asks without a pause is let in as soon as a token is back, as often as it was refused."""
    async with Emulator(limits=Limits(requests_per_second=20, burst=1)) as emulator:
        async with session_of(emulator) as session, asyncio.timeout(10):
            let_in = 0
            while let_in < 4:
                async with session.get(f"{emulator.base_url}/projects") as response:
                    let_in += response.status == 200
        times = [record.arrived for record in emulator.requests if record.status == 200]
        assert all(later - earlier >= 0.05 - 1e-6 for earlier, later in pairwise(times))


async def test_limits_can_be_set_at_any_time_and_begin_full() -> None:
    """Each assignment fills the bucket, that of the very same limits as well."""
    limits = Limits(requests_per_second=RARE, burst=2)
    async with Emulator() as emulator:
        assert await statuses(emulator, 3) == [200, 200, 200]
        for _ in range(2):
            emulator.limits = limits
            assert await statuses(emulator, 3) == [200, 200, 429]
        emulator.limits = Limits()
        assert await statuses(emulator, 3) == [200, 200, 200]


async def test_a_project_has_limits_of_its_own() -> None:
    """A project's bucket counts the requests whose path names it, and those of no other."""
    async with Emulator(projects=3) as emulator:
        one, two, free = emulator.project_ids
        for project_id in (one, two):
            emulator.project_limits[project_id] = Limits(requests_per_second=RARE, burst=2)
        assert await statuses(emulator, 1, f"/projects/{one}") == [200]
        assert await statuses(emulator, 2, jobs_of(one)) == [200, 429]
        assert await statuses(emulator, 3, jobs_of(two)) == [200, 200, 429]
        assert await statuses(emulator, 3, jobs_of(free)) == [200, 200, 200]
        assert await statuses(emulator, 3) == [200, 200, 200]
        emulator.project_limits[one] = Limits(requests_per_second=RARE, burst=1)
        assert await statuses(emulator, 2, jobs_of(one)) == [200, 429]
        taken_away = emulator.project_limits.pop(two)
        assert await statuses(emulator, 3, jobs_of(two)) == [200, 200, 200]
        emulator.project_limits[two] = taken_away
        assert await statuses(emulator, 3, jobs_of(two)) == [200, 200, 429]


async def test_both_limits_must_allow_a_request() -> None:
    """What a project is refused costs the organisation nothing, and the other way round."""
    async with Emulator(projects=2, limits=Limits(requests_per_second=RARE, burst=3)) as emulator:
        one, two = map(jobs_of, emulator.project_ids)
        once = Limits(requests_per_second=RARE, burst=1)
        emulator.project_limits[emulator.project_ids[0]] = once
        assert await statuses(emulator, 4, one) == [200, 429, 429, 429]
        assert await statuses(emulator, 3, two) == [200, 200, 429]
        emulator.project_limits[emulator.project_ids[0]] = replace(once)
        assert await statuses(emulator, 2, one) == [429, 429]
        emulator.limits = Limits()
        assert await statuses(emulator, 2, one) == [200, 429]


@pytest.mark.parametrize("slower", ["organisation", "project"])
async def test_the_longer_wait_is_told(slower: str) -> None:
    """Where two limits refuse, `Retry-After` is that of the one that lasts longer."""
    longer = Limits(requests_per_second=RARE / 2, burst=1, retry_after="date")
    shorter = Limits(requests_per_second=RARE, burst=1)
    limits, project_limits = (longer, shorter) if slower == "organisation" else (shorter, longer)
    async with Emulator(limits=limits) as emulator:
        (project_id,) = emulator.project_ids
        emulator.project_limits[project_id] = project_limits
        now = time.time()
        await fetch(emulator, jobs_of(project_id))
        refused = await fetch(emulator, jobs_of(project_id))
    date = parsedate_to_datetime(refused.headers["Retry-After"]).timestamp()
    assert date >= now + 2000 - 0.1


# Requests at the same time


async def test_one_request_above_the_concurrency_gets_503() -> None:
    """Places are taken by all that is being answered, whatever it is, and freed when it ends."""
    async with Emulator(limits=Limits(max_concurrency=2)) as emulator:
        (project_id,) = emulator.project_ids
        async with held(emulator, project_id, 2):
            refused = await fetch(emulator)
            assert refused.status == 503
            assert "Retry-After" not in refused.headers
            assert await statuses(emulator, 3, jobs_of(project_id)) == [503] * 3
        async with held(emulator, project_id, 1):
            assert await statuses(emulator, 3) == [200] * 3


async def test_one_request_after_the_other_needs_one_place() -> None:
    """A client that has read an answer finds its place free."""
    async with Emulator(jobs_per_project=3, limits=Limits(max_concurrency=1)) as emulator:
        async with session_of(emulator) as session:
            for path in ("/projects", "/nothing", jobs_of(emulator.project_ids[0])) * 30:
                async with session.get(emulator.base_url + path) as response:
                    await response.read()
        assert {record.status for record in emulator.requests} == {200, 404}


async def test_places_are_kept_when_limits_change() -> None:
    """Requests that are being answered count against limits that were set after they came."""
    async with Emulator() as emulator:
        (project_id,) = emulator.project_ids
        async with held(emulator, project_id, 2):
            for most, expected in ((2, 503), (3, 200), (1, 503)):
                emulator.limits = Limits(max_concurrency=most)
                assert (await fetch(emulator)).status == expected
            emulator.limits = Limits()
            for most, expected in ((2, 503), (3, 200)):
                emulator.project_limits[project_id] = Limits(max_concurrency=most)
                assert (await fetch(emulator, f"/projects/{project_id}")).status == expected
        emulator.limits = Limits(max_concurrency=1)
        assert await statuses(emulator, 2) == [200, 200]


async def test_places_of_a_project_are_its_own() -> None:
    """A project whose places are taken is refused, and the others are not."""
    async with Emulator(projects=2) as emulator:
        one, two = emulator.project_ids
        emulator.project_limits[one] = Limits(max_concurrency=1)
        async with held(emulator, one, 1):
            assert await statuses(emulator, 2, jobs_of(one)) == [503, 503]
            assert await statuses(emulator, 2, jobs_of(two)) == [200, 200]
            assert await statuses(emulator, 2) == [200, 200]


async def test_what_gets_503_takes_no_token_and_what_gets_429_no_place() -> None:
    """A refusal of either kind leaves everything as it was."""
    limits = Limits(requests_per_second=RARE, burst=2, max_concurrency=1)
    async with Emulator(limits=limits) as emulator:
        async with held(emulator, emulator.project_ids[0], 1):
            assert await statuses(emulator, 3) == [503, 503, 503]
        assert await statuses(emulator, 3) == [200, 429, 429]
        emulator.limits = Limits(max_concurrency=1)
        assert await statuses(emulator, 2) == [200, 200]


def test_a_project_is_forgotten_when_its_last_request_has_ended() -> None:
    """However many projects paths make up, what is known of them does not grow."""
    admission = Admission()
    for number in range(3):
        rules = {None: Limits(), f"proj_{number}": Limits(max_concurrency=1)}
        assert admission.enter(rules, 0.0) is None
        assert admission.enter(rules, 0.0) == Refusal(status=503)
        admission.leave(rules)
    assert not admission._in_flight
    assert not admission._buckets


# Latency


async def test_every_answer_waits_for_the_latency() -> None:
    """Good answers, refusals and errors come no earlier; a project's latency is added."""
    async with Emulator(limits=Limits(latency=0.03, requests_per_second=RARE, burst=3)) as emulator:
        (project_id,) = emulator.project_ids
        emulator.project_limits[project_id] = Limits(latency=0.04)
        for path, status, seconds in (
            *(("/projects", 200, 0.03), ("/nothing", 404, 0.03)),
            *((jobs_of(project_id), 200, 0.07), (jobs_of(project_id), 429, 0.07)),
        ):
            start = time.monotonic()
            assert (await fetch(emulator, path)).status == status
            assert time.monotonic() - start >= seconds - 0.001


async def test_a_client_that_leaves_during_the_latency_frees_its_place() -> None:
    """Nobody is waited for who has gone, and that is no error to log."""
    async with Emulator(limits=Limits(latency=3000, max_concurrency=1)) as emulator:
        asking = asyncio.create_task(fetch(emulator))
        await arrival(emulator, 1)
        asking.cancel()
        (record,) = emulator.requests
        await end_of(record)
        assert (record.body_bytes_sent, record.complete) == (0, False)
        emulator.limits = Limits(max_concurrency=1)
        assert (await fetch(emulator)).status == 200


# Faults


@pytest.mark.parametrize(
    ("script", "used", "left"),
    [
        ([], Fault(times=None), []),
        ([Fault(status=500)], Fault(status=500), []),
        ([Fault(times=2), Fault(status=500)], Fault(times=2), [Fault(), Fault(status=500)]),
        ([HOLD, Fault(status=500)], HOLD, [HOLD, Fault(status=500)]),
    ],
)
def test_a_script_is_used_up_in_order(script: list[Fault], used: Fault, left: list[Fault]) -> None:
    """Each use takes one of the first fault's times; the list holds what is yet to come."""
    assert (take(script), script) == (used, left)


async def test_faults_befall_the_next_requests_for_jobs_in_order() -> None:
    """Each fault is had as often as it says, then the project is healthy, and others always."""
    async with Emulator(projects=2, jobs_per_project=2) as emulator:
        one, two = emulator.project_ids
        emulator.faults[one] = [Fault(status=503, times=2), Fault(times=2), Fault(status=404)]
        assert await statuses(emulator, 3, jobs_of(two)) == [200] * 3
        assert await statuses(emulator, 7, jobs_of(one)) == [503, 503, 200, 200, 404, 200, 200]
        assert emulator.faults == {one: []}
        assert [record.status for record in emulator.requests] == [200] * 3 + [
            503,
            503,
            200,
            200,
            404,
            200,
            200,
        ]


async def test_a_fault_can_last() -> None:
    """Without a number of times it lasts until the test takes it away."""
    async with Emulator(jobs_per_project=2) as emulator:
        (project_id,) = emulator.project_ids
        emulator.faults[project_id] = [Fault(status=500, times=None), Fault(status=404)]
        assert await statuses(emulator, 5, jobs_of(project_id)) == [500] * 5
        emulator.faults[project_id].pop(0)
        assert await statuses(emulator, 2, jobs_of(project_id)) == [404, 200]


async def test_projects_can_share_a_fault() -> None:
    """Uses are counted by the lists, never in the fault."""
    twice = Fault(status=502, times=2)
    async with Emulator(projects=2, jobs_per_project=2) as emulator:
        emulator.faults = {project_id: [twice] for project_id in emulator.project_ids}
        for project_id in emulator.project_ids:
            assert await statuses(emulator, 3, jobs_of(project_id)) == [502, 502, 200]
    assert twice == Fault(status=502, times=2)


async def test_other_requests_use_no_fault() -> None:
    """A fault waits for a request that would have got the jobs, and spares all others."""
    async with Emulator() as emulator:
        (project_id,) = emulator.project_ids
        emulator.faults = {project_id: [Fault(status=500)], "proj_x": [Fault(status=500)]}
        emulator.project_limits[project_id] = Limits(requests_per_second=RARE, burst=4)
        assert (await fetch(emulator, jobs_of("proj_x"))).status == 404
        assert (await fetch(emulator, f"/projects/{project_id}")).status == 200
        for method in OTHER_METHODS:
            assert (await fetch(emulator, jobs_of(project_id), method)).status == 405
        assert (await fetch(emulator, jobs_of(project_id))).status == 429
        assert await status_for_a_stranger(emulator, jobs_of(project_id)) == 401
        del emulator.project_limits[project_id]
        assert await statuses(emulator, 2, jobs_of(project_id)) == [500, 200]


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "too_many_requests"), (500, "internal_server_error"), (599, "unknown")],
)
async def test_a_status_comes_with_the_error_of_the_api(status: int, code: str) -> None:
    """Body and code are those of an error; headers can be added and replaced."""
    headers = {"retry-after": "7", "x-request-id": "mine"}
    async with Emulator() as emulator:
        (project_id,) = emulator.project_ids
        emulator.faults[project_id] = [Fault(status=status, headers=headers)]
        async with (
            session_of(emulator) as session,
            session.get(emulator.base_url + jobs_of(project_id)) as response,
        ):
            error = await response.json()
    assert response.status == status
    assert (list(error), error["code"]) == (["code", "message"], code)
    assert response.headers["Retry-After"] == "7"
    assert response.headers.getall("X-Request-Id") == ["mine"]


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_body_leaves_the_connection_usable(status: int) -> None:
    """Where HTTP allows no body none is sent, so that the next answer is not mistaken for it."""
    async with Emulator(jobs_per_project=1) as emulator:
        (project_id,) = emulator.project_ids
        emulator.faults[project_id] = [Fault(status=status)]
        seen = []
        async with session_of(emulator) as session:
            for _ in range(2):
                async with session.get(emulator.base_url + jobs_of(project_id)) as response:
                    seen.append((response.status, await response.read()))
    assert seen == [(status, b""), (200, emulator.job_list_body(project_id))]


async def test_headers_can_be_added_to_a_healthy_answer() -> None:
    """A fault of headers alone leaves status and body as they are."""
    async with Emulator(jobs_per_project=2) as emulator:
        (project_id,) = emulator.project_ids
        emulator.faults[project_id] = [Fault(headers={"content-type": "text/html"})]
        async with (
            session_of(emulator) as session,
            session.get(emulator.base_url + jobs_of(project_id)) as response,
        ):
            assert await response.read() == emulator.job_list_body(project_id)
    assert response.headers.getall("Content-Type") == ["text/html"]


@pytest.mark.parametrize("cut", [0, 1, 700, 1024, 1025, 1_000_000])
async def test_a_body_is_cut_after_the_given_bytes(cut: int) -> None:
    """Exactly so many bytes arrive, or all there are, and never the end of the answer."""
    async with Emulator(jobs_per_project=5, chunk_bytes=1024) as emulator:
        (project_id,) = emulator.project_ids
        body = emulator.job_list_body(project_id)
        emulator.faults[project_id] = [Fault(cut_after_bytes=cut)]
        received = b""
        async with asyncio.timeout(5), raw_answer(emulator, project_id) as (head, reader):
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            while (chunk := await read_chunk(reader)) is not None:
                assert chunk, "the end was marked"
                received += chunk
        assert received == body[:cut]
        (record,) = emulator.requests
        await end_of(record)
        assert (record.body_bytes_sent, record.complete) == (len(received), False)


@pytest.mark.parametrize("cut", range(300_000, 400_000, 14_000))
async def test_a_cut_reaches_who_reads_slowly(cut: int) -> None:
    """What was sent before the cut is not lost in buffers, however small the client's are."""
    async with Emulator(jobs_per_project=1000, chunk_bytes=500_000) as emulator:
        (project_id,) = emulator.project_ids
        emulator.faults[project_id] = [Fault(cut_after_bytes=cut)]
        async with raw_answer(emulator, project_id, buffer_bytes=4096) as (_, reader):
            received = await read_chunk(reader)
            assert await read_chunk(reader) is None
    assert received == emulator.job_list_body(project_id)[:cut]


async def test_an_error_can_be_cut_too() -> None:
    """Status and cut go together: the length that was announced does not arrive."""
    async with Emulator() as emulator:
        (project_id,) = emulator.project_ids
        emulator.faults[project_id] = [Fault(status=500, cut_after_bytes=10)]
        async with asyncio.timeout(5), raw_answer(emulator, project_id) as (head, reader):
            assert head.startswith(b"HTTP/1.1 500 ")
            assert b"\r\nContent-Length: 10\r\n" not in head
            assert await reader.read() == b'{"code":"i'


@pytest.mark.parametrize("stall", [0, 700, 1024, 1_000_000])
async def test_a_stalled_body_stays_open_until_the_client_leaves(
    stall: int, caplog: pytest.LogCaptureFixture
) -> None:
    """So many bytes arrive and then nothing, neither data nor an end; leaving ends it quietly."""
    async with Emulator(jobs_per_project=5, chunk_bytes=1024) as emulator:
        (project_id,) = emulator.project_ids
        expected = emulator.job_list_body(project_id)[:stall]
        emulator.faults[project_id] = [Fault(stall_after_bytes=stall)]
        async with raw_answer(emulator, project_id) as (_, reader):
            received = b""
            while len(received) < len(expected):
                received += await read_chunk(reader) or b""
            assert received == expected
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.05)
            (record,) = emulator.requests
            assert not record.ended
        await end_of(record)
        assert (record.body_bytes_sent, record.complete) == (len(expected), False)
        assert await statuses(emulator, 1, jobs_of(project_id)) == [200]
    assert caplog.records == []


async def test_leaving_ends_what_stalls() -> None:
    """Requests that stall or wait do not hold up the end of the emulator."""
    async with asyncio.timeout(10), session_of(Emulator()) as session:
        tasks = asyncio.all_tasks()
        async with Emulator(jobs_per_project=5) as emulator:
            (project_id,) = emulator.project_ids
            emulator.faults[project_id] = [HOLD]
            await session.get(emulator.base_url + jobs_of(project_id))
            emulator.limits = Limits(latency=3000)
            waiting = asyncio.create_task(session.get(f"{emulator.base_url}/projects"))
            await arrival(emulator, 2)
        with pytest.raises(aiohttp.ClientError):
            await waiting
        assert asyncio.all_tasks() == tasks
        assert [(one.ended, one.complete) for one in emulator.requests] == [(True, False)] * 2


async def test_our_client_gets_over_faults(connect: Callable[..., AsyncPlangrep]) -> None:
    """A list that is refused and cut gives every job once; one that stays down raises."""
    async with (
        Emulator(jobs_per_project=200) as emulator,
        connect(emulator.base_url, api_key=emulator.api_key, timeout=Timeouts()) as client,
    ):
        (project_id,) = emulator.project_ids
        emulator.faults[project_id] = [
            Fault(status=503),
            Fault(cut_after_bytes=30_000),
            Fault(cut_after_bytes=60_000),
        ]
        ids = [job.id async for job in client.list_jobs(project_id)]
        assert ids == [job["id"] for job in emulator.jobs(project_id)]
        assert [one.status for one in emulator.requests] == [503, 200, 200, 200]
        emulator.faults[project_id] = [Fault(status=500, times=None)]
        with pytest.raises(ServerError):
            await anext(client.list_jobs(project_id))


# What it reports


async def test_a_record_says_when_it_came_and_whose_it_is() -> None:
    """Times are monotonic and in the order of arrival; the project is the one in the path."""
    start = time.monotonic()
    async with Emulator() as emulator:
        (known,) = emulator.project_ids
        named = {
            "/projects": None,
            "/projects/": None,
            f"/projects/{known}": known,
            f"/projects/{known}/jobs?limit=1": known,
            f"/projects/{known}/files": known,
            "/projects/proj_x/jobs": "proj_x",
            f"/jobs/{next(emulator.jobs(known))['id']}": None,
        }
        for path in named:
            await fetch(emulator, path)
    assert [record.project_id for record in emulator.requests] == list(named.values())
    times = [start, *(record.arrived for record in emulator.requests), time.monotonic()]
    assert times == sorted(times)


async def test_the_time_of_arrival_is_before_the_latency() -> None:
    """A request came when it came, however long its answer takes."""
    async with Emulator(limits=Limits(latency=0.05)) as emulator:
        await fetch(emulator)
        assert time.monotonic() - emulator.requests[0].arrived >= 0.05 - 0.001


async def test_the_most_requests_at_one_time_are_counted() -> None:
    """It grows only when more are in flight than ever, and can be made to count anew."""
    async with Emulator() as emulator:
        (project_id,) = emulator.project_ids
        assert emulator.most_in_flight == 0
        await statuses(emulator, 3)
        assert emulator.most_in_flight == 1
        async with held(emulator, project_id, 3):
            assert emulator.most_in_flight == 3
        await fetch(emulator)
        assert emulator.most_in_flight == 3
        emulator.most_in_flight = 0
        async with held(emulator, project_id, 2):
            assert emulator.most_in_flight == 2
        emulator.limits = Limits(max_concurrency=1)
        async with held(emulator, project_id, 1):
            emulator.most_in_flight = 0
            assert (await fetch(emulator)).status == 503
        assert emulator.most_in_flight == 2


# Values


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Limits, {"requests_per_second": 0}, "requests_per_second must be at least 0.0001, not 0"),
        (Limits, {"requests_per_second": float("nan")}, "must be at least 0.0001, not nan"),
        (Limits, {"requests_per_second": float("inf")}, "must be at most 1000000, not inf"),
        (Limits, {"requests_per_second": 1, "burst": 0}, "burst must be at least 1, not 0"),
        (Limits, {"burst": 5}, "burst needs requests_per_second"),
        (Limits, {"retry_after": "minutes"}, "retry_after must be 'seconds', 'date' or None, not "),
        (Limits, {"max_concurrency": 0}, "max_concurrency must be at least 1, not 0"),
        (Limits, {"latency": -0.1}, "latency must be at least 0, not -0.1"),
        (Limits, {"latency": float("nan")}, "latency must be at least 0, not nan"),
        (Limits, {"latency": 3601}, "latency must be at most 3600, not 3601"),
        (Fault, {"status": 199}, "status must be at least 200, not 199"),
        (Fault, {"status": 600}, "status must be at most 599, not 600"),
        (Fault, {"cut_after_bytes": -1}, "cut_after_bytes must be at least 0, not -1"),
        (Fault, {"stall_after_bytes": -1}, "stall_after_bytes must be at least 0, not -1"),
        (Fault, {"cut_after_bytes": 1, "stall_after_bytes": 1}, "exclude each other"),
        (Fault, {"times": 0}, "times must be at least 1, not 0"),
    ],
)
def test_values_that_make_no_sense_are_refused(
    kind: Callable[..., object], options: dict[str, Any], message: str
) -> None:
    """A value out of range, or without what it belongs to, is a `ValueError` that names it."""
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_values_can_be_compared_and_not_changed() -> None:
    """Limits and faults are values, by keywords only."""
    assert Limits(latency=1) == Limits(latency=1) != Limits(latency=2)
    assert Fault(status=500) == Fault(status=500) != Fault(status=501)
    for value, name in ((Limits(), "latency"), (Fault(), "times")):
        with pytest.raises(AttributeError):
            setattr(value, name, 1)
    positional: Any = 500
    with pytest.raises(TypeError):
        Fault(positional)
