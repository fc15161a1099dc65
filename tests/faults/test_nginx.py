"""The client behind a real nginx: its keep-alive and its own pages (rows H).

What nginx answered is read from its own log.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from plangrep_async import (
    AsyncPlangrep,
    IncompleteResponse,
    InvalidResponse,
    NotFound,
    PermissionDenied,
    RateLimited,
    RetryPolicy,
    ServerError,
)
from plangrep_async.errors import ApiStatusError
from tests.faults.streams import nothing_left, slots, stall
from tests.nginx import Nginx
from tests.raw_server import RawServer
from tests.test_transport import count, fine

Connect = Callable[..., AsyncPlangrep]

ONCE = RetryPolicy(attempts=1)


def statuses(nginx: Nginx) -> list[int]:
    """Tell what nginx answered."""
    return [request.status for request in nginx.requests]


def counting() -> tuple[list[object], aiohttp.TraceConfig]:
    """Make a list that grows by one with each request that a client of this trace begins."""
    begun: list[object] = []

    async def note(*facts: Any) -> None:
        begun.append(facts)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(note)
    return begun, trace


@pytest.mark.fault("H11")
@pytest.mark.parametrize(
    ("server", "pauses", "per_connection"),
    [
        ("keepalive_requests 1;", [0], 1),
        ("keepalive_requests 2;", [0, 0.005], 2),
        ("keepalive_timeout 0;", [0], 1),
        ("keepalive_timeout 10ms;", [0.15], 1),
        ("keepalive_timeout 20s;", [0, 0.005], 4),
    ],
)
async def test_a_connection_that_nginx_has_closed_is_not_used(
    connect: Connect, tmp_path: Path, server: str, pauses: list[float], per_connection: int
) -> None:
    """However nginx ends connections between two lists: one attempt and one request for each."""
    begun, trace = counting()
    async with (
        nothing_left(),
        RawServer(fine) as upstream,
        Nginx(tmp_path, f"proxy_pass {upstream.base_url};", server=server) as nginx,
        connect(nginx.base_url, retry=ONCE, trace_configs=[trace]) as client,
    ):
        for _, pause in zip(range(4), cycle(pauses), strict=False):
            assert await count(client) == 3
            await asyncio.sleep(pause)
    assert statuses(nginx) == [200] * 4
    assert len(begun) == len(upstream.requests) == 4
    assert len({request.connection for request in nginx.requests}) == 4 / per_connection


@pytest.mark.fault("H2", "H11")
async def test_a_request_on_a_connection_that_has_just_ended_is_sent_again(
    connect: Connect, tmp_path: Path
) -> None:
    """An end that the client could not see yet costs one attempt, and each list comes once."""
    begun, trace = counting()
    async with (
        nothing_left(),
        RawServer(fine) as upstream,
        Nginx(
            tmp_path, f"proxy_pass {upstream.base_url};", server="keepalive_timeout 1ms;"
        ) as nginx,
        connect(nginx.base_url, trace_configs=[trace]) as client,
    ):
        lists = 0
        while len(begun) == lists < 50:  # once is most often enough, on an idle machine
            assert await count(client) == 3
            lists += 1
            time.sleep(0.02)  # noqa: ASYNC251  # the loop shall not see the FIN before it sends
    assert len(begun) == lists + 1
    assert statuses(nginx) == [200] * lists
    assert len(upstream.requests) == lists


def said_by(error: ApiStatusError, code: int, reason: str) -> bool:
    """Whether the text is that of nginx's own page, without markup and short."""
    said = error.message.partition(" answered ")[2]
    page = f"{code}: {code} {reason} {code} {reason} nginx/"
    return said.startswith(page) and "<" not in said and len(said) < 200


