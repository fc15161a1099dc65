"""What aiohttp raises, as our errors.

aiohttp's response errors show the Authorization header in their `repr`, their `args` and by what
is chained to them. So only safe facts are copied here, and nothing is chained but a bare `OSError`.
"""

import os
import socket
import ssl as tls

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError

from plangrep_async.errors import (
    ConnectionFailed,
    IncompleteResponse,
    InvalidResponse,
    PlangrepError,
    RequestTimeout,
    TlsFailed,
    printable,
)

# `HttpProcessingError` can leak from aiohttp's parser in Python, and `ValueError` from the URLs
# and headers of a server; a time-out is an `OSError`.
NETWORK_ERRORS = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError)

_CUT = "deflate"  # all that aiohttp says when compressed data end too early


class NotSent(Exception):
    """Carries an error past aiohttp, which would send the request again on seeing it."""

    def __init__(self, error: aiohttp.ClientError) -> None:
        super().__init__()
        self.error = error


async def send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Middleware that lets nobody but us send again: tries must equal requests.

    aiohttp sends a GET again by itself when it sees one of these.
    """
    lost: aiohttp.ClientError
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        lost = error
    raise NotSent(lost)


def connection_failure(error: Exception, what: str) -> PlangrepError:
    """Translate what went wrong before there were headers. `what` names the request."""
    if isinstance(error, NotSent):
        error = error.error
    cause: OSError | None = None
    failure: PlangrepError
    if isinstance(error, TimeoutError):
        in_time = "connect" if isinstance(error, aiohttp.ConnectionTimeoutError) else "answer"
        failure = RequestTimeout(f"{what}: the server did not {in_time} in time")
    elif _is_tls_error(error):
        failure = TlsFailed(f"{what}: {_tls_reason(error)}")
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        failure = ConnectionFailed(f"{what}: the host name could not be looked up")
        cause = _bare(error.os_error)
    elif isinstance(error, aiohttp.ClientConnectorError):
        failure = ConnectionFailed(f"{what}: could not connect, {_os_reason(error.os_error)}")
        cause = _bare(error.os_error)
    elif isinstance(error, OSError):
        failure = ConnectionFailed(f"{what}: connection lost, {_os_reason(error)}")
        cause = _bare(error)
    elif isinstance(error, aiohttp.ServerDisconnectedError):
        failure = ConnectionFailed(f"{what}: the server closed the connection without an answer")
    elif fault := _encoding_fault(error):
        failure = _encoding_failure(fault, f"{what}: the body's Content-Encoding was not asked for")
    else:
        failure = ConnectionFailed(f"{what}: the answer was no valid HTTP")
    failure.__cause__ = cause
    return failure


def body_failure(error: Exception, what: str) -> PlangrepError:
    """Translate what went wrong while the body was read."""
    if isinstance(error, TimeoutError):
        return RequestTimeout(f"{what}: the body stopped arriving")
    if fault := _encoding_fault(error):
        return _encoding_failure(fault, f"{what}: the compressed body is broken")
    return IncompleteResponse(f"{what}: the body broke off")


def _is_tls_error(error: Exception) -> bool:
    # Both certificate errors are ClientSSLErrors. With TLS 1.3 a server may refuse the handshake
    # when the client is done with it: aiohttp makes a plain ClientOSError of that alert.
    if isinstance(error, (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch)):
        return True
    cause = error.__cause__
    return isinstance(cause, tls.SSLError) and not isinstance(cause, tls.SSLEOFError)


def _encoding_fault(error: Exception) -> str | None:
    """Give what aiohttp says where it could not unpack the body."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, HttpProcessingError):
        said = cause.message
        # aiohttp's parser in C has no class of its own for what it meets in the first packet.
        if isinstance(cause, ContentEncodingError) or "content-encoding" in said or said == _CUT:
            return said
    return None


def _encoding_failure(fault: str, message: str) -> InvalidResponse:
    return IncompleteResponse(message) if fault == _CUT else InvalidResponse(message)


def _os_reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):  # its numbers are not those of the system
        return printable(error.strerror or str(error))
    if error.errno:
        return os.strerror(error.errno)
    return printable(str(error) or type(error).__name__)


def _tls_reason(error: Exception) -> str:
    certificate = getattr(error, "certificate_error", None)
    if isinstance(certificate, tls.SSLCertVerificationError):
        return f"the server's certificate is not trusted, {printable(certificate.verify_message)}"
    # The texts of `ssl` name no secret.
    reason = getattr(getattr(error, "os_error", None) or error.__cause__, "reason", None)
    return f"no TLS with this server, {printable(str(reason or type(error).__name__))}"


def _bare(error: OSError) -> OSError:
    """Copy number and text; the original's traceback leads to the request and its headers."""
    return OSError(error.errno, _os_reason(error)) if error.errno else OSError(_os_reason(error))
