"""The body of one answer, piece by piece, with a time-out on waiting and on nothing else."""

import asyncio

import aiohttp

from plangrep_async._limiter import Permit
from plangrep_async._transport import log
from plangrep_async._transport.failures import NETWORK_ERRORS, body_failure
from plangrep_async.errors import PlangrepError, RequestTimeout

# How much is taken from aiohttp's buffer at once: less costs speed, more stalls the loop.
READ_BYTES = 128 << 10
HEAD_BYTES = 32 << 10  # where the beginning is likely to be all that is wanted
_LEAST_BYTES = 1 << 10  # what counts as progress: a body that drips byte by byte does not


class Body:
    """The body of one answer, with its status and headers."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        *,
        permit: Permit,
        read_seconds: float,
        what: str,
    ) -> None:
        self.status = response.status
        self.headers = response.headers
        self.encoding = ",".join(response.headers.getall("Content-Encoding", [])).strip().lower()
        self._response = response
        self._permit = permit
        self._excerpt = bytearray()
        self._read_seconds = read_seconds
        self.what = what
        """Which request this answers, for messages."""
        self.at_end = False
        """Whether all of it was read."""
        self.bytes_read = 0
        """How much of it was read, unpacked."""
        self.started: float | None = None
        """When it was asked for, where its end is logged."""
        self._failure: PlangrepError | None = None  # to be raised after all that had arrived
        self._waited = 0.0  # seconds, since the last progress
        self._arrived = 0  # bytes, since the last progress

    async def read(self, most: int = READ_BYTES) -> bytes:
        """Give the next bytes, at most so many; none at a clean end.

        Raises `RequestTimeout`, `IncompleteResponse` or `InvalidResponse`, after all bytes that
        had arrived before.
        """
        self._permit.resume()
        try:
            if self._failure is None:
                return await self._read(most)
        except (*NETWORK_ERRORS, RuntimeError) as error:  # aiohttp's for a closed connection
            self._failure = body_failure(error, self.what)
            if isinstance(self._failure, RequestTimeout):
                self._permit.congested()
        finally:
            self._permit.lend()
        if rest := self._rest(most):
            return rest
        raise self._failure

    async def read_some(self, limit: int) -> bytes:
        """Give the beginning of an error's body, as far as it comes in time; raises nothing."""
        # Kept in no variable: a server may repeat the key, and a traceback show its variables.
        try:
            async with asyncio.timeout(self._read_seconds):
                while len(self._excerpt) < limit and not self._response.content.at_eof():
                    self._excerpt += await self._response.content.read(limit - len(self._excerpt))
        except (*NETWORK_ERRORS, RuntimeError):  # aiohttp's for a closed connection
            pass  # the status is what counts
        return bytes(self._excerpt)

    def close(self) -> None:
        """Close the connection, unless the body was read to its end."""
        connection = self._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()  # to close TLS is to wait for the server
        self._response.close()
        self._permit.leave()
        if self.started is not None:
            how = "broke off" if self._failure else "complete" if self.at_end else "left early"
            log.end(self.what, self.started, self.bytes_read, how)
            self.started = None  # once
        self._failure = None  # whose traceback has a frame of this body

    async def _read(self, most: int) -> bytes:
        content = self._response.content
        piece = content.read_nowait(most)
        if not piece:
            loop = asyncio.get_running_loop()
            started = loop.time()
            async with asyncio.timeout(self._read_seconds - self._waited):
                piece = await content.read(most)
            self._waited += loop.time() - started
        self.bytes_read += len(piece)
        self._arrived += len(piece)
        if self._arrived >= _LEAST_BYTES:
            self._waited, self._arrived = 0.0, 0
        self.at_end = not piece
        return piece

    def _rest(self, most: int) -> bytes:
        """Take what arrived before the failure: aiohttp would raise it first, and again."""
        content = self._response.content
        content.set_exception(None)  # type: ignore[arg-type]  # that is how it begins
        rest = content.read_nowait(most)
        self.bytes_read += len(rest)
        return rest
