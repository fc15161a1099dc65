"""Two things that aiohttp lets pass, and that would give a request the answer to another one."""

from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp.connector import Connection


class StrictConnector(aiohttp.TCPConnector):
    """Drops a kept connection on which something came that nobody had asked for.

    aiohttp would take it for the answer to the next request, and give every request after that
    the answer to the one before.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used: WeakSet[Any] = WeakSet()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's own
    ) -> Connection:
        """Give a connection, from the pool or new."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None:  # closed meanwhile: the request will find out
                return connection
            if protocol not in self._used or not protocol.should_close:
                self._used.add(protocol)
                return connection
            connection.close()


class StrictResponse(aiohttp.ClientResponse):
    """Refuses lengths that contradict each other, which one of aiohttp's two parsers takes."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Read the headers."""
        protocol = connection.protocol
        await super().start(connection)
        if len(set(self.headers.getall("Content-Length", ()))) > 1:  # RFC 9112, section 6.3
            if protocol is not None:
                protocol.close()  # it may be in the pool already
            raise aiohttp.ClientPayloadError("contradicting lengths")
        return self
