"""Bodies that are cut short at every byte, while their framing looks right (rows B6, B7)."""

import asyncio
from collections.abc import Callable

import pytest

from plangrep_async import IncompleteResponse
from tests.faults.bodies import (
    BODY,
    IDS,
    PACKED,
    PATIENT,
    Connect,
    complete,
    expected,
    read,
    read_each,
    unpacked,
)
from tests.faults.streams import nothing_left, slots
from tests.raw_server import CHUNKED, Connection, Headers, RawServer, chunked, head, response

Frame = Callable[[bytes, Headers], bytes]


def http_1_0(message: bytes) -> bytes:
    """Say that it is an answer of HTTP/1.0."""
    return message.replace(b"HTTP/1.1", b"HTTP/1.0", 1)


FRAMES: dict[str, Frame] = {
    "Content-Length": lambda body, headers: response(body, headers=headers),
    "chunks": lambda body, headers: head(headers=[CHUNKED, *headers]) + chunked([body]),
    "connection": lambda body, headers: response(body, headers=headers, content_length=False),
}


def cuts_of_text(name: str) -> list[bytes]:
    """Give the packed body cut at each byte that costs a byte of text, and the whole of it."""
    _, packed, _ = PACKED[name]
    parts = [packed[:size] for size in range(len(packed))]
    return [*(part for part in parts if unpacked(name, part) != BODY), packed]


def cuts_of_the_end(name: str) -> list[bytes]:
    """Give the packed body with all its text, cut in what is there to check it."""
    _, packed, _ = PACKED[name]
    parts = [packed[:size] for size in range(len(packed))]
    return [part for part in parts if unpacked(name, part) == BODY]


@pytest.mark.fault("B6")
@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
async def test_a_body_that_ends_with_the_connection(connect: Connect, version: str) -> None:
    """At each cut but the last one it is truncated, after the jobs that were whole, all of them."""
    start = http_1_0(head()) if version == "HTTP/1.0" else head()
    parts = [BODY[:size] for size in range(len(BODY) + 1)]
    found = await read_each(connect, [start + part for part in parts], close=True)
    assert found == [expected(part) for part in parts]


@pytest.mark.fault("B6", "B7")
@pytest.mark.parametrize("frame", FRAMES)
async def test_gzip_that_is_cut(connect: Connect, frame: str) -> None:
    """Each cut that costs text is truncated, after the jobs that could be unpacked, all of them."""
    header, _, _ = PACKED["gzip"]
    parts = cuts_of_text("gzip")
    messages = [FRAMES[frame](part, [header]) for part in parts]
    found = await read_each(connect, messages, close=frame == "connection")
    assert found == [expected(unpacked("gzip", part)) for part in parts]


@pytest.mark.fault("B6", "B7")
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("name", ["deflate", "raw deflate"])
async def test_deflate_that_is_cut(connect: Connect, name: str, frame: str) -> None:
    """Each cut is truncated, whatever of its jobs was delivered before it was seen."""
    header, packed, _ = PACKED[name]
    parts = [*cuts_of_text(name)[:-1], *cuts_of_the_end(name)]
    messages = [FRAMES[frame](part, [header]) for part in parts]
    found = await read_each(connect, messages, close=frame == "connection")
    for part, (ids, error) in zip(parts, found, strict=True):
        jobs = complete(unpacked(name, part))[: len(ids)]
        assert (ids, error) == (jobs, IncompleteResponse), f"{len(part)} of {len(packed)} bytes"


@pytest.mark.fault("B6", "B7")
@pytest.mark.parametrize("frame", FRAMES)
async def test_gzip_without_its_checksum(connect: Connect, frame: str) -> None:
    """The document is whole, and so is the list: aiohttp does not tell that a check is missing."""
    header, _, _ = PACKED["gzip"]
    parts = cuts_of_the_end("gzip")
    assert len(parts) >= 8  # RFC 1952, section 2.3: checksum and length have four bytes each
    messages = [FRAMES[frame](part, [header]) for part in parts]
    found = await read_each(connect, messages, close=frame == "connection")
    assert found == [(IDS, type(None))] * len(parts)


@pytest.mark.fault("B7")
@pytest.mark.parametrize(
    ("frame", "pause"),
    [*((frame, 0.0) for frame in FRAMES), ("Content-Length", 0.02)],
    ids=[*FRAMES, "Content-Length, headers first"],
)
@pytest.mark.parametrize("name", PACKED)
async def test_a_packed_body_that_was_cut_is_asked_for_again(
    connect: Connect, name: str, frame: str, pause: float
) -> None:
    """A cut costs one more request and no job, in whatever packet it is."""
    header, packed, _ = PACKED[name]
    cut = FRAMES[frame](packed[: len(packed) // 2], [header])
    start = cut.index(b"\r\n\r\n") + 4 if pause else 0

    async def send_half(conn: Connection) -> None:
        await conn.send(cut[:start])
        await asyncio.sleep(pause)
        await conn.send(cut[start:])
        if frame == "connection":
            conn.close()

    async def send_all(conn: Connection) -> None:
        await conn.send(response(packed, headers=[header]))

    async with (
        nothing_left(),
        RawServer([send_half, send_all]) as server,
        connect(server.base_url, timeout=PATIENT) as client,
    ):
        assert await read(client) == (IDS, None)
        assert len(server.requests) == 2
        assert slots(client) == 0
