"""X7, X8: the machine's settings and a server's cookies do not change a request unasked."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from plangrep_async import AsyncPlangrep, ConnectionFailed, PlangrepError, RetryPolicy
from tests.conftest import KEY, document
from tests.faults.provoked import read, sends
from tests.raw_server import RawServer, head, json_response, response

Connect = Callable[..., AsyncPlangrep]

OK = sends(response(document([])))
PROXIES = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"]


@pytest.fixture
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts for a server on 127.0.0.1 and for a client that trusts it."""
    authority, server = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@pytest.fixture
def set_proxy(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Name a proxy in all variables that there are for it, and no exception."""

    def setter(url: str) -> None:
        for name in PROXIES:
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        for name in PROXIES[:3]:
            monkeypatch.setenv(name, url)
            monkeypatch.setenv(name.upper(), url)

    return setter


@pytest.mark.fault("X7")
@pytest.mark.parametrize("is_tls", [False, True])
async def test_proxies_of_the_environment_see_nothing(
    connect: Connect,
    set_proxy: Callable[[str], None],
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
    is_tls: bool,
) -> None:
    """Whatever variables name one: the request goes to the server itself."""
    for_server, for_client = tls if is_tls else (None, None)
    async with RawServer([]) as proxy, RawServer([OK], ssl=for_server) as server:
        set_proxy(proxy.base_url)
        async with connect(server.base_url, ssl=for_client) as client:
            await read(client)
        assert (proxy.connections, server.connections) == (0, 1)


@pytest.mark.fault("X7")
async def test_a_proxy_that_was_asked_for_sees_no_key_on_the_way_to_tls(
    connect: Connect,
    set_proxy: Callable[[str], None],
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """With `trust_env` it gets the host, in a CONNECT, and where it refuses nothing else is sent.

    This shows, too, that the variables of the test above would be used.
    """
    refuse = sends(head(403, headers=[("Content-Length", "0")]))
    async with RawServer([refuse]) as proxy, RawServer([], ssl=tls[0]) as server:
        set_proxy(proxy.base_url)
        async with connect(
            server.base_url, ssl=tls[1], trust_env=True, retry=RetryPolicy(attempts=1)
        ) as client:
            with pytest.raises(ConnectionFailed):
                await read(client)
        (request,) = proxy.requests
        assert (request.method, request.target) == ("CONNECT", f"127.0.0.1:{server.port}")
        assert KEY.encode() not in request.raw
        assert "Authorization" not in request.headers
        assert server.connections == 0


@pytest.mark.fault("X7")
@pytest.mark.parametrize("variable", ["NETRC", "HOME"])
@pytest.mark.parametrize("trust_env", [False, True])
async def test_passwords_of_the_environment_are_not_sent(
    connect: Connect,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    trust_env: bool,
) -> None:
    """What a `.netrc` has for the host never takes the key's place, nor goes along with it."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password canary\ndefault login me password x\n")
    netrc.chmod(0o600)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv(variable, str(netrc if variable == "NETRC" else tmp_path))
    async with RawServer([OK]) as server, connect(server.base_url, trust_env=trust_env) as client:
        await read(client)
        assert server.requests[0].headers.getall("Authorization") == [f"Bearer {KEY}"]


COOKIES = [
    "tenant=canary",
    "tenant=canary; Path=/; Max-Age=3600",
    "tenant=canary; Domain=localhost; Path=/; Expires=Fri, 31 Dec 9999 23:59:59 GMT",
    "tenant=canary; Path=/; HttpOnly; SameSite=Lax",
]


@pytest.mark.fault("X8")
@pytest.mark.parametrize("status", [200, 302, 401, 503])
@pytest.mark.parametrize("cookie", COOKIES)
async def test_a_cookie_is_not_sent_back(connect: Connect, cookie: str, status: int) -> None:
    """Not with the same client's next request, on the same connection or another one.

    The host has a name, for aiohttp's cookie jar would take none from an address.
    """
    headers = [("Set-Cookie", cookie), ("Set-Cookie", "second=canary")]
    sets_cookies = sends(json_response({"jobs": []}, status=status, headers=headers))
    once = RetryPolicy(attempts=1)
    async with (
        RawServer([sets_cookies, sets_cookies, OK]) as server,
        connect(f"http://localhost:{server.port}", retry=once) as client,
    ):
        for _ in range(2):
            with suppress(PlangrepError):
                await read(client)
        await read(client)
        assert len(server.requests) == 3
        assert not [request for request in server.requests if "Cookie" in request.headers]
        assert b"canary" not in b"".join(request.raw for request in server.requests)


@pytest.mark.fault("X8")
async def test_a_cookie_is_not_sent_for_another_tenant(connect: Connect) -> None:
    """Two clients of one process, each with its key, share nothing that a server set."""
    sets_cookie = sends(response(document([]), headers=[("Set-Cookie", "tenant=1; Path=/")]))
    async with RawServer([sets_cookie, OK]) as server:
        url = f"http://localhost:{server.port}"
        for key in ("pgk_one", "pgk_two"):
            async with connect(url, api_key=key) as client:
                await read(client)
        one, two = (request.headers for request in server.requests)
        assert (one["Authorization"], two["Authorization"]) == ("Bearer pgk_one", "Bearer pgk_two")
        assert "Cookie" not in two
