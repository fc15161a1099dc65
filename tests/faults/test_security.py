"""X1 to X3, X5: the key goes to the server that was named, in the request that was meant."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import aiohttp
import pytest

from plangrep_async import (
    AsyncPlangrep,
    ConfigurationError,
    InvalidResponse,
    NotFound,
)
from tests.conftest import KEY, PROJECT, document
from tests.faults.provoked import read, sends
from tests.raw_server import Connection, RawServer, json_response, response
from tests.secrets import leaks

Connect = Callable[..., AsyncPlangrep]

OK = sends(response(document([])))

# {port} is a second server's, {own} the URL that was asked for.
LOCATIONS = {
    "port": "http://127.0.0.1:{port}/",
    "host": "http://localhost:{port}/",
    "scheme": "https://127.0.0.1:{port}/",
    "no scheme": "//127.0.0.1:{port}/",
    "user": "http://user:password@127.0.0.1:{port}/",
    "user like a host": "http://127.0.0.1:80@127.0.0.1:{port}/",
    "file": "file:///etc/passwd",
    "script": "javascript:alert(1)",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "loop": "{own}",
    "relative": "../elsewhere",
    "no address": "http://[::1",
    "no port": "http://127.0.0.1:99999/",
    "no ASCII": "http://\x80\xff/\xa0",
    "empty": "",
    "missing": None,
}


@pytest.mark.fault("X1")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", LOCATIONS.values(), ids=LOCATIONS)
async def test_a_redirect_leads_nowhere(
    connect: Connect, location: str | None, status: int
) -> None:
    """It is an `InvalidResponse` wherever it points to: one connection, one request, one try."""
    headers: list[tuple[str, str]] = []
    opened: list[Any] = []

    async def redirect(conn: Connection) -> None:
        await conn.send(response(b"elsewhere", status=status, headers=headers))

    async def note(*event: Any) -> None:
        opened.append(event)

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(note)
    trace.on_dns_resolvehost_start.append(note)
    async with RawServer([]) as other, RawServer([redirect]) as server:
        own = server.url(f"/projects/{PROJECT}/jobs")
        target = None if location is None else location.format(port=other.port, own=own)
        headers += [] if target is None else [("Location", target)]
        async with connect(server.base_url, trace_configs=[trace]) as client:
            with pytest.raises(InvalidResponse, match=f"answered {status}") as caught:
                await read(client)
        assert type(caught.value) is InvalidResponse
        assert caught.value.attempts == 1
        assert not target or target == own or target not in str(caught.value)
        assert [request.target for request in server.requests] == [f"/projects/{PROJECT}/jobs"]
        assert (len(opened), other.connections) == (1, 0)


@pytest.mark.fault("X1")
async def test_a_session_of_the_callers_follows_no_redirect_with_the_key(connect: Connect) -> None:
    """Nor does one that was made to raise on a status, or to follow redirects by itself."""
    async with (
        RawServer([]) as other,
        aiohttp.ClientSession(raise_for_status=True) as session,
    ):
        redirect = sends(response(status=302, headers=[("Location", other.url("/"))]))
        async with RawServer([redirect]) as server:
            with pytest.raises(InvalidResponse, match="answered 302"):
                await read(connect(server.base_url, session=session))
        assert other.connections == 0


IDS = [
    *("%2e%2e", "%2E", "...", "a/b", "/", "//evil.example/", "../..", "/..;/", "?", "?a=b", "#"),
    *("\r\nX-Evil: 1\r\n\r\n", " HTTP/1.1\r\nHost: evil.example\r\n", "\0", "\\", "..\\", "\x7f"),
    *(" ", "ü", "😀", "\u202e", ";a=b", "@evil.example", ":80", "%", "%00", "+", "x" * 10_000),
    "ü/" * 5_000,
]


@pytest.mark.fault("X2", "X9")
@pytest.mark.parametrize("project_id", IDS, ids=lambda text: ascii(text)[:40])
async def test_an_id_is_one_segment_of_the_request_line(connect: Connect, project_id: str) -> None:
    """Whatever is in it, nothing else of the request changes; an error about it is a short line."""
    refusal = sends(json_response({}, status=404))
    async with RawServer([OK, refusal]) as server, connect(server.url("/api/v1")) as client:
        _ = [job async for job in client.list_jobs("plain")]
        with pytest.raises(NotFound) as caught:
            _ = [job async for job in client.list_jobs(project_id)]
        plain, request = (request.raw for request in server.requests)
        before, after = plain.split(b"plain")
        assert (request[: len(before)], request[-len(after) :]) == (before, after)
        segment = request[len(before) : -len(after)]
        assert unquote_to_bytes(segment) == project_id.encode()
        assert segment == quote(project_id, safe="").encode()
        assert segment not in (b".", b"..")
        assert not set(segment) & set(b"/?#\\ \r\n\0")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.fault("X2")
@pytest.mark.parametrize("project_id", ["", ".", "..", "\ud83d", "a\udc80", None, b"id"], ids=ascii)
async def test_an_id_that_is_no_segment_is_refused_by_the_call(
    connect: Connect, project_id: Any
) -> None:
    """It is a `ConfigurationError` of `list_jobs()` itself, and nothing is sent."""
    async with RawServer([]) as server, connect(server.base_url) as client:
        with pytest.raises(ConfigurationError, match="project id must"):
            client.list_jobs(project_id)
    assert server.connections == 0


async def of_the_argument(connect: Connect, key: str, _: pytest.MonkeyPatch) -> None:
    connect("https://plangrep.com", api_key=key)


async def of_the_environment(connect: Connect, key: str, environ: pytest.MonkeyPatch) -> None:
    environ.setenv("PLANGREP_API_KEY", key)
    connect("https://plangrep.com", api_key=None)


async def of_a_function(connect: Connect, key: str, _: pytest.MonkeyPatch) -> None:
    async with RawServer([]) as server, connect(server.base_url, api_key=lambda: key) as client:
        await read(client)


async def of_a_later_answer(connect: Connect, key: str, _: pytest.MonkeyPatch) -> None:
    async def ask() -> str:
        await asyncio.sleep(0)
        return answers.pop()

    answers = [key, "pgk_first"]
    refusal = sends(json_response({}, status=401))
    async with RawServer([refusal]) as server, connect(server.base_url, api_key=ask) as client:
        await read(client)


BAD_KEYS = [
    *(f"{KEY}{tail}" for tail in ("\r\nX-Evil: 1", "\r", "\n", "\0", " ", "\t", "ü", "\udc80")),
    *(f" {KEY}", f"Bearer {KEY}", f"{KEY[:5]}\u200b{KEY[5:]}", f"😀{KEY}", ""),
]
SOURCES = [of_the_argument, of_the_environment, of_a_function, of_a_later_answer]


@pytest.mark.fault("X3", "X4")
@pytest.mark.parametrize(
    ("source", "key"),
    [
        (source, key)
        for source in SOURCES
        for key in BAD_KEYS
        if source is not of_the_environment or "\0" not in key  # which it cannot hold
    ],
    ids=lambda part: ascii(part) if isinstance(part, str) else part.__name__,
)
async def test_a_bad_key_is_refused_before_it_is_sent(
    connect: Connect,
    source: Callable[[Connect, str, pytest.MonkeyPatch], Awaitable[None]],
    key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From wherever it comes: a `ConfigurationError`, thus a `ValueError`, and it is not shown."""
    with pytest.raises(ConfigurationError, match=r"(API key|PLANGREP_API_KEY) must be") as caught:
        await source(connect, key, monkeypatch)
    assert isinstance(caught.value, ValueError)
    assert leaks(caught.value, KEY, KEY[5:]) == []


