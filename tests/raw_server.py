"""A raw-socket HTTP/1.1 server for fault tests: a behaviour is a small coroutine, all is counted.

A script is called once per request and sends whatever bytes it likes; when it returns without
closing, the connection stays open for the next request. Requests are taken to have no body.

The scripts are given as

* a list: exactly one per request, in order of arrival; a request too many is an error, so the
  number of requests on the wire is asserted by the list itself, and `[]` allows none;
* a list that ends in `...`: the script before it serves every later request;
* one script: short for `[script, ...]`.

Leaving `async with` raises `AssertionError` when a given script never ran, and any exception a
script raised, unless it only met a connection that had ended. An exception that is already on its
way out of the block is not replaced: what the scripts raised is added to it as notes.
"""

import asyncio
import http.client
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ssl import SSLContext
from types import EllipsisType
from typing import Any, Literal, Self, cast

from multidict import CIMultiDict

Ending = Literal["closed by client", "reset by client", "closed by server", "reset by server"]
Script = Callable[["Connection"], Awaitable[None]]
Headers = Iterable[tuple[str, str]]

CHUNKED = ("Transfer-Encoding", "chunked")

_PIECE_BYTES = 16 * 1024  # what `send` hands over at a time, so that its count is at most this late


def head(status: int = 200, reason: str | None = None, headers: Headers = ()) -> bytes:
    """Return a status line and headers, blank line included, with nothing added to them."""
    if reason is None:
        reason = http.client.responses.get(status, "")
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def response(
    body: bytes = b"",
    *,
    status: int = 200,
    reason: str | None = None,
    headers: Headers = (),
    content_length: bool = True,
) -> bytes:
    """Return a whole response; without `content_length` its body ends with the connection."""
    length = [("Content-Length", str(len(body)))] if content_length else []
    return head(status, reason, [*headers, *length]) + body


def json_response(obj: object, *, status: int = 200, headers: Headers = ()) -> bytes:
    """Return a whole response whose body is `obj` as JSON."""
    headers = [("Content-Type", "application/json"), *headers]
    return response(json.dumps(obj).encode(), status=status, headers=headers)


def chunked(pieces: Iterable[bytes], *, terminator: bool = True) -> bytes:
    """Return a chunked body, one chunk per piece, to follow `head(headers=[CHUNKED])`."""
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece]
    return b"".join(chunks) + (b"0\r\n\r\n" if terminator else b"")


def send_rst_on_close(sock: Any) -> None:
    """Make closing the socket send RST, and drop what the kernel has not delivered yet."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def finish_accepting() -> None:
    """Let the event loop take in all who have connected; to be awaited before a server closes.

    CPython 3.11 forgets a connection it is in the middle of accepting then, without closing it.
    """
    for _ in range(10):  # three turns are enough, but which is nowhere promised
        await asyncio.sleep(0)


def raise_problems(problems: Sequence[Exception], on_its_way: BaseException | None) -> None:
    """Raise what a test double met, or note it on the exception that is already on its way."""
    if on_its_way is not None:
        for problem in problems:
            on_its_way.add_note(f"The test double met {problem!r}")
    elif len(problems) == 1:
        raise problems[0]
    elif problems:
        raise ExceptionGroup("several errors in a test double", problems)


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request as it arrived; header names are looked up in any case."""

    number: int  # its place in `RawServer.requests`
    connection: int  # the place of its connection in `RawServer.accepted`
    arrived: float  # seconds, of time.monotonic()
    raw: bytes  # the head up to and including the blank line
    method: str
    target: str
    headers: CIMultiDict[str]

    @classmethod
    def parse(cls, raw: bytes, *, number: int, connection: int) -> Self:
        """Read a head as leniently as can be: what a client sends is for the test to judge."""
        line, *fields = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        method, _, rest = line.partition(" ")
        pairs = (field.partition(":") for field in fields)
        return cls(
            number=number,
            connection=connection,
            arrived=time.monotonic(),
            raw=raw,
            method=method,
            target=rest.rpartition(" ")[0],
            headers=CIMultiDict((name.strip(), value.strip()) for name, _, value in pairs),
        )


