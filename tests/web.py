"""Web services for tests: real ones, in uvicorn on 127.0.0.1, and visitors who misbehave."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import uvicorn

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks() -> list[str]:
    """Give the README's blocks of Python."""
    return re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def is_service(block: str) -> bool:
    """Whether a block is a web service, which makes an `app`, and not a program that ends."""
    return re.search(r"^app = ", block, re.MULTILINE) is not None


def service_block() -> str:
    """Give the one block that is a web service."""
    (block,) = filter(is_service, blocks())
    return block


def service_module() -> Any:
    """Import the README's web service, anew for each caller."""
    module = ModuleType("readme_service")
    exec(compile(service_block(), "README.md", "exec"), vars(module))  # noqa: S102  # it is ours
    return module


@asynccontextmanager
async def served(
    app: Any, *, lifespan: Literal["on", "off"] = "on", send_buffer_bytes: int | None = 64 * 1024
) -> AsyncIterator[int]:
    """Run an application in uvicorn on a free port of 127.0.0.1, which is given.

    `send_buffer_bytes` is SO_SNDBUF of each connection; left alone, the kernel takes megabytes.
    """
    config = uvicorn.Config(
        app,
        lifespan=lifespan,
        http="h11",
        ws="none",
        log_config=None,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    sock = socket.create_server(("127.0.0.1", 0))
    if send_buffer_bytes is not None:  # accepted sockets inherit it
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(0.001)
        yield sock.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


class Visitor:
    """A connection to a service, which reads when it is told to and hardly any earlier."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def status(self) -> int:
        """Read the head of the answer, and give its status."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        return int(head.split()[1])

    async def leave(self) -> None:
        """Close the connection, whatever is unread."""
        self._writer.transport.abort()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


@asynccontextmanager
async def visit(port: int, path: str) -> AsyncIterator[Visitor]:
    """Ask for a path; some KiB of the answer are taken in before they are read, and no more."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
    visitor = Visitor(reader, writer)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        yield visitor
    finally:
        await visitor.leave()