HOSTS_OF_OTHERS = [
    *("plangrep.com", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example.localhost"),
    *("0x7f.1", "0x7f000001", "017700000001", "127.1", "2130706433", "0.0.0.0"),  # noqa: S104
    *("127.0.0.1%2eevil.example", "localhost%00.evil.example", "10.0.0.1", "169.254.169.254"),
    *("[::]", "[::ffff:10.0.0.1]", "[fe80::1]", "[2001:db8::1]"),
]


@pytest.mark.fault("X5")
@pytest.mark.parametrize("host", HOSTS_OF_OTHERS)
def test_plain_http_to_another_host_is_refused(connect: Connect, host: str) -> None:
    """Also where the host only looks like this very machine; there is no option to allow it."""
    for url in (f"http://{host}", f"HTTP://{host}:8080/api/v1"):
        with pytest.raises(ConfigurationError, match=r"must (use https|look like)"):
            connect(url)


@pytest.mark.fault("X5")
@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "LOCALHOST", "[::1]"])
def test_plain_http_to_this_very_machine_is_accepted(connect: Connect, host: str) -> None:
    """Loopback needs no encryption."""
    for url in (f"http://{host}", f"http://{host}:8080/api/v1"):
        assert url.lower() in repr(connect(url))


@pytest.mark.fault("X4", "X5")
@pytest.mark.parametrize(
    "url",
    [
        "https://canary@plangrep.com",
        "https://user:canary@plangrep.com/api",
        "https://user:canary@plangrep.com:99999",
        "http://127.0.0.1:canary@evil.example",
        "https://plangrep.com/api?key=canary",
        "https://plangrep.com/api#canary",
        "ftp://user:canary@plangrep.com",
        "https://user:canary@plangrep.com\n",
    ],
)
@pytest.mark.parametrize("is_variable", [False, True])
def test_a_base_url_that_is_refused_is_not_repeated(
    url: str, is_variable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even in a traceback with variables: it may hold a password."""
    if is_variable:
        monkeypatch.setenv("PLANGREP_BASE_URL", url)
    with pytest.raises(ConfigurationError, match=r"(base_url|PLANGREP_BASE_URL) must") as caught:
        AsyncPlangrep(KEY, base_url=None if is_variable else url)
    assert leaks(caught.value, "canary", KEY) == []
