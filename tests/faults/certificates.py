"""Both ends of TLS on loopback: good and bad certificates, and contexts to judge them."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import trustme

from tests.faults.addresses import serving

AUTHORITY = trustme.CA()
NOW = datetime.now(UTC)

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown authority": ({"authority": trustme.CA()}, "unable to get local issuer certificate"),
    "other address": ({"name": "127.0.0.2"}, "not valid for '127.0.0.1'"),
    "other host": ({"name": "plangrep.com"}, "not valid for '127.0.0.1'"),
    "expired": ({"not_after": NOW - timedelta(days=1)}, "certificate has expired"),
    "not yet valid": ({"not_before": NOW + timedelta(days=1)}, "certificate is not yet valid"),
}
"""Arguments of `for_server`, and what a client of 127.0.0.1 says of the certificate."""


def for_server(
    name: str = "127.0.0.1", *, authority: trustme.CA = AUTHORITY, **dates: datetime
) -> ssl.SSLContext:
    """Make a context that shows a certificate for `name`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name, **dates).configure_cert(context)
    return context


def for_client() -> ssl.SSLContext:
    """Make a context that trusts `AUTHORITY`."""
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def ask_for_certificate(context: ssl.SSLContext) -> None:
    """Let a server accept clients with a certificate of `AUTHORITY` only."""
    context.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(context)


def set_version(context: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    """Allow this version of TLS only."""
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    context.minimum_version = version
    context.maximum_version = version


@asynccontextmanager
async def refusing(context: ssl.SSLContext) -> AsyncIterator[tuple[str, list[str]]]:
    """Serve handshakes that this context refuses, with a fatal alert and then FIN.

    Gives the URL, and a list to which each connection adds why it was refused. An asyncio server
    would end the connection without the alert.
    """

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        reason: str | None = None
        while reason is None:
            try:
                tls.do_handshake()
                reason = "not refused"
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65_536) or b"the client has gone")
            except ssl.SSLError as error:
                reason = error.reason or repr(error)
        reasons.append(reason)
        writer.write(outgoing.read())
        writer.write_eof()
        await reader.read()  # a socket that closes with bytes unread would send RST

    reasons: list[str] = []
    async with serving(refuse) as port:
        yield f"https://127.0.0.1:{port}", reasons