@pytest.mark.fault("H7")
async def test_a_gateway_without_a_server_is_tried_again(connect: Connect, tmp_path: Path) -> None:
    """nginx's page about the missing server becomes a `ServerError` with a short text."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with (
        nothing_left(),
        Nginx(tmp_path, f"proxy_pass http://127.0.0.1:{port};") as nginx,
        connect(nginx.base_url) as client,
    ):
        with pytest.raises(ServerError) as caught:
            await count(client)
        assert said_by(caught.value, 502, "Bad Gateway")
        assert (caught.value.status, caught.value.attempts, slots(client)) == (502, 3, 0)
    assert statuses(nginx) == [502] * 3


@pytest.mark.fault("H1", "H7")
async def test_a_server_that_is_too_slow_for_nginx_is_tried_again(
    connect: Connect, tmp_path: Path
) -> None:
    """nginx gives up the silent server before we do: its 504 counts, and then the answer."""
    async with nothing_left(), RawServer([stall, stall, fine, stall, stall, stall]) as upstream:
        lines = f"proxy_pass {upstream.base_url}; proxy_read_timeout 50ms;"
        async with Nginx(tmp_path, lines) as nginx, connect(nginx.base_url) as client:
            assert await count(client) == 3
            with pytest.raises(ServerError) as caught:
                await count(client)
            assert said_by(caught.value, 504, "Gateway Time-out")
            assert (caught.value.status, caught.value.attempts, slots(client)) == (504, 3, 0)
        assert statuses(nginx) == [504, 504, 200, 504, 504, 504]
        for number in (0, 1, 3, 4, 5):
            await upstream.wait_closed_by_client(number)


@pytest.mark.fault("H8")
@pytest.mark.parametrize(
    ("code", "error", "reason"),
    [
        (400, ApiStatusError, "Bad Request"),
        (403, PermissionDenied, "Forbidden"),
        (404, NotFound, "Not Found"),
        (413, ApiStatusError, "Request Entity Too Large"),
    ],
)
async def test_a_page_of_nginx_with_a_final_status_is_asked_for_once(
    connect: Connect, tmp_path: Path, code: int, error: type[ApiStatusError], reason: str
) -> None:
    """Such a page is an error of its status, and its text is short."""
    async with (
        nothing_left(),
        Nginx(tmp_path, f"gzip on; gzip_min_length 1; return {code};") as nginx,
        connect(nginx.base_url) as client,
    ):
        with pytest.raises(error) as caught:
            await count(client)
        assert type(caught.value) is error
        assert said_by(caught.value, code, reason)
        assert (caught.value.status, caught.value.attempts, slots(client)) == (code, 1, 0)
    (request,) = nginx.requests
    assert request.status == code
    # nginx compresses pages of these two statuses only.
    assert request.content_encoding == ("gzip" if code in {403, 404} else "")


@pytest.mark.fault("H6")
async def test_the_rate_limit_of_nginx_is_kept(connect: Connect, tmp_path: Path) -> None:
    """After a 429 the next request waits as asked, and is let in; without patience it is raised."""
    http = """
        limit_req_zone $binary_remote_addr zone=one:1m rate=10r/s;
        limit_req_status 429;
        map $status $wait { 429 0.15; default ""; }
    """
    limit = "limit_req zone=one; add_header Retry-After $wait always;"
    async with (
        nothing_left(),
        RawServer(fine) as upstream,
        Nginx(tmp_path, f"{limit} proxy_pass {upstream.base_url};", http=http) as nginx,
        connect(nginx.base_url) as client,
        connect(nginx.base_url, retry=ONCE) as impatient,
    ):
        assert await count(client) == 3
        assert await count(client) == 3
        with pytest.raises(RateLimited) as caught:
            await count(impatient)
        assert caught.value.retry_after == 0.15
    assert statuses(nginx) == [200, 429, 200, 429]
    first, second = upstream.requests
    assert second.arrived - first.arrived >= 0.15


PAGE = "location @page { default_type text/html; return 200 '<h1>Down for maintenance</h1>'; }"


@pytest.mark.fault("H9")
@pytest.mark.parametrize(
    ("lines", "error", "answers"),
    [
        ("error_page 502 =200 @page; return 502;", InvalidResponse, [200]),
        ("return 204;", InvalidResponse, [204]),
        ("return 200;", IncompleteResponse, [200, 200, 200]),
    ],
    ids=["page", "204", "empty"],
)
async def test_a_success_of_nginx_itself_is_no_empty_list(
    connect: Connect, tmp_path: Path, lines: str, error: type[InvalidResponse], answers: list[int]
) -> None:
    """A page for people with status 200, or nothing at all, is an error, and never "no jobs"."""
    async with (
        nothing_left(),
        Nginx(tmp_path, lines, server=PAGE) as nginx,
        connect(nginx.base_url) as client,
    ):
        with pytest.raises(InvalidResponse) as caught:
            await count(client)
        assert type(caught.value) is error
        assert (caught.value.attempts, slots(client)) == (len(answers), 0)
    assert statuses(nginx) == answers