class Connection(asyncio.Protocol):
    """One accepted connection: scripts act on it, tests read what became of it."""

    number: int  # its place in `RawServer.accepted`
    request: Request  # the one the running script answers
    bytes_sent: int  # taken by the kernel; with TLS, taken for encryption and before it
    ended: Ending | None  # by whom and how, as the server saw it first; None while open

    def __init__(self, server: "RawServer") -> None:
        self.bytes_sent = 0
        self.ended = None
        self._server = server
        self._received = b""
        self._requests: asyncio.Queue[Request | None] = asyncio.Queue()  # None: no more will come
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()  # `ended` is set
        self._lost = asyncio.Event()  # the transport is closed, its socket too

    async def send(self, data: bytes) -> None:
        """Send and wait until the kernel has taken it all; ConnectionResetError if it has ended.

        With TLS the event loop may still hold the last hundred kilobytes if the client does not
        read; `cut` and `reset` drop them.
        """
        for start in range(0, len(data), _PIECE_BYTES):
            piece = data[start : start + _PIECE_BYTES]
            if self.ended is None:
                self._transport.write(piece)
                await self._writable.wait()
                await asyncio.sleep(0)  # for the others' turn, and for news of a failed write
            if self.ended is not None:
                raise ConnectionResetError(f"connection {self.number} was {self.ended}")
            self.bytes_sent += len(piece)
            self._server._notify()

    def close(self) -> None:
        """End the connection in order: FIN, and with TLS a close_notify before it."""
        self._end("closed by server")
        self._transport.close()

    def cut(self) -> None:
        """End it with FIN alone: with TLS, the truncation that close_notify is there to expose."""
        self._end("closed by server")
        self._transport.abort()

    def reset(self) -> None:
        """End the connection with RST; bytes the client's kernel has not got yet are lost."""
        if self.ended is None:
            send_rst_on_close(self._transport.get_extra_info("socket"))
        self._end("reset by server")
        self._transport.abort()

    async def stall(self) -> None:
        """Do nothing until the connection ends; leaving the server's block cancels this wait."""
        await self._gone.wait()

    def _end(self, how: Ending) -> None:
        if self.ended is None:
            self.ended = how
            self._gone.set()
            self._writable.set()  # a sender that waits shall see the end
            self._requests.put_nowait(None)
            self._server._notify()

    async def _serve(self) -> None:
        try:
            while (request := await self._requests.get()) is not None:
                self.request = request
                await self._server._take_script(request)(self)
        except ConnectionError:
            if self.ended is None:  # not this connection's end, so an error of the script
                raise
        finally:
            if self.ended is None:
                self.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the server's list; called by the event loop, with TLS after the handshake."""
        self._transport = cast("asyncio.Transport", transport)  # not by class: uvloop's for TLS
        # `send` waits for the kernel, not for a buffer. The transports for TLS pause at `high`,
        # not above it: at 0 they would pause for nothing, and then never resume.
        self._transport.set_write_buffer_limits(high=0 if self._server._ssl is None else 1)
        self.number = len(self._server.accepted)
        self._server._accept(self)

    def data_received(self, data: bytes) -> None:
        """Cut the stream into request heads; called by the event loop."""
        *heads, self._received = (self._received + data).split(b"\r\n\r\n")
        for raw in heads:
            number = len(self._server.requests)
            request = Request.parse(raw + b"\r\n\r\n", number=number, connection=self.number)
            self._server.requests.append(request)
            self._requests.put_nowait(request)
            self._server._notify()

    def eof_received(self) -> None:
        """Note the client's FIN; the event loop then closes our side as well."""
        self._end("closed by client")

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end if it is news; called by the event loop once the socket is closed."""
        self._end("closed by client" if exc is None else "reset by client")
        self._lost.set()

    def pause_writing(self) -> None:
        """Note that the kernel takes no more for now; called by the event loop."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that the kernel has taken all there was; called by the event loop."""
        self._writable.set()


