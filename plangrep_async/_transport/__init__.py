"""Single requests over aiohttp: open, read, close; every failure is one of our errors.

The only folder of the client that knows aiohttp and backoff. What aiohttp does by itself and must
not do here: send a request twice, follow redirects, keep cookies, count the time of the consumer,
wait for ever on a broken body, show the Authorization header in the `repr` of an error.
"""

import asyncio
from datetime import UTC, datetime

import aiohttp
from yarl import URL

from plangrep_async._credentials import Credentials
from plangrep_async._limiter import Limiter, Permit
from plangrep_async._retry import RetryPolicy
from plangrep_async._status import MAX_BODY_BYTES, read_retry_after, status_error
from plangrep_async._transport import log
from plangrep_async._transport.body import HEAD_BYTES, READ_BYTES, Body
from plangrep_async._transport.failures import (
    NETWORK_ERRORS,
    NotSent,
    connection_failure,
    send_once,
)
from plangrep_async._transport.retries import Retries
from plangrep_async._transport.session import Session, header_deadline
from plangrep_async._transport.timeouts import Timeouts
from plangrep_async.errors import (
    ApiStatusError,
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    InvalidResponse,
    PlangrepError,
    RateLimited,
    RequestTimeout,
    printable,
)

__all__ = ["HEAD_BYTES", "READ_BYTES", "Body", "Session", "Timeouts", "Transport"]

_ENCODINGS = ("", "identity", "gzip", "deflate")


class Transport:
    """Sends the requests of one client."""

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        session: Session,
        limiter: Limiter,
        *,
        timeouts: Timeouts,
        retry: RetryPolicy,
        user_agent: str,
    ) -> None:
        self._base_url = URL(base_url, encoded=True)
        self._base_path = self._base_url.raw_path.rstrip("/")
        self._credentials = credentials
        self._session = session
        self._limiter = limiter
        self._timeouts = timeouts
        self._user_agent = user_agent
        self.retry = Retries(retry, limiter.pace)
        """Tries again what uses this transport."""

    async def open(self, path: str) -> Body:
        """Send one GET request, when its turn comes; the answer is a success when this returns.

        `path` is quoted and goes below the base URL. Raises one of our errors, once.
        """
        self._session.get()  # there is no use in waiting for what cannot be sent
        permit = await self._limiter.enter()
        outcome: Body | PlangrepError | None = None
        try:
            key = self._credentials.version
            outcome = await self._get(path, permit)
            if isinstance(outcome, AuthenticationError) and await self._credentials.renew(key):
                outcome = None
                permit.leave()
                permit = await self._limiter.enter()  # for it is a new request
                outcome = await self._get(path, permit)
        finally:
            if not isinstance(outcome, Body):
                permit.leave()
        if isinstance(outcome, PlangrepError):
            try:
                raise outcome
            finally:
                del outcome  # whose traceback has this frame
        permit.answered()
        self.retry.note_success()
        return outcome

    async def _get(self, path: str, permit: Permit) -> Body | PlangrepError:
        # An error is returned, not raised, so that no frame below this one is in its traceback.
        if not {".", ".."}.isdisjoint(path.split("/")):  # RFC 3986, section 5.2.4
            raise ConfigurationError("the id would lead to another place of the API")
        url = self._base_url.with_path(self._base_path + path, encoded=True)
        what = f"GET {printable(str(url))}"
        started = log.start()
        outcome = await self._send(url, what, permit)
        if started is not None:
            log.answer(what, started, outcome)
            if isinstance(outcome, Body):
                outcome.started = started
        return outcome

    async def _send(self, url: URL, what: str, permit: Permit) -> Body | PlangrepError:
        session = self._session.get()
        await self._credentials.header()  # errors of the caller's function are not the network's
        request = session.get(
            url,
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "gzip, deflate",
                "User-Agent": self._user_agent,
            },
            allow_redirects=False,
            raise_for_status=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=self._timeouts.connect),
            middlewares=(*getattr(session, "_middlewares", ()), self._authorize, send_once),
        )
        try:
            async with asyncio.timeout(self._timeouts.connect + self._timeouts.read) as deadline:
                token = header_deadline.set(deadline)
                try:
                    body = Body(
                        await request, permit=permit, read_seconds=self._timeouts.read, what=what
                    )
                finally:
                    header_deadline.reset(token)
        except (*NETWORK_ERRORS, NotSent) as error:
            failure = connection_failure(error, what)
            _learn(permit, failure)
            return failure
        except RuntimeError:
            if not session.closed:
                raise
            return ClientClosed("the session of this client was closed")
        if body.status == 200 and body.encoding in _ENCODINGS:
            return body
        wait = read_retry_after(body.headers.getall("Retry-After", []), datetime.now(UTC))
        if body.status == 429:
            permit.throttled(wait)  # before its text, which may take a while
        try:
            refusal = await self._refusal(body, what, wait)
        finally:
            body.close()
        _learn(permit, refusal)
        return refusal

    async def _authorize(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # Here and not before: aiohttp takes no header beside a password from a `.netrc`.
        request.headers["Authorization"] = await self._credentials.header()
        return await handler(request)

    async def _refusal(self, body: Body, what: str, retry_after: float | None) -> PlangrepError:
        status = body.status
        if status == 200:
            fault = "the body's Content-Encoding was not asked for"
        elif 300 <= status < 400:
            fault = f"answered {status}, and redirects are not followed: check base_url"
        elif status < 400:
            fault = f"answered {status} where 200 was expected"
        else:
            return status_error(
                what,
                status,
                await body.read_some(MAX_BODY_BYTES),
                hide=self._credentials.hide,
                request_id=body.headers.get("X-Request-Id") or body.headers.get("Request-Id"),
                retry_after=retry_after,
            )
        return InvalidResponse(f"{what}: {fault}")


def _learn(permit: Permit, refusal: PlangrepError) -> None:
    """Tell the limiter what an answer, or none, says of the server."""
    match refusal:
        case RateLimited() | AuthenticationError():
            pass  # the one is known from its headers, the other is about the caller
        case RequestTimeout() | ApiStatusError(status=503):
            permit.congested()
        case ApiStatusError():
            permit.answered()
