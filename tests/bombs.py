"""Answers that are made to hurt, and what they do to a client: `python -m tests.bombs`.

For each bomb, sent by a server in a process of its own: how the stream ended, the bytes that the
server got rid of, the longest time that the client's event loop stood still, and by how much the
peak memory of the client's process grew. Each runs in a new process.
"""

import argparse
import asyncio
import multiprocessing
import resource
import sys
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import chain, repeat
from multiprocessing.connection import Connection as Pipe

from plangrep_async import AsyncPlangrep, PlangrepError, RetryPolicy
from tests.conftest import KEY, PROJECT
from tests.raw_server import Connection, RawServer, head

PIECE = 1 << 16
MIB = 1 << 20

Bytes = Callable[[], Iterator[bytes]]


def endless(before: bytes, unit: bytes) -> Bytes:
    """Make a body of a GiB: a beginning, and one thing over and over."""
    piece = unit * (PIECE // len(unit))
    return lambda: chain([before], repeat(piece, (1 << 30) // PIECE))


def listed(unit: bytes, pieces: int) -> Bytes:
    """Make a whole document of one tiny element, over and over."""
    piece = unit * (PIECE // len(unit))
    return lambda: chain([b'{"jobs":[0'], repeat(piece, pieces), [b"]}"])


def zipped() -> Iterator[bytes]:
    """Compress a string of a GiB of zeros to one MiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    for plain in endless(b'{"jobs":[{"id":"', b"0")():
        yield packer.compress(plain)
    yield packer.flush()


BOMBS: dict[str, Bytes] = {
    "gzip: a GiB of zeros": zipped,
    "one string": endless(b'{"jobs":[{"id":"', b"a"),
    "one string of escapes": endless(b'{"jobs":[{"id":"', rb"\n"),
    "one string of half pairs": endless(b'{"jobs":[{"id":"', rb"\ud83d"),
    "one number": endless(b'{"jobs":[', b"0"),
    "white space in the list": endless(b'{"jobs":[', b" "),
    "white space before": endless(b"", b"\n"),
    "white space behind": endless(b'{"jobs":[]}', b" "),
    "brackets": endless(b'{"jobs":[', b"["),
    "members of the root": endless(b"{", b'"a":[{}],'),
    "members behind the list": endless(b'{"jobs":[]', b',"a":[{}]'),
    "a list of 131,072 numbers": listed(b",0", 4),
    "a list of 87,380 objects": listed(b",{}", 4),
}


def bomb(name: str) -> Callable[[Connection], Awaitable[None]]:
    """Make the script of a server."""

    async def send(conn: Connection) -> None:
        encoding = [("Content-Encoding", "gzip")] if name.startswith("gzip") else []
        with suppress(ConnectionResetError):
            await conn.send(head(headers=encoding))
            for piece in BOMBS[name]():
                await conn.send(piece)
            conn.close()

    return send


async def read(base_url: str) -> tuple[int, str]:
    """Read all that is listed; give the number of bad elements, and how it ended."""
    bad = 0

    def count(_: object) -> None:
        nonlocal bad
        bad += 1

    once = RetryPolicy(attempts=1)
    async with AsyncPlangrep(KEY, base_url=base_url, retry=once) as client:
        try:
            async for _ in client.list_jobs(PROJECT, on_invalid=count):
                raise AssertionError("a bomb holds no job")
        except PlangrepError as error:
            return bad, type(error).__name__
    return bad, "end"


def serve(name: str, pipe: Pipe) -> None:
    """Send the bomb to one client and tell how much of it was sent."""

    async def serving() -> None:
        async with RawServer([bomb(name)]) as server:
            pipe.send(server.base_url)
            ends = lambda: server.connections == 1 and server.accepted[0].ended is not None  # noqa: E731
            await server.wait_until(ends, timeout=120)
            pipe.send(server.bytes_sent)

    asyncio.run(serving())


async def measure(name: str) -> str:
    """Give one line of the table."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(name, there))
    server.start()
    base_url = here.recv()
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - before)

    await read("http://127.0.0.1:9")  # nothing listens there: what is made on first use is made now
    beating = asyncio.create_task(beat())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bad, end = await read(base_url)
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    beating.cancel()
    sent = here.recv() / MIB
    server.join()
    return f"{name:26} {bad:7,} bad  {end:16} {sent:9.1f} {longest * 1000:10.1f} {growth:11.1f}"


def main() -> None:
    """Print the table, a new process for each line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bombs", description=__doc__)
    parser.add_argument("bombs", nargs="*", metavar="BOMB", help="names of lines; default: all")
    print(f"{'bomb':39} {'end':16} {'sent MiB':>8} {'longest ms':>10} {'memory +MiB':>11}")
    spawn = multiprocessing.get_context("spawn")
    for name in parser.parse_args().bombs or BOMBS:
        line = spawn.Process(target=print_line, args=(name,))
        line.start()
        line.join()
        if line.exitcode:
            sys.exit(line.exitcode)


def print_line(name: str) -> None:
    """Measure and print, as a process of its own."""
    print(asyncio.run(measure(name)), flush=True)


if __name__ == "__main__":
    main()
