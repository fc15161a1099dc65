"""The aiohttp session of a client: made on first use, or borrowed from the caller."""

import asyncio
import os
import ssl as tls
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohttp.connector import Connection

from plangrep_async._transport.strict import StrictConnector, StrictResponse
from plangrep_async._transport.timeouts import Timeouts
from plangrep_async.errors import ClientClosed, ConfigurationError

header_deadline: ContextVar[asyncio.Timeout] = ContextVar("header_deadline")
"""Around a request: when its headers have to be there."""


class _Connector(StrictConnector):
    """Sets the deadline anew once there is a connection, so that connecting does not count."""

    def __init__(self, read: float, **options: Any) -> None:
        super().__init__(**options)
        self._read_seconds = read

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's own
    ) -> Connection:
        """Give a connection, from the pool or new."""
        connection = await super().connect(req, traces, timeout)
        header_deadline.get().reschedule(asyncio.get_running_loop().time() + self._read_seconds)
        return connection


class Session:
    """Belongs to the event loop that uses it first. A borrowed one is never closed or changed."""

    def __init__(
        self,
        borrowed: aiohttp.ClientSession | None,
        *,
        timeouts: Timeouts,
        ssl: tls.SSLContext | None,
        trust_env: bool,
        trace_configs: Sequence[aiohttp.TraceConfig],
    ) -> None:
        if not isinstance(borrowed, aiohttp.ClientSession | None):
            raise ConfigurationError("session must be an aiohttp.ClientSession")
        if not isinstance(trace_configs, Sequence) or not all(
            isinstance(trace, aiohttp.TraceConfig) for trace in trace_configs
        ):
            raise ConfigurationError("trace_configs must be a list of aiohttp.TraceConfig")
        if borrowed is not None and not borrowed.auto_decompress:
            raise ConfigurationError("session must have auto_decompress=True")
        if borrowed is not None and (ssl or trust_env or trace_configs):
            raise ConfigurationError("set ssl, trust_env and trace_configs on your own session")
        if ssl is not None and not isinstance(ssl, tls.SSLContext):
            raise ConfigurationError("ssl must be an ssl.SSLContext")
        self._borrowed = borrowed is not None
        self._session = borrowed
        self._timeouts = timeouts
        self._ssl = ssl
        self._trust_env = trust_env
        self._trace_configs = list(trace_configs)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process: int | None = None  # that uses the session
        self._at_loop_end: AsyncGenerator[None, None] | None = None
        self.is_closed = False

    def get(self) -> aiohttp.ClientSession:
        """Give the session for the running loop."""
        if self.is_closed:
            raise ClientClosed("this client is closed: make a new one")
        if self.is_forked:
            raise ConfigurationError(
                "this client was used before the process was forked: make one client per process"
            )
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise ConfigurationError(
                "this client was used on another event loop before: make one client per loop"
            )
        self._loop, self._process = loop, os.getpid()
        if self._session is None:
            self._session = self._make()
        elif self._session.closed:
            raise ClientClosed("the session given to this client is closed")
        elif getattr(self._session, "_loop", loop) is not loop:
            raise ConfigurationError("the session given to this client is of another event loop")
        return self._session

    @property
    def is_forked(self) -> bool:
        """Whether the sockets are another process's, whose loop would not survive their closing."""
        return self._process not in (None, os.getpid())

    @property
    def needs_closing(self) -> bool:
        """Whether a session was made here and `close()` is still owed to it."""
        is_made = self._session is not None and not self._borrowed
        return is_made and not self.is_closed and not self.is_forked

    async def close(self) -> None:
        """Close the session if it was made here; any number of times."""
        is_owed, self.is_closed = self.needs_closing, True
        if is_owed and self._session is not None and self._at_loop_end is not None:
            await self._session.close()
            await self._at_loop_end.aclose()

    def abandon(self) -> None:
        """Close the connections without a loop: what is left to do for a forgotten client."""
        self.is_closed = True
        connector = self._session.connector if self._session is not None else None
        if self._session is None or connector is None:
            return
        self._session.detach()  # or aiohttp would complain, too
        connector._close(abort_ssl=True)  # noqa: SLF001  # all public ways have to be awaited

    def _make(self) -> aiohttp.ClientSession:
        # No pool limit: whoever waits in aiohttp's pool runs into a time-out there.
        connector = _Connector(self._timeouts.read, limit=0, ssl=self._ssl or True)
        self._at_loop_end = _closing(connector)
        with suppress(StopIteration):
            self._at_loop_end.__anext__().send(None)  # as far as its `yield`
        return aiohttp.ClientSession(
            connector=connector,
            response_class=StrictResponse,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=self._trust_env,
            trace_configs=self._trace_configs,
        )


async def _closing(connector: aiohttp.BaseConnector) -> AsyncGenerator[None, None]:
    """Close the connections of a forgotten client with the loop: afterwards it is too late.

    `asyncio.run` ends the asynchronous generators that were begun on its loop.
    """
    try:
        yield
    finally:
        connector._close(abort_ssl=True)  # noqa: SLF001  # all public ways have to be awaited
