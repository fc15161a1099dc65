"""A TCP proxy on 127.0.0.1 that spoils what flows from the server to the client.

The nth connection gets the nth toxic; once they are used up, connections are clean. What the
proxy sees on one side it does on the other: FIN for FIN, RST for RST, and it reads no further
ahead of a slow side than its buffers of a few hundred kilobytes.

Leaving `async with` raises `AssertionError` when a given toxic did not take effect in all its
parts, and any error of the proxy itself; an exception already on its way is not replaced.
"""

import asyncio
import math
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Self

from tests.raw_server import finish_accepting, raise_problems, send_rst_on_close

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Toxic:
    """What happens to the bytes for the client; by default nothing, and all can be combined."""

    latency: float = 0.0  # seconds before each piece
    bytes_per_second: float = math.inf  # the fastest rate, kept up by a wait before each piece
    slice_bytes: int | None = None  # the longest piece, which leaves by itself
    end: Literal["reset", "cut", "stall"] | None = None  # RST; FIN; nothing more, but stay open
    after_bytes: int = 0  # when: exactly after as many; 0 is when the first byte would have passed

    @property
    def parts(self) -> set[str]:
        """The names of the fields that must take effect."""
        parts = {
            "latency": self.latency > 0,
            "bytes_per_second": self.bytes_per_second < math.inf,
            "slice_bytes": self.slice_bytes is not None,
            "end": self.end is not None,
        }
        return {name for name, is_set in parts.items() if is_set}

    @property
    def piece_bytes(self) -> int:
        """The length of a piece: a slow link drips a hundredth of a second's worth at a time."""
        drip = min(self.bytes_per_second / 100, _READ_BYTES)
        return min(max(1, int(drip)), self.slice_bytes or _READ_BYTES)


CLEAN = Toxic()


@dataclass(slots=True)
class Link:
    """One proxied connection: its toxic, and what came of it."""

    toxic: Toxic
    bytes_forwarded: int = 0  # taken by the kernel for the client
    effects: set[str] = field(default_factory=set)  # the parts of the toxic that took effect

    @property
    def triggered(self) -> bool:
        """Whether each part of the toxic took effect."""
        return self.toxic.parts <= self.effects


class ToxicProxy:
    """Stand between a client and the server on `upstream_port`; see the module.

    With `require_triggered=False`, for random toxics, those that take no effect are no error.
    """

    def __init__(
        self, upstream_port: int, toxics: Iterable[Toxic] = (), *, require_triggered: bool = True
    ) -> None:
        self.links: list[Link] = []  # in order of arrival
        self._upstream_port = upstream_port
        self._toxics = list(toxics)
        self._require_triggered = require_triggered
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def connections(self) -> int:
        """How many connections were accepted; each is in `links`."""
        return len(self.links)

    @property
    def bytes_forwarded(self) -> int:
        """How many bytes the kernel took for clients, over all connections."""
        return sum(link.bytes_forwarded for link in self.links)

    @property
    def base_url(self) -> str:
        """The origin for plain HTTP, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        """Return the URL of a path, which begins with a slash."""
        return self.base_url + path

    async def __aenter__(self) -> Self:
        # A plain function as callback leaves the tasks, and so their errors, to us.
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, _: object, exc: BaseException | None, __: object) -> None:
        await finish_accepting()  # and begin the tasks: one cancelled before would not clean up
        self._server.close()
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        problems = [result for result in results if isinstance(result, Exception)]
        if self._require_triggered and exc is None:
            idle = [
                f"connection {number}: {sorted(link.toxic.parts - link.effects)} of {link.toxic}"
                for number, link in enumerate(self.links)
                if not link.triggered
            ]
            idle += [f"no connection for {toxic}" for toxic in self._toxics[self.connections :]]
            if idle:
                problems.append(AssertionError(f"toxics that did not trigger: {'; '.join(idle)}"))
        raise_problems(problems, exc)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._server.is_serving():  # it was still in the loop's hands when we closed
            writer.transport.abort()
            return
        number = self.connections
        link = Link(self._toxics[number] if number < len(self._toxics) else CLEAN)
        self.links.append(link)
        relay = self._relay(link, (reader, writer))
        self._tasks.append(asyncio.create_task(relay, name=f"ToxicProxy connection {number}"))

    async def _relay(self, link: Link, client: Stream) -> None:
        streams = [client]
        try:
            streams.append(await asyncio.open_connection("127.0.0.1", self._upstream_port))
            for _, writer in streams:
                # Draining then means that the kernel has it, which makes the counts exact and
                # leaves nothing for abort() to lose.
                writer.transport.set_write_buffer_limits(high=0)
            await _both_ways(link, *streams)
        except ConnectionError:  # one side was reset, refused or poisoned: so is the other
            for _, writer in streams:
                if not writer.is_closing():
                    send_rst_on_close(writer.get_extra_info("socket"))
        finally:
            for _, writer in streams:
                writer.transport.abort()  # close() would wait for a client that does not read
            for _, writer in streams:
                with suppress(ConnectionError):
                    await writer.wait_closed()


async def _both_ways(link: Link, client: Stream, upstream: Stream) -> None:
    """Pump until a direction ends; raise ConnectionError if it did not end in order."""
    pumps = [
        asyncio.create_task(_forward(client[0], upstream[1])),
        asyncio.create_task(_spoil(link, upstream[0], client[1])),
    ]
    try:
        done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in done:
            pump.result()
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(_READ_BYTES):
        sink.write(data)
        await sink.drain()


async def _spoil(link: Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    toxic = link.toxic
    end = toxic.after_bytes if toxic.end else sys.maxsize
    while data := await source.read(_READ_BYTES):
        if toxic.slice_bytes is not None and len(data) > toxic.slice_bytes:
            link.effects.add("slice_bytes")
        for start in range(0, len(data), toxic.piece_bytes):
            size = min(toxic.piece_bytes, len(data) - start, end - link.bytes_forwarded)
            if size > 0:
                await _delay(link, size)
                sink.write(data[start : start + size])
                await sink.drain()
                link.bytes_forwarded += size
            if link.bytes_forwarded == end:
                link.effects.add("end")
                if toxic.end == "reset":
                    raise ConnectionResetError
                if toxic.end == "stall":
                    await asyncio.Event().wait()  # until the client goes, and _both_ways cancels
                return


async def _delay(link: Link, size: int) -> None:
    toxic = link.toxic
    if seconds := toxic.latency + size / toxic.bytes_per_second:
        link.effects |= toxic.parts & {"latency", "bytes_per_second"}
        await asyncio.sleep(seconds)
    elif toxic.slice_bytes is not None:
        # Two turns of the loop: a client in it reads in the second, before the next piece comes.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