class RawServer:
    """Serve scripts on a free port of 127.0.0.1; how they are given and checked: see the module.

    `send_buffer_bytes` is SO_SNDBUF of each connection (Linux doubles it): together with the
    client's receive buffer it bounds what can be sent to a client that does not read. With `ssl`,
    only connections whose handshake succeeded are counted.
    """

    def __init__(
        self,
        scripts: Script | Sequence[Script | EllipsisType],
        *,
        send_buffer_bytes: int | None = None,
        ssl: SSLContext | None = None,
    ) -> None:
        given: Sequence[Script | EllipsisType] = [scripts, ...] if callable(scripts) else scripts
        self.accepted: list[Connection] = []
        self.requests: list[Request] = []
        self._scripts: list[Script] = [script for script in given if script is not ...]
        self._last_repeats = len(self._scripts) > 0 and given[-1] is ...
        self._ran: set[int] = set()
        self._send_buffer_bytes = send_buffer_bytes
        self._ssl = ssl
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()

    @property
    def connections(self) -> int:
        """How many connections were accepted; each is in `accepted`."""
        return len(self.accepted)

    @property
    def bytes_sent(self) -> int:
        """How many bytes the kernel took, over all connections."""
        return sum(connection.bytes_sent for connection in self.accepted)

    @property
    def base_url(self) -> str:
        """The origin, without a slash at its end."""
        return f"{'https' if self._ssl else 'http'}://127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        """Return the URL of a path, which begins with a slash."""
        return self.base_url + path

    # Time limits are parameters here so that a wrong test ends: hence the two ASYNC109.

    async def wait_until(self, condition: Callable[[], bool], *, timeout: float = 5.0) -> None:  # noqa: ASYNC109
        """Wait until `condition` holds, asking again after whatever the server counts."""
        async with asyncio.timeout(timeout):
            while not condition():
                await self._changed.wait()

    async def wait_closed_by_client(self, n: int = 0, *, timeout: float = 5.0) -> Ending:  # noqa: ASYNC109
        """Wait until the client has ended the nth connection (which may still have to come).

        Returns how: a client that closes with bytes unread sends RST, not FIN. Raises
        AssertionError if it was the server that ended it.
        """

        def has_ended() -> bool:
            return self.connections > n and self.accepted[n].ended is not None

        await self.wait_until(has_ended, timeout=timeout)
        ended = self.accepted[n].ended
        if ended not in {"closed by client", "reset by client"}:
            raise AssertionError(f"connection {n} was {ended}")
        return ended

    async def __aenter__(self) -> Self:
        sock = socket.create_server(("127.0.0.1", 0))
        if self._send_buffer_bytes is not None:  # accepted sockets inherit it
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_buffer_bytes)
        self.port: int = sock.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self), sock=sock, ssl=self._ssl, backlog=1024
        )
        return self

    async def __aexit__(self, _: object, exc: BaseException | None, __: object) -> None:
        await finish_accepting()
        self._server.close()
        for connection in self.accepted:
            connection.cut()  # close() would wait for a client that does not read
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self.accepted:
            await connection._lost.wait()
        await self._server.wait_closed()
        problems = [result for result in results if isinstance(result, Exception)]
        unused = [s for number, s in enumerate(self._scripts) if number not in self._ran]
        if unused and exc is None:
            names = ", ".join(getattr(script, "__name__", repr(script)) for script in unused)
            problems.append(AssertionError(f"scripts that never ran: {names}"))
        raise_problems(problems, exc)

    def _accept(self, connection: Connection) -> None:
        self.accepted.append(connection)
        if self._server.is_serving():
            name = f"RawServer connection {connection.number}"
            self._tasks.append(asyncio.create_task(connection._serve(), name=name))
        else:  # it was still in the loop's hands when the server closed
            connection.cut()
        self._notify()

    def _take_script(self, request: Request) -> Script:
        number = request.number
        if self._last_repeats:
            number = min(number, len(self._scripts) - 1)
        if number >= len(self._scripts):
            raise AssertionError(f"no script for request {number}: {request.target}")
        self._ran.add(number)
        return self._scripts[number]

    def _notify(self) -> None:
        # Wakes all who wait at this moment, and nobody who comes later.
        self._changed.set()
        self._changed.clear()
