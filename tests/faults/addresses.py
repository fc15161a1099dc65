"""Ports where nothing answers, or anything but HTTP, and look-ups that lead to them."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.raw_server import finish_accepting

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

FULL = pytest.param(
    "full",
    marks=pytest.mark.skipif(
        sys.platform != "linux", reason="only Linux promises to drop what its backlog cannot hold"
    ),
)


@contextmanager
def dead(kind: str, host: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    """Hold a port: `refused` answers with RST; `full` drops each SYN, for its backlog is full."""
    with ExitStack() as stack:
        sock = stack.enter_context(socket.socket())
        sock.bind((host, port))
        if kind == "full":
            sock.listen(0)  # a queue of one
            stack.enter_context(socket.create_connection(sock.getsockname()))
            with socket.socket() as late:
                late.settimeout(0.02)
                with pytest.raises(TimeoutError):
                    late.connect(sock.getsockname())
        yield sock


def make_room(sock: socket.socket) -> None:
    """Take the one connection out of a queue that is full; there must be no other."""
    sock.setblocking(False)
    sock.accept()[0].close()
    with pytest.raises(BlockingIOError):
        sock.accept()


@asynccontextmanager
async def serving(talk: Talk, sock: socket.socket | None = None) -> AsyncIterator[int]:
    """Let `talk` have each connection to a port; leaving waits until all of them have ended."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await talk(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.create_task(serve(reader, writer)))

    tasks: list[asyncio.Task[None]] = []
    sock = sock or socket.create_server(("127.0.0.1", 0))
    async with await asyncio.start_server(accept, sock=sock):
        yield sock.getsockname()[1]
        await finish_accepting()
        async with asyncio.timeout(5):
            await asyncio.gather(*tasks)


class Resolver(AbstractResolver):
    """Gives its answers in turn, the last one ever again: addresses, an error, or nothing ever."""

    def __init__(self, *answers: Sequence[str] | OSError | None) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Give the next answer; called by the session."""
        self.asked.append(host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, OSError):
            raise answer
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in answer or ()
        ]

    async def close(self) -> None:
        """Release nothing."""

    def session(self, tried: list[str] | None = None) -> aiohttp.ClientSession:
        """Make a session that looks names up here; it notes in `tried` where it connects to."""

        def make_socket(address: Any) -> socket.socket:
            if tried is not None:
                tried.append(address[4][0])
            return socket.socket(*address[:3])

        connector = aiohttp.TCPConnector(resolver=self, socket_factory=make_socket)
        return aiohttp.ClientSession(connector=connector)
