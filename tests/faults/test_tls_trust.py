"""X6: certificates are checked unless a context of the caller's own says otherwise."""

import ssl
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from plangrep_async import AsyncPlangrep, ConfigurationError, TlsFailed
from tests.conftest import document, wire_job
from tests.faults.certificates import (
    AUTHORITY,
    ask_for_certificate,
    for_client,
    for_server,
    set_version,
)
from tests.faults.provoked import sends
from tests.faults.streams import nothing_left
from tests.raw_server import Connection, RawServer, response
from tests.test_stream import ids
from tests.toxic_proxy import ToxicProxy

Connect = Callable[..., AsyncPlangrep]

ANSWER = response(document([wire_job(0)]))
IDS = ["job_000000"]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
NO_CONTEXTS = [
    *(False, True, 0, 1, "", "none", b"", (), [], {}, ssl.CERT_NONE, ssl.SSLContext),
    pytest.param(aiohttp.Fingerprint(bytes(32)), id="fingerprint"),
]
UNSAFE_ELSEWHERE = {
    "PYTHONHTTPSVERIFY": "0",
    "REQUESTS_CA_BUNDLE": "",
    "CURL_CA_BUNDLE": "",
    "SSL_NO_VERIFY": "1",
    "NODE_TLS_REJECT_UNAUTHORIZED": "0",
    "GIT_SSL_NO_VERIFY": "1",
    "no_proxy": "*",
}


@pytest.mark.fault("X6")
@pytest.mark.parametrize("value", NO_CONTEXTS, ids=repr)
async def test_nothing_but_a_context_is_taken_for_one(connect: Connect, value: Any) -> None:
    """What other libraries take as "do not check" is a `ConfigurationError` of the constructor."""
    with pytest.raises(ConfigurationError, match=r"ssl must be an ssl\.SSLContext"):
        connect("https://plangrep.com", ssl=value)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ConfigurationError, match="ssl"):
            connect("https://plangrep.com", ssl=value, session=session)


@pytest.mark.fault("X6")
@pytest.mark.parametrize("how", ["default", "None", "trust_env", "session"])
async def test_certificates_are_checked_unasked(
    connect: Connect, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever variables say elsewhere, and though another client did not check: `TlsFailed`."""
    for name, value in UNSAFE_ELSEWHERE.items():
        monkeypatch.setenv(name, value)
    careless = ssl.create_default_context()
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    async with (
        nothing_left(),
        RawServer([sends(ANSWER)], ssl=for_server()) as server,
        ToxicProxy(server.port) as proxy,
        aiohttp.ClientSession() as session,
    ):
        options: dict[str, dict[str, Any]] = {
            "default": {},
            "None": {"ssl": None},
            "trust_env": {"trust_env": True},
            "session": {"session": session},
        }
        url = f"https://127.0.0.1:{proxy.port}"
        async with connect(url, ssl=careless) as other:
            assert await ids(other) == IDS
            async with connect(url, **options[how]) as client:
                with pytest.raises(TlsFailed, match="certificate is not trusted"):
                    await ids(client)
        assert (proxy.connections, server.connections) == (2, 1)


@pytest.mark.fault("X6")
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("is_borrowed", [False, True], ids=["own session", "the caller's session"])
async def test_a_context_is_used_as_it_is(
    connect: Connect, version: ssl.TLSVersion, is_borrowed: bool
) -> None:
    """Its authority, its certificate and its version of TLS count, and nothing in it is changed."""
    seen = []

    async def look(conn: Connection) -> None:
        tls = conn._transport.get_extra_info("ssl_object")
        seen.append((tls.version(), tls.getpeercert()["subjectAltName"]))
        await conn.send(ANSWER)

    server_side, client_side = for_server(), for_client()
    ask_for_certificate(server_side)
    set_version(client_side, version)
    AUTHORITY.issue_cert("client.example").configure_cert(client_side)
    before = facts(client_side)
    async with (
        nothing_left(),
        RawServer([look], ssl=server_side) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_side)) as session,
    ):
        options = {"session": session} if is_borrowed else {"ssl": client_side}
        async with connect(server.base_url, **options) as client:
            assert await ids(client) == IDS
    assert seen == [(version.name.replace("v1_", "v1."), (("DNS", "client.example"),))]
    assert facts(client_side) == before


def facts(context: ssl.SSLContext) -> tuple[Any, ...]:
    return (
        *(context.verify_mode, context.verify_flags, context.check_hostname, context.options),
        *(context.minimum_version, context.maximum_version, context.cert_store_stats()),
    )
